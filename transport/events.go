package transport

import "time"

// Event is something that a [Transport] tells its observer: [Published],
// [Settled], [Redelivered], [Lost], [Vanished] or [Changed]. The set is sealed; package
// router adds its own by embedding the interface.
type Event interface{ event() }

// Published is one call of [Transport.Publish].
type Published struct {
	Transport, Topic string
	Messages         int
	Took             time.Duration
	Err              error
}

// Settled is one batch of deliveries that the broker confirmed as done or given
// back.
type Settled struct {
	Transport, Topic, Group string
	Messages                int
}

// Redelivered is a delivery that came more than once.
type Redelivered struct {
	Transport, Topic, Group, ID string
	Deliveries                  int
}

// Lost is a delivery that another member has, or may have: its handler was
// cancelled, and its outcome is dropped.
type Lost struct {
	Transport, Topic, Group, ID string
	Reason                      string
}

// Vanished are messages that the broker dropped before the group had settled them:
// nobody gets them any more. It is told within a third of the lease; the driver's
// log says which they are.
type Vanished struct {
	Transport, Topic, Group string
	Messages                uint64 // since the last such event
}

// Changed is a new state of a subscription.
type Changed struct {
	Health Health

	trouble bool // somebody should look
}

func (Published) event()   {}
func (Settled) event()     {}
func (Redelivered) event() {}
func (Lost) event()        {}
func (Vanished) event()    {}
func (Changed) event()     {}
