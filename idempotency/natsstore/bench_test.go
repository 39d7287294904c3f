package natsstore

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/idempotency"
	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/transport/natsdriver/embedded"
)

// BenchmarkRecords takes new messages through their records, in batches: begun
// and completed, without outputs; and with outputs, which are settled then. The
// other numbers are plain publishes of 256 bytes, all of a batch under way at
// once, on the same server: what the transport does for each message.
func BenchmarkRecords(b *testing.B) {
	servers := map[string]func(b *testing.B) *nats.Conn{
		"server": func(b *testing.B) *nats.Conn {
			b.Helper()
			return opened(b, brokertest.SharedNATS(b).URL, nil).nc
		},
		"embedded": func(b *testing.B) *nats.Conn {
			b.Helper()
			return onFolder(b, embedded.Options{Dir: b.TempDir()})
		},
		"embedded-1s": func(b *testing.B) *nats.Conn {
			b.Helper()
			return onFolder(b, embedded.Options{Dir: b.TempDir(), Sync: "1s"})
		},
	}
	for name, connect := range servers {
		for _, size := range []int{64, 256} {
			b.Run(fmt.Sprintf("%s/plain/%d", name, size), func(b *testing.B) { benchPublishes(b, connect(b), size) })
			b.Run(fmt.Sprintf("%s/begin+complete/%d", name, size), func(b *testing.B) { benchRecords(b, connect(b), size, nil) })
			b.Run(fmt.Sprintf("%s/with-outputs/%d", name, size), func(b *testing.B) {
				out := envelope.Envelope{ID: "1", Source: "/bench", Type: "t", SchemaVersion: 1, Topic: "t", Data: make([]byte, 256)}
				benchRecords(b, connect(b), size, []*envelope.Envelope{&out})
			})
		}
	}
}

func benchPublishes(b *testing.B, nc *nats.Conn, size int) {
	b.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		b.Fatal(err)
	}
	name := "bench-" + fmt.Sprint(time.Now().UnixNano())
	if _, err := js.CreateStream(b.Context(), jetstream.StreamConfig{Name: name, Subjects: []string{name}}); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = js.DeleteStream(context.WithoutCancel(b.Context()), name) })
	body := make([]byte, 256)
	b.ReportAllocs()
	b.ResetTimer()
	for done := 0; done < b.N; done += size {
		for range size {
			if _, err := js.PublishAsync(name, body, jetstream.WithStallWait(time.Minute)); err != nil {
				b.Fatal(err)
			}
		}
		<-js.PublishAsyncComplete()
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}

func benchRecords(b *testing.B, nc *nats.Conn, size int, outputs []*envelope.Envelope) {
	b.Helper()
	s, err := New(nc, &Options{Bucket: "bench-" + fmt.Sprint(time.Now().UnixNano())})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = s.bucket.js.DeleteStream(context.WithoutCancel(b.Context()), s.bucket.name)
		_ = s.Close(b.Context())
	})
	if err := s.Ready(b.Context()); err != nil {
		b.Fatal(err)
	}
	n := 0
	claims, changes := make([]idempotency.Claim, size), make([]idempotency.Change, size)
	b.ReportAllocs()
	b.ResetTimer()
	for done := 0; done < b.N; done += size {
		for i := range claims {
			n++
			key := idempotency.NamedKey("bench/group", "t", fmt.Sprint(n))
			claims[i] = idempotency.Claim{Key: key, Token: idempotency.NewToken(), Lease: time.Minute, TTL: DefaultTTL}
			changes[i] = idempotency.Change{Key: key, Token: claims[i].Token, Op: idempotency.Complete, TTL: DefaultTTL, Outputs: outputs}
		}
		if _, err := s.Begin(b.Context(), claims); err != nil {
			b.Fatal(err)
		}
		benchUpdate(b, s, changes)
		if outputs == nil {
			continue
		}
		for i := range changes {
			changes[i].Op, changes[i].Outputs = idempotency.Settle, nil
		}
		benchUpdate(b, s, changes)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}

func benchUpdate(b *testing.B, s *Store, changes []idempotency.Change) {
	b.Helper()
	errs, err := s.Update(b.Context(), changes)
	for _, each := range errs {
		if err == nil {
			err = each
		}
	}
	if err != nil {
		b.Fatal(err)
	}
}
