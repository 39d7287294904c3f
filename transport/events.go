package transport

import "time"

// Event is something that a [Transport] tells its observer: [Published],
// [Settled], [Redelivered], [Lost] or [Changed]. The set is sealed; package
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

// Changed is a new state of a subscription.
type Changed struct {
	Health Health

	trouble bool // somebody should look
}

func (Published) event()   {}
func (Settled) event()     {}
func (Redelivered) event() {}
func (Lost) event()        {}
func (Changed) event()     {}
