package redisstore

import (
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/idempotency"
	"github.com/anywire/anywire/idempotency/storetest"
	"github.com/anywire/anywire/internal/brokertest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	server := brokertest.Redis(t)
	h := harness(t, Options{URL: server.URL})
	h.Restart = func(tb testing.TB) {
		tb.Helper()
		server.Kill(tb)
		server.Start(tb)
	}
	storetest.Run(t, h)
}

// TestConformanceOnACluster is the same where a script may touch one bucket only.
func TestConformanceOnACluster(t *testing.T) {
	t.Parallel()
	var hosts []string
	for _, node := range brokertest.RedisCluster(t) {
		hosts = append(hosts, node.Addrs[0])
	}
	storetest.Run(t, harness(t, Options{URL: "redis://" + strings.Join(hosts, ","), Cluster: true}))
}

// harness opens stores with the same options, each with connections of its own.
func harness(tb testing.TB, o Options) storetest.Harness {
	tb.Helper()
	o.MaxRecord = 4 * value.MiB
	var admin redis.UniversalClient
	open := func(tb testing.TB) *Store {
		tb.Helper()
		s, err := Open(tb.Context(), o)
		if err != nil {
			tb.Fatal(err)
		}
		return s
	}
	admin, err := o.withDefaults().connection().NewClient()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = admin.Close() })
	keys := New(admin, &o)
	return storetest.Harness{
		Name: "redis", MaxOutputs: 3 << 20,
		Open: func(tb testing.TB) idempotency.Store { tb.Helper(); return open(tb) },
		Damage: func(tb testing.TB, key idempotency.Key) {
			tb.Helper()
			if err := admin.SetArgs(tb.Context(), keyOf(keys, key), "what is this?", redis.SetArgs{KeepTTL: true}).Err(); err != nil {
				tb.Fatal(err)
			}
		},
		Forget: func(tb testing.TB, key idempotency.Key) {
			tb.Helper()
			if err := admin.Del(tb.Context(), keyOf(keys, key)).Err(); err != nil {
				tb.Fatal(err)
			}
		},
	}
}
