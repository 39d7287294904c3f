package memory_test

import (
	"testing"

	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/memory"
)

// BenchmarkLocal carries messages by reference, as the engine does: published,
// received and settled by one goroutine, so that it measures work and no waits.
func BenchmarkLocal(b *testing.B) {
	for _, bench := range []struct {
		name        string
		call, batch int // messages per Publish, and per Receive and Settle
	}{{"publish=1,receive=1", 1, 1}, {"publish=1,receive=64", 1, 64}, {"publish=64,receive=64", 64, 64}} {
		b.Run(bench.name, func(b *testing.B) {
			broker, src := open(b, nil, driver.Subscription{Topic: "t", Group: "g"})
			msgs := make([]*driver.Message, bench.call)
			for i := range msgs {
				msgs[i] = &driver.Message{Key: "key", Local: new(int)}
			}
			settle := make([]driver.Settlement, 0, bench.batch)
			b.ReportAllocs()
			for n := 0; n < b.N; n += bench.batch {
				for sent := 0; sent < bench.batch; sent += bench.call {
					if err := broker.Publish(b.Context(), "t", msgs); err != nil {
						b.Fatal(err)
					}
				}
				got, err := src.Receive(b.Context(), bench.batch)
				if err != nil {
					b.Fatal(err)
				}
				settle = settle[:0]
				for _, m := range got {
					settle = append(settle, driver.Settlement{Token: m.Token})
				}
				if err := src.Settle(b.Context(), settle); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
		})
	}
}

// BenchmarkPipe publishes from one goroutine while another receives and settles.
func BenchmarkPipe(b *testing.B) {
	broker, src := open(b, &memory.Options{Capacity: 4096}, driver.Subscription{Topic: "t", Group: "g"})
	b.ReportAllocs()
	go func() {
		msgs := []*driver.Message{{Key: "key", Local: new(int)}}
		for range b.N {
			if err := broker.Publish(b.Context(), "t", msgs); err != nil {
				return
			}
		}
	}()
	settle := make([]driver.Settlement, 0, 256)
	for n := 0; n < b.N; {
		got, err := src.Receive(b.Context(), 256)
		if err != nil {
			b.Fatal(err)
		}
		settle = settle[:0]
		for _, m := range got {
			settle = append(settle, driver.Settlement{Token: m.Token})
		}
		if err := src.Settle(b.Context(), settle); err != nil {
			b.Fatal(err)
		}
		n += len(got)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}
