package drivertest

import (
	"testing"
	"time"

	"github.com/anywire/anywire/transport/driver"
)

// Defaults of [Harness].
const (
	DefaultLease    = 2 * time.Second
	DefaultPatience = 20 * time.Second
	DefaultQuiet    = 300 * time.Millisecond
)

// Harness tells the suite how to reach the driver and what it may do to the
// broker. Only Open is required; cases that need what is missing are skipped
// and counted.
type Harness struct {
	// Open returns a driver, or ends the test. The broker behind it may be fresh
	// or shared; drivers that one test opens must reach the same broker where
	// Kill or Restart is set. The suite closes the driver.
	Open func(tb testing.TB) driver.Driver

	// Name is that of the driver in the report that Run logs; empty: it logs none.
	// Of several runs with one driver, the one in its usual configuration has it.
	Name string

	// Documented is what the kind declares with its default options, for the
	// report, where those of the harness are others. Nil: what the driver says.
	Documented *driver.Capabilities

	// OpenBounded returns a driver whose topics are full at limit messages that
	// a group has not settled. Nil where topics have no bound. The suite closes
	// the driver.
	OpenBounded func(tb testing.TB, limit int) driver.Driver

	// Declared is what the driver's kind declares without a connection.
	Declared *driver.Capabilities

	// Kill cuts every connection of d as the death of its process would: without
	// a word to the broker. The suite still closes d afterwards and ignores the
	// error. Nil where that cannot be simulated.
	Kill func(tb testing.TB, d driver.Driver)

	// Stall makes d stand still, as the death of its network or a stopped process
	// would: its connections stay open and carry nothing either way until the suite
	// calls resume, once. Nil where that cannot be simulated.
	Stall func(tb testing.TB, d driver.Driver) (resume func())

	// Restart stops the broker process and starts it again on the same address
	// and data, and returns when it answers. No other case runs meanwhile. Nil
	// where the broker cannot be restarted.
	Restart func(tb testing.TB)

	// Lease is the shortest lease to use; default [DefaultLease]. Cases last
	// several leases, and fail by accident if the machine stops for a third of
	// one.
	Lease time.Duration

	// Patience is the longest wait for what must happen; default
	// [DefaultPatience]. It should be at least three leases.
	Patience time.Duration

	// Quiet is how long to watch for what must not happen; default
	// [DefaultQuiet].
	Quiet time.Duration

	// Skip names cases that this driver is known to fail, with the reason. A
	// name that is no case is an error.
	Skip map[string]string
}

func (h Harness) withDefaults() Harness {
	if h.Lease <= 0 {
		h.Lease = DefaultLease
	}
	if h.Patience <= 0 {
		h.Patience = DefaultPatience
	}
	if h.Quiet <= 0 {
		h.Quiet = DefaultQuiet
	}
	return h
}

// never is a lease that does not end within a case: whatever comes again under
// it was given back.
func (h Harness) never() time.Duration { return 10 * h.Patience }
