package redisstore

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/idempotency"
	"github.com/anywire/anywire/idempotency/storetest"
	"github.com/anywire/anywire/internal/brokertest"
)

func TestStoreConformance(t *testing.T) {
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

// TestStoreConformanceOnACluster is the same where a script may touch one bucket
// only.
func TestStoreConformanceOnACluster(t *testing.T) {
	t.Parallel()
	if os.Getenv("ANYWIRE_TEST_FULL") == "" {
		t.Skip("half a minute: TestCluster is the short form, ANYWIRE_TEST_FULL=1 runs both")
	}
	storetest.Run(t, harness(t, onCluster(t)))
}

func TestCluster(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context(), onCluster(t))
	if err != nil {
		t.Fatal(err)
	}
	lives(t, s)
	list := fresh(200) // in all buckets, so on all nodes
	var changes []idempotency.Change
	for i, v := range begin(t, s, list...) {
		if v.State != idempotency.Acquired {
			t.Errorf("claim %d: %v", i, v.State)
		}
		changes = append(changes, change(&list[i], idempotency.Complete))
	}
	made(t, s, changes...)
	for i, v := range begin(t, s, list...) {
		if v.State != idempotency.Done {
			t.Errorf("claim %d, once more: %v", i, v.State)
		}
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// onCluster starts one, and says how to reach it.
func onCluster(tb testing.TB) Options {
	tb.Helper()
	var hosts []string
	for _, node := range brokertest.RedisCluster(tb) {
		hosts = append(hosts, node.Addrs[0])
	}
	return Options{URL: "redis://" + strings.Join(hosts, ","), Cluster: true}
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
		Name: "redis", MaxOutputs: 3 << 20, Lease: 500 * time.Millisecond,
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
