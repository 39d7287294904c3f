package anywire_test

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anywire/anywire"
	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/envelope"
)

// rawApp counts raw messages on topic "in".
func rawApp(tb testing.TB) (*anywire.App, *atomic.Int64) {
	tb.Helper()
	handled := new(atomic.Int64)
	cfg := &config.Config{
		Agents:      map[string]config.Agent{"counter": {Consumes: "in"}},
		Idempotency: config.Idempotency{Store: config.None},
	}
	app := anywire.New(&anywire.Options{Config: cfg})
	app.HandleEnvelope("counter", func(context.Context, *envelope.Envelope) ([]*envelope.Envelope, error) {
		handled.Add(1)
		return nil, nil
	})
	return app, handled
}

// raw makes n messages with bodies of 256 bytes.
func raw(n int) []*envelope.Envelope {
	body := make([]byte, 256)
	now := time.Now()
	es := make([]*envelope.Envelope, n)
	for i := range es {
		id := envelope.NewID()
		es[i] = &envelope.Envelope{
			ID: id, Source: "/bench", Type: "bench.raw", SchemaVersion: 1, Time: now, CorrelationID: id, Data: body,
		}
	}
	return es
}

// From making a raw envelope and its id until it is settled: at most six
// allocations.
func TestAllocationsPerRawMessage(t *testing.T) {
	const messages, batch, most = 20_000, 50, 6.0
	app, handled := rawApp(t)
	start(t, app)
	tr, err := app.Transport("")
	if err != nil {
		t.Fatal(err)
	}
	publish := func(es []*envelope.Envelope) {
		want := handled.Load() + int64(len(es))
		for len(es) > 0 {
			if err := tr.Publish(t.Context(), "in", es[:batch]...); err != nil {
				t.Fatal(err)
			}
			es = es[batch:]
		}
		await(t, "all handled", func() bool { return handled.Load() == want })
		await(t, "all settled", func() bool { return app.Health().Agents[0].InFlight == 0 })
	}
	publish(raw(messages)) // pools and tables fill

	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	publish(raw(messages))
	runtime.ReadMemStats(&after)
	per := float64(after.Mallocs-before.Mallocs) / messages
	t.Logf("%.2f allocations and %.0f bytes per message", per, float64(after.TotalAlloc-before.TotalAlloc)/messages)
	if per > most && !raceDetector {
		t.Errorf("%.2f allocations per message, want at most %v", per, most)
	}
}

// Raw messages, one publisher, through handler and settlement.
func BenchmarkRawMessage(b *testing.B) {
	app, handled := rawApp(b)
	ctx, stop := context.WithCancel(b.Context())
	ran := make(chan error, 1)
	go func() { ran <- app.Run(ctx) }()
	tr, err := app.Transport("")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for n := b.N; n > 0; {
		es := raw(min(n, 64))
		if err := tr.Publish(ctx, "in", es...); err != nil {
			b.Fatal(err)
		}
		n -= len(es)
	}
	for handled.Load() < int64(b.N) {
		runtime.Gosched()
	}
	b.StopTimer()
	stop()
	if err := <-ran; err != nil {
		b.Fatal(err)
	}
}

// Typed messages through a handler that answers.
func BenchmarkTypedMessage(b *testing.B) {
	handled := new(atomic.Int64)
	cfg := &config.Config{Agents: map[string]config.Agent{"echo": {Consumes: "in", Produces: config.None}}}
	app := anywire.New(&anywire.Options{Config: cfg})
	anywire.Consume(app, "echo", func(context.Context, Brief) error {
		handled.Add(1)
		return nil
	})
	ctx, stop := context.WithCancel(b.Context())
	ran := make(chan error, 1)
	go func() { ran <- app.Run(ctx) }()
	text := Brief{string(make([]byte, 40))}
	b.ReportAllocs()
	for range b.N {
		if err := app.Publish(ctx, "in", text); err != nil {
			b.Fatal(err)
		}
	}
	for handled.Load() < int64(b.N) {
		runtime.Gosched()
	}
	b.StopTimer()
	stop()
	if err := <-ran; err != nil {
		b.Fatal(err)
	}
}
