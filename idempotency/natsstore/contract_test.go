package natsstore

import (
	"testing"
	"time"

	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/idempotency"
	"github.com/anywire/anywire/idempotency/storetest"
	"github.com/anywire/anywire/internal/brokertest"
)

// TestContract runs the suite against a server process of its own, which is
// killed and started again in between.
func TestContract(t *testing.T) {
	server := brokertest.NATS(t)
	storetest.Run(t, harness("nats", func(tb testing.TB) *Store {
		tb.Helper()
		return opened(tb, server.URL, contractOptions)
	}, func(tb testing.TB) {
		tb.Helper()
		server.Kill(tb)
		server.Start(tb)
	}))
}

// contractOptions are of one bucket for all processes of the suite.
func contractOptions(o *Options) {
	o.Bucket, o.TTL, o.MaxRecord = "contract", storetest.DefaultKeep, 4*value.MiB
}

func harness(name string, open func(tb testing.TB) *Store, restart func(tb testing.TB)) storetest.Harness {
	write := func(tb testing.TB, key idempotency.Key, text string) {
		tb.Helper()
		s := open(tb)
		defer func() { _ = s.Close(tb.Context()) }()
		if _, err := s.bucket.js.Publish(tb.Context(), s.subjects.of(&key), []byte(text)); err != nil {
			tb.Fatal(err)
		}
	}
	return storetest.Harness{
		Name: name,
		Open: func(tb testing.TB) idempotency.Store {
			tb.Helper()
			return open(tb)
		},
		TTL:        2 * time.Second, // a server counts in seconds
		Patience:   30 * time.Second,
		MaxOutputs: int(3 * value.MiB),
		Restart:    restart,
		Damage: func(tb testing.TB, key idempotency.Key) {
			tb.Helper()
			write(tb, key, "\xffno record")
		},
		Forget: func(tb testing.TB, key idempotency.Key) {
			tb.Helper()
			s := open(tb)
			defer func() { _ = s.Close(tb.Context()) }()
			kv, err := s.bucket.js.KeyValue(tb.Context(), s.o.Bucket)
			if err == nil {
				err = kv.Purge(tb.Context(), s.subjects.of(&key)[len(s.subjects.stem):])
			}
			if err != nil {
				tb.Fatal(err)
			}
		},
	}
}
