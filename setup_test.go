package anywire_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/anywire/anywire"
	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type Task struct{ Topic string }

func (Task) WireType() string { return "research.task@1" }

type Facts struct{ Facts []string }

func (Facts) WireType() string { return "research.facts@1" }

type Brief struct{ Text string }

func (Brief) WireType() string { return "brief@1" }

func research(_ context.Context, t Task) (Facts, error) {
	return Facts{[]string{"8 facts about " + t.Topic}}, nil
}

func write(_ context.Context, f Facts) (Brief, error) {
	return Brief{"brief: " + strings.Join(f.Facts, ", ")}, nil
}

func newsroomConfig() *config.Config {
	return &config.Config{Agents: map[string]config.Agent{
		"researcher": {Consumes: "tasks.research", Produces: "tasks.write"},
		"writer":     {Consumes: "tasks.write", Produces: "briefs"},
	}}
}

func newsroom(o *anywire.Options) *anywire.App {
	app := anywire.New(o)
	anywire.Handle(app, "researcher", research)
	anywire.Handle(app, "writer", write)
	return app
}

// running is an app whose Run has been called.
type running struct {
	*testing.T

	app  *anywire.App
	stop func() error // ends Run's context and returns what Run did
}

func start(t *testing.T, app *anywire.App) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- app.Run(ctx) }()
	r := &running{T: t, app: app, stop: sync.OnceValue(func() error {
		cancel()
		return <-ran
	})}
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return r
}

// on lists what a topic of the default transport holds.
func on(t *testing.T, app *anywire.App, topic string) []*envelope.Envelope {
	t.Helper()
	tr, err := app.Transport("")
	if err != nil {
		t.Fatal(err)
	}
	var all []*envelope.Envelope
	err = tr.Browse(t.Context(), topic, driver.Start{}, false, func(d *transport.Delivery) bool {
		all = append(all, d.Envelope.Clone())
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// await waits until cond holds.
func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: not within 10 s", what)
		}
	}
}

// lines collects log lines.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *lines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }
