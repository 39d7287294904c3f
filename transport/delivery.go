package transport

import (
	"context"
	"time"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/transport/driver"
)

// Handler handles one delivery and says what becomes of it. It is called
// concurrently, up to [SubscribeOptions.Concurrency]. Its context ends when the
// lease is lost (cause [envelope.LeaseLost]), when a drain runs out of time
// ([ErrDraining]) or on [Transport.Abort] ([ErrAborted]); not when the
// subscription's context ends, since running handlers finish.
//
// A handler must not panic. One that ends its goroutine (runtime.Goexit) is
// called again for the same delivery, with Runs one higher.
type Handler func(ctx context.Context, d *Delivery) Outcome

// Delivery is one message on its way through a handler.
type Delivery struct {
	// Envelope is the message; a copy of this delivery's own whose Data and
	// Extensions are shared. Nil where it cannot be read.
	Envelope *envelope.Envelope
	// DecodeErr says why the message is not to be handled: an *envelope.Error.
	// It is over a limit ([envelope.TooLarge]), or not an envelope.
	DecodeErr error
	// Raw is the message as it came. Inside one process it has neither headers
	// nor a body.
	Raw *driver.Message
	// Topic and Group are those of the subscription.
	Topic, Group string
	// Runs counts the calls for this delivery before this one: more than 0
	// after [WaitInLane].
	Runs int
	// State is the handler's own, kept between the calls for this delivery.
	State any
}

// Position is where the message stands in its topic, the same at each of its
// deliveries; empty: the broker does not say.
func (d *Delivery) Position() string { return positionOf(d.Raw) }

// Outcome says what becomes of a delivery: [Done], [WaitInLane],
// [RedeliverAfter] or [HandBack]. The zero Outcome is Done.
type Outcome struct {
	kind     outcome
	wait     time.Duration
	attempts int
}

type outcome uint8

const (
	done outcome = iota
	waitInLane
	redeliver
	handBack
)

// Done settles the delivery: the group has handled the message.
func Done() Outcome { return Outcome{} }

// WaitInLane calls the handler again after d. The delivery keeps its slot, its
// lease and its place: no later message of its key starts.
func WaitInLane(d time.Duration) Outcome { return Outcome{kind: waitInLane, wait: max(d, 0)} }

// RedeliverAfter gives the message back to the broker, which delivers it again
// after d, to any member of the group. Where order is asked for, or the broker
// cannot delay, it means [WaitInLane]. attempts is how many the message had; it
// travels along where the broker counts no deliveries.
func RedeliverAfter(d time.Duration, attempts int) Outcome {
	return Outcome{redeliver, max(d, 0), attempts}
}

// HandBack gives the message back to the broker, to be delivered again at once.
// Where order is asked for, it means [WaitInLane] without a wait, unless the
// delivery's context has ended.
func HandBack() Outcome { return Outcome{kind: handBack} }
