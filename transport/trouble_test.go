package transport_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anywire/anywire/transport"
)

// warnings are the lines that an operator sees who listens for trouble only. The
// buffer is read while nothing else in the bubble runs.
func warnings() (*slog.Logger, *bytes.Buffer) {
	var lines bytes.Buffer
	return slog.New(slog.NewTextHandler(&lines, &slog.HandlerOptions{Level: slog.LevelWarn})), &lines
}

// A broker that is away is a warning, once; that it is back, is none.
func TestABrokerThatIsAwayIsAWarning(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, lines := warnings()
		f := newFake()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		wire := transport.New(f, &transport.Options{Logger: log})
		go func() {
			ended <- wire.Subscribe(ctx, "topic", func(context.Context, *transport.Delivery) transport.Outcome { return transport.Done() }, nil)
		}()
		src := f.source(0)
		src.fail(errors.New("connection refused"))
		synctest.Wait()
		if got := lines.String(); strings.Count(got, "level=WARN") != 1 || !strings.Contains(got, "connection refused") {
			t.Errorf("while the broker is away: %q, want one warning with the reason", got)
		}
		src.fail(errors.New("connection refused"))
		src.push(message("1", "a"))
		pass(time.Minute)
		if got := lines.String(); strings.Count(got, "level=WARN") != 1 {
			t.Errorf("the same state again, and its end: %q, want no further line", got)
		}
		stop()
		<-ended
	})
}

// A member that waits for somebody else's shards does what it should.
func TestAStandbyIsNoWarning(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, lines := warnings()
		table := newTable()
		for _, name := range []string{"a0", "a1", "a2", "a3"} {
			member(t, table, name, nil)
			pass(10 * time.Second)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		wire := transport.New(newLeased(table, 4), &transport.Options{Logger: log})
		go func() {
			ended <- wire.Subscribe(ctx, "topic", nil, &transport.SubscribeOptions{Order: transport.OrderKey, Member: "b", Lease: 9 * time.Second})
		}()
		pass(10 * time.Second)
		if h := wire.Health()[0]; h.State != transport.Waiting {
			t.Fatalf("health %+v, want a standby", h)
		}
		if lines.Len() > 0 {
			t.Errorf("a standby warns: %s", lines)
		}
		stop()
		<-ended
	})
}
