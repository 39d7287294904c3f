package natsdriver

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/transport/driver"
)

// logBuffer may be read while somebody logs.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// take returns what was logged, and forgets it.
func (l *logBuffer) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := l.b.String()
	l.b.Reset()
	return text
}

// A backlog is told of once when it has four fifths of its time behind it, and
// once when that is over.
func TestABacklogThatAgesIsToldOf(t *testing.T) {
	t.Parallel()
	var log logBuffer
	d, _ := open(t, brokertest.SharedNATS(t).URL, func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	for _, o := range []driver.Subscription{sub(unique(t)), ordered(unique(t))} {
		topic := o.Topic
		if _, err := d.EnsureTopic(t.Context(), driver.Topic{Name: topic, RetentionAge: time.Hour}); err != nil {
			t.Fatal(err)
		}
		publish(t, d, topic, "one") // first: consumers that exist count it a little later
		src := subscribe(t, d, o).(*source)
		kept, oldest, err := src.ageOfBacklog(t.Context())
		if err != nil || kept != time.Hour || time.Since(oldest) > time.Hour/2 || oldest.IsZero() {
			t.Fatalf("kept %v, oldest %v, %v", kept, oldest, err)
		}
		for _, step := range []struct {
			after time.Duration
			want  string
		}{{47 * time.Minute, ""}, {49 * time.Minute, "WARN"}, {50 * time.Minute, ""}, {time.Minute, "INFO"}, {49 * time.Minute, "WARN"}} {
			src.judgeAge(kept, oldest, oldest.Add(step.after))
			got := log.take()
			if strings.Count(got, "\n") > 1 || !strings.Contains(got, step.want) || step.want == "" && got != "" {
				t.Errorf("after %v: want %q:\n%s", step.after, step.want, got)
			}
		}
		settle(t, src, driver.Ack, take(t, src, 1)...)
		if _, oldest, err := src.ageOfBacklog(t.Context()); err != nil || !oldest.IsZero() {
			t.Errorf("without a backlog: %v, %v", oldest, err)
		}
		src.watchAge()
		if got := log.take(); !strings.Contains(got, "young enough again") || !strings.Contains(got, "topic="+topic) {
			t.Errorf("log:\n%s", got)
		}
		closeSource(t, src)
		src.watchAge() // does not come again
		if src.ageing.timer.Stop() {
			t.Error("a closed source goes on watching")
		}
	}
}
