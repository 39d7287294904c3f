package integration

import (
	"context"
	"runtime"
	"testing"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/transport"
)

// TestNothingStays: subscriptions that came and went leave nothing: no
// goroutine, no message that nobody handles.
func TestNothingStays(t *testing.T) {
	// Not parallel: it counts the goroutines of the process.
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			w := b.start(t)
			d := w.stranger(t)
			tr := transport.New(d, &transport.Options{Prefix: w.entry.Prefix})
			cycle(t, tr) // what stays for the driver's life
			before := runtime.NumGoroutine()
			cycles := 100
			if b.slowJoin {
				cycles = scale(8, cycles)
			}
			for range cycles {
				cycle(t, tr)
			}
			if !awaits(t.Context(), patience, func() bool { return runtime.NumGoroutine() <= before+2 }) {
				stacks := make([]byte, 1<<20)
				t.Errorf("%d goroutines before, %d after:\n%s", before, runtime.NumGoroutine(), stacks[:runtime.Stack(stacks, true)])
			}
			if h := tr.Health(); len(h) > 0 {
				t.Errorf("subscriptions that have ended: %v", h)
			}
		})
	}
}

// cycle subscribes, handles one message and leaves.
func cycle(t *testing.T, tr *transport.Transport) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	e, err := envelope.New(Job{})
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.Publish(ctx, "jobs", e); err != nil {
		t.Fatal(err)
	}
	err = tr.Subscribe(ctx, "jobs", func(context.Context, *transport.Delivery) transport.Outcome {
		cancel()
		return transport.Done()
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
}
