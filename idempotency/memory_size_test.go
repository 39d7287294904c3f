//go:build !race

package idempotency_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/idempotency"
)

func heapInUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// Whatever way it went there, and also when records have been evicted for long.
func TestSettledRecordsAreSmall(t *testing.T) { //nolint:paralleltest // measures the heap
	const n, most = 1_000_000, 128
	out := []*envelope.Envelope{{ID: "1", Source: "/", Type: "t", SchemaVersion: 1}}
	for name, outputs := range map[string][]*envelope.Envelope{"without outputs": nil, "with outputs": out} { //nolint:paralleltest // measures the heap
		t.Run(name, func(t *testing.T) {
			m := idempotency.NewMemory(nil)
			before := heapInUse()
			for i := range n + n/2 {
				c := claimOf(i)
				if _, err := m.BeginOne(t.Context(), &c); err != nil {
					t.Fatal(err)
				}
				done := changeOf(&c, idempotency.Complete)
				done.Outputs = outputs
				settled := changeOf(&c, idempotency.Settle)
				if err := m.UpdateOne(t.Context(), &done); err != nil {
					t.Fatal(err)
				}
				if err := m.UpdateOne(t.Context(), &settled); err != nil {
					t.Fatal(err)
				}
				if i == n*9/10 || i == n+n/2-1 {
					kept := m.Stats().Records
					each := float64(heapInUse()-before) / float64(kept)
					t.Logf("%d records, %.0f bytes each", kept, each)
					if each > most {
						t.Errorf("a settled record takes %.0f bytes, want at most %d", each, most)
					}
				}
			}
			runtime.KeepAlive(m)
		})
	}
}

// What is begun and never ends takes room until its TTL, and not longer.
func TestAttemptsThatAreGivenUpAreForgotten(t *testing.T) { //nolint:paralleltest // measures the heap
	m := idempotency.NewMemory(nil)
	before := heapInUse()
	for i := range 300_000 {
		c := claimOf(i)
		c.Lease, c.TTL = time.Microsecond, 2*time.Microsecond
		if _, err := m.BeginOne(t.Context(), &c); err != nil {
			t.Fatal(err)
		}
	}
	if kept := m.Stats().Records; kept > 1000 {
		t.Errorf("%d records are kept, want hardly any", kept)
	}
	if grown := int64(heapInUse()) - int64(before); grown > 4<<20 {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
	runtime.KeepAlive(m)
}
