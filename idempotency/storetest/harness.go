package storetest

import (
	"testing"
	"time"

	"github.com/anywire/anywire/idempotency"
)

// Defaults of [Harness].
const (
	DefaultLease    = time.Second
	DefaultKeep     = time.Hour
	DefaultPatience = 20 * time.Second
)

// Harness tells the suite how to reach the store and what it may do to it. Only
// Open is required; cases that need what is missing are skipped and counted.
type Harness struct {
	// Open returns a view of the store as another process has it, or ends the
	// test: what one test opens shows the same records. The suite closes an
	// [idempotency.Closer].
	Open func(tb testing.TB) idempotency.Store

	// InProcess says that the records live in what Open returns, which is made
	// without any. Open is called once for each case, and every process of the
	// case has that store. Cases run within testing/synctest: the store may use
	// time.Now and timers, and starts nothing that outlives its Close.
	InProcess bool

	// Name is that of the store in the line that Run logs.
	Name string

	// Lease is the shortest lease to use; default [DefaultLease]. Cases last
	// several leases, and fail by accident if the machine stops for half of one.
	Lease time.Duration

	// TTL is the shortest time for which a record can be kept, for the cases that
	// wait until one is gone. Default: four leases; negative: it is too long to
	// wait for.
	TTL time.Duration

	// Keep is how long the records of all other cases are kept, and the longest
	// time that the suite asks for; default [DefaultKeep].
	Keep time.Duration

	// Patience is the longest wait for what must happen; default
	// [DefaultPatience]. It should be at least five leases, and three TTL.
	Patience time.Duration

	// MaxOutputs is how many bytes the payloads of one record's outputs may have
	// together at least; twice that is more than the store takes. 0: it takes
	// whatever comes.
	MaxOutputs int

	// Restart stops the server and starts it again on the same address and data,
	// and returns when it answers. No other case runs meanwhile. Nil where there
	// is none, or it keeps nothing.
	Restart func(tb testing.TB)

	// Damage replaces the record of a key by bytes that no version of the store
	// wrote. Nil where that cannot be done.
	Damage func(tb testing.TB, key idempotency.Key)

	// Forget removes the record of a key, as the loss of the store's data would.
	// Nil where that cannot be done.
	Forget func(tb testing.TB, key idempotency.Key)

	// Skip names cases that this store is known to fail, with the reason. A name
	// that is no case is an error.
	Skip map[string]string
}

func (h Harness) withDefaults() Harness {
	if h.Lease <= 0 {
		h.Lease = DefaultLease
	}
	if h.Keep <= 0 {
		h.Keep = DefaultKeep
	}
	if h.Patience <= 0 {
		h.Patience = DefaultPatience
	}
	if h.TTL == 0 {
		h.TTL = 4 * h.Lease
	}
	return h
}

// never is a lease that does not end within a case.
func (h Harness) never() time.Duration { return min(10*h.Patience, h.Keep/2) }
