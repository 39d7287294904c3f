package idempotency_test

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/anywire/anywire/idempotency"
)

// claimOf is a claim of message n.
func claimOf(n int) idempotency.Claim {
	c := idempotency.Claim{
		Key:   idempotency.NamedKey("anywire/group", "a.message", string(binary.AppendUvarint(nil, uint64(n)))),
		Lease: 30 * time.Second, TTL: 24 * time.Hour,
	}
	binary.BigEndian.PutUint64(c.Token[:], uint64(n)+1)
	binary.BigEndian.PutUint64(c.Fingerprint[:], uint64(n))
	return c
}

func changeOf(c *idempotency.Claim, op idempotency.Op) idempotency.Change {
	return idempotency.Change{Key: c.Key, Token: c.Token, Op: op, Lease: c.Lease, TTL: c.TTL}
}

// One message through its record, in a store that is full.
func BenchmarkMemory(b *testing.B) {
	m := idempotency.NewMemory(&idempotency.MemoryOptions{MaxRecords: 100_000})
	b.ReportAllocs()
	for n := range b.N {
		c := claimOf(n)
		if _, err := m.BeginOne(b.Context(), &c); err != nil {
			b.Fatal(err)
		}
		done := changeOf(&c, idempotency.Complete)
		if err := m.UpdateOne(b.Context(), &done); err != nil {
			b.Fatal(err)
		}
	}
}
