package transport_test

import (
	"context"
	"strconv"
	"testing"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/memory"
)

// BenchmarkOrder shows what order by key costs, with 1,000 keys.
func BenchmarkOrder(b *testing.B) {
	for name, order := range map[string]transport.Order{"none": transport.OrderNone, "key": transport.OrderKey} {
		b.Run(name, func(b *testing.B) {
			wire := transport.New(memory.New(nil), &transport.Options{OwnsDriver: true})
			ctx, stop := context.WithCancel(b.Context())
			seen, done := make(chan struct{}, 1024), make(chan error, 1)
			if err := wire.Join(ctx, "topic", &transport.SubscribeOptions{Group: "g", Order: order}); err != nil {
				b.Fatal(err)
			}
			go func() {
				done <- wire.Subscribe(ctx, "topic", func(context.Context, *transport.Delivery) transport.Outcome {
					seen <- struct{}{}
					return transport.Done()
				}, &transport.SubscribeOptions{Group: "g", Order: order})
			}()
			es := make([]*envelope.Envelope, 1000)
			for i := range es {
				es[i] = &envelope.Envelope{
					ID: strconv.Itoa(i), Source: "/b", Type: "b.m", SchemaVersion: 1, Key: "key" + strconv.Itoa(i), Data: make([]byte, 256),
				}
			}
			b.ReportAllocs()
			b.ResetTimer()
			go func() {
				for i := range b.N {
					if err := wire.Publish(ctx, "topic", es[i%len(es)]); err != nil {
						b.Error(err)
						return
					}
				}
			}()
			for range b.N {
				<-seen
			}
			b.StopTimer()
			stop()
			if err := <-done; err != nil {
				b.Error(err)
			}
			if err := wire.Close(b.Context()); err != nil && b.Context().Err() == nil {
				b.Error(err)
			}
		})
	}
}
