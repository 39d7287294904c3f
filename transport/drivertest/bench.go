package drivertest

import (
	"context"
	"fmt"
	"testing"

	"github.com/anywire/anywire/transport/driver"
)

// Benchmark measures the driver alone, without the engine, with bodies of 256
// bytes: publishing one by one, in batches and from many goroutines, and
// messages published, received and settled. Each operation of b is one message.
func Benchmark(b *testing.B, h Harness) {
	b.Helper()
	h = h.withDefaults()
	for _, size := range []int{1, 64} {
		b.Run(fmt.Sprintf("publish/batch=%d", size), func(b *testing.B) { benchmark(b, h).publishes(b, size) })
	}
	b.Run("publish/parallel", func(b *testing.B) { benchmark(b, h).publishesParallel(b) })
	for _, size := range []int{1, 64, 512} {
		b.Run(fmt.Sprintf("roundtrip/batch=%d", size), func(b *testing.B) { benchmark(b, h).roundTrips(b, size) })
	}
}

func benchmark(b *testing.B, h Harness) *env {
	b.Helper()
	b.ReportAllocs()
	e := &env{TB: b, h: h, name: "bench"}
	e.d = e.open()
	e.caps = e.d.Capabilities()
	return e
}

// load is n messages with as many keys; a publish may send them repeatedly.
func (e *env) load(n int) []*driver.Message {
	msgs := e.keyed(n)
	for _, m := range msgs {
		m.Body = make([]byte, 256)
	}
	return msgs
}

func (e *env) publishes(b *testing.B, size int) {
	b.Helper()
	topic, msgs := e.topic(1), e.load(size)
	b.ResetTimer()
	for sent := 0; sent < b.N; sent += size {
		e.mustf(e.d.Publish(b.Context(), topic, msgs[:min(size, b.N-sent)]), "Publish")
	}
	e.rate(b)
}

// rate reports what the field compares.
func (*env) rate(b *testing.B) {
	b.Helper()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}

func (e *env) publishesParallel(b *testing.B) {
	b.Helper()
	topic := e.topic(1)
	b.SetParallelism(64)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		msgs := e.load(1)
		for pb.Next() {
			if err := e.d.Publish(b.Context(), topic, msgs); err != nil {
				b.Errorf("Publish: %v", err)
				return
			}
		}
	})
	e.rate(b)
}

// roundTrips publishes from one goroutine, a batch at a time, while this one
// receives and settles.
func (e *env) roundTrips(b *testing.B, size int) {
	b.Helper()
	topic := e.topic(1)
	s := e.subscription(topic, e.group())
	s.Window = size
	if e.caps.MaxInFlight > 0 {
		s.Window = min(size, e.caps.MaxInFlight)
	}
	m := e.subscribe(s)
	ctx, cancel := context.WithCancelCause(b.Context())
	msgs := e.load(size)
	b.ResetTimer()
	go func() {
		if err := e.send(ctx, topic, msgs, b.N); err != nil {
			cancel(err)
		}
	}()
	for got := 0; got < b.N; {
		msgs, err := m.receive(ctx, s.Window)
		if err != nil {
			b.Fatalf("Receive: %v, Publish: %v", err, context.Cause(ctx))
		}
		e.mustf(m.src.Settle(ctx, settlements(driver.Ack, 0, msgs...)), "Settle")
		got += len(msgs)
	}
	e.rate(b)
	cancel(nil)
}

// send publishes n messages, as many in a call as msgs has.
func (e *env) send(ctx context.Context, topic string, msgs []*driver.Message, n int) error {
	for sent := 0; sent < n; sent += len(msgs) {
		if err := e.d.Publish(ctx, topic, msgs[:min(len(msgs), n-sent)]); err != nil {
			return err
		}
	}
	return nil
}
