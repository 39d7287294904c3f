package integration

import (
	"context"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/anywire/anywire"
	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
)

// TestBacklog: memory, goroutines and messages in flight have limits that do not
// grow with the backlog.
func TestBacklog(t *testing.T) {
	// Not parallel: it looks at the memory of the process.
	const window = 64
	for _, b := range backends {
		if b.name == "paranoid" {
			continue // its own bookkeeping is no client's memory
		}
		t.Run(b.name, func(t *testing.T) {
			start := b.start
			if b.loose != nil {
				start = b.loose
			}
			w, backlog, growth, clients, shards := start(t), 50_000, int64(16<<20), 40, 1
			if strings.HasSuffix(b.name, "kafka") { // whose clients fetch megabytes ahead, and packed ones
				backlog, growth = 2*backlog, 2*growth
			}
			if b.bridged { // whose adapters have goroutines for each message in flight
				clients *= 4
			}
			if b.name == "watermill-kafka" { // which has one of each partition
				shards = bridgedShards
			}
			if b.name == "embedded" { // here the server runs under the race detector, too
				backlog = scale(10_000, backlog)
			}
			fill(t, w, driver.Topic{Name: "jobs", Shards: shards}, backlog)
			memory, goroutines := heap(), runtime.NumGoroutine()
			var handled, running, most atomic.Int64
			app := anywire.New(w.options(&config.Config{Agents: map[string]config.Agent{
				"slow": {Consumes: "jobs", Policy: config.Policy{Concurrency: 8, Window: window}},
			}}))
			release := make(chan struct{})
			app.HandleEnvelope("slow", func(ctx context.Context, _ *envelope.Envelope) ([]*envelope.Envelope, error) {
				most.Store(max(most.Load(), running.Add(1)))
				defer running.Add(-1)
				defer handled.Add(1)
				select {
				case <-release:
					return nil, nil
				case <-ctx.Done():
					return nil, context.Cause(ctx)
				}
			})
			r := run(t, app)
			tr, err := app.Transport(bus)
			if err != nil {
				t.Fatal(err)
			}
			for step := range int64(20) {
				await(t, "the window is full, or handlers run", func() bool { return running.Load() == 8 })
				checkWindow(t, tr, reader(t, app), window)
				for range 50 {
					release <- struct{}{}
				}
				await(t, "messages are handled", func() bool { return handled.Load() >= 50*(step+1) })
			}
			if n := most.Load(); n > 8 {
				t.Errorf("%d handlers at once, with a concurrency of 8", n)
			}
			if now := heap(); now > memory+growth {
				t.Errorf("%d bytes before, %d with a window of %d messages in flight", memory, now, window)
			}
			if n := runtime.NumGoroutine(); n > goroutines+8+clients {
				t.Errorf("%d goroutines before, %d with 8 handlers", goroutines, n)
			}
			close(release)
			if err := r.stop(); err != nil {
				t.Errorf("drain: %v", err)
			}
		})
	}
}

// fill publishes n messages of 256 bytes, in the fastest way that there is.
func fill(t *testing.T, w *world, topic driver.Topic, n int) {
	t.Helper()
	tr := transport.New(w.native(t), &transport.Options{Prefix: w.entry.Prefix})
	if _, err := tr.EnsureTopic(t.Context(), topic); err != nil {
		t.Fatal(err)
	}
	const batch = 1000
	es := make([]*envelope.Envelope, batch)
	for range n / batch {
		for i := range es {
			e, err := envelope.New(envelope.Raw{Type: "it.job@1", Data: make([]byte, 256)})
			if err != nil {
				t.Fatal(err)
			}
			es[i] = e
		}
		if err := tr.Publish(t.Context(), topic.Name, es...); err != nil {
			t.Fatal(err)
		}
	}
}

// checkWindow asks both the app and the broker what is in flight.
func checkWindow(t *testing.T, tr, lags *transport.Transport, window int) {
	t.Helper()
	for _, h := range tr.Health() {
		if h.InFlight > window {
			t.Errorf("%d in flight, with a window of %d", h.InFlight, h.Window)
		}
	}
	lag, err := lags.Lag(t.Context(), "jobs", "slow")
	if err != nil {
		t.Fatal(err)
	}
	if lag.Pending > int64(window) {
		t.Errorf("the broker has %d in flight, with a window of %d", lag.Pending, window)
	}
	if lag.Waiting == 0 {
		t.Error("there is no backlog: the test shows nothing")
	}
}

// heap is what is in use after a collection.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
