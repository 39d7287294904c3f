package redisstore

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/anywire/anywire/idempotency"
	"github.com/anywire/anywire/internal/brokertest"
)

// BenchmarkBegin begins records of new messages, in batches.
func BenchmarkBegin(b *testing.B) {
	each(b, func(b *testing.B, s *Store, n int) {
		b.Helper()
		measure(b, s, n, func(ctx context.Context) error {
			_, err := s.Begin(ctx, fresh(n))
			return err
		})
	})
}

// BenchmarkBeginComplete does all that a message without outputs costs, and, for
// comparison, stores as many messages of 256 bytes and 11 attributes in a stream.
func BenchmarkBeginComplete(b *testing.B) {
	each(b, func(b *testing.B, s *Store, n int) {
		b.Helper()
		changes := make([]idempotency.Change, n)
		measure(b, s, n, func(ctx context.Context) error {
			list := fresh(n)
			if _, err := s.Begin(ctx, list); err != nil {
				return err
			}
			for i := range list {
				changes[i] = change(&list[i], idempotency.Complete)
			}
			_, err := s.Update(ctx, changes)
			return err
		})
	})
	values := []any{"body", strings.Repeat("x", 256)}
	for i := range 11 {
		values = append(values, fmt.Sprint("ce_attribute", i), "0198f0a2-1111-7abc-8def-000000000000")
	}
	for _, n := range []int{64, 256} {
		b.Run(fmt.Sprintf("xadd/%d", n), func(b *testing.B) {
			s := shared(b)
			measure(b, s, n, func(ctx context.Context) error {
				pipe := s.client.Pipeline()
				for range n {
					pipe.XAdd(ctx, &redis.XAddArgs{Stream: s.o.Prefix + "stream", Values: values})
				}
				_, err := pipe.Exec(ctx)
				return err
			})
		})
	}
}

// each runs a benchmark with a script for each batch, and for each bucket as on a
// Cluster.
func each(b *testing.B, run func(b *testing.B, s *Store, n int)) {
	b.Helper()
	for _, split := range []bool{false, true} {
		for _, n := range []int{1, 64, 256} {
			b.Run(fmt.Sprintf("buckets=%v/%d", split, n), func(b *testing.B) {
				s := shared(b)
				s.split.Store(split)
				run(b, s, n)
			})
		}
	}
}

// measure runs batches of n, and reports time per item, and how much of it the
// server was busy.
func measure(b *testing.B, s *Store, n int, once func(ctx context.Context) error) {
	b.Helper()
	defer s.client.FlushAll(context.WithoutCancel(b.Context()))
	ctx, busy := b.Context(), busyTime(b, s.client)
	b.ReportAllocs()
	for b.Loop() {
		if err := once(ctx); err != nil {
			b.Fatal(err)
		}
	}
	items := float64(b.N) * float64(n)
	b.ReportMetric(float64(b.Elapsed().Microseconds())/items, "µs/item")
	b.ReportMetric((busyTime(b, s.client)-busy)*1e6/items, "server-µs/item")
}

// busyTime is how many seconds the server's thread has worked.
func busyTime(b *testing.B, client redis.UniversalClient) (seconds float64) {
	b.Helper()
	for line := range strings.Lines(client.Info(b.Context(), "cpu").Val()) {
		if name, v, _ := strings.Cut(strings.TrimSpace(line), ":"); strings.HasSuffix(name, "_main_thread") {
			part, _ := strconv.ParseFloat(v, 64)
			seconds += part
		}
	}
	return seconds
}

func fresh(n int) []idempotency.Claim {
	list := make([]idempotency.Claim, n)
	for i := range list {
		list[i] = idempotency.Claim{Key: idempotency.Key{Scope: "anywire/default"}, Token: idempotency.NewToken(), Lease: lease, TTL: ttl}
		_, _ = rand.Read(list[i].Key.Hash[:]) // never fails
		list[i].Fingerprint = list[i].Key.Hash
	}
	return list
}

// TestMemoryOfARecord measures what a settled record costs the server, its place in
// the server's tables included: these double when they are full, as they are here.
func TestMemoryOfARecord(t *testing.T) {
	t.Parallel()
	const n, batch = 32_000, 500
	s := New(client(t, brokertest.Redis(t, "appendonly no").Addrs[0]), nil)
	var last idempotency.Key
	settle := func() {
		list := fresh(batch)
		begin(t, s, list...)
		var changes []idempotency.Change
		for i := range list {
			changes, last = append(changes, change(&list[i], idempotency.Complete)), list[i].Key
		}
		made(t, s, changes...)
	}
	settle() // buffers and scripts are there
	before := usedMemory(t, s)
	for range n/batch - 1 {
		settle()
	}
	each := (usedMemory(t, s) - before) / (n - batch)
	alone, err := s.client.MemoryUsage(t.Context(), keyOf(s, last)).Result()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("a settled record takes %d bytes, %d with its share of the tables", alone, each)
	if alone > 160 || each > 200 {
		t.Errorf("a settled record takes %d bytes, %d with its share of the tables: want at most 160 and 200", alone, each)
	}
}

func usedMemory(t *testing.T, s *Store) int64 {
	t.Helper()
	for line := range strings.Lines(s.client.Info(t.Context(), "memory").Val()) {
		if v, ok := strings.CutPrefix(line, "used_memory:"); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("INFO memory has no used_memory")
	return 0
}
