package transport

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/transport/driver"
)

// Options configure a [Transport]. The zero value, and nil, are the defaults.
type Options struct {
	Name    string           // in errors, events, logs and health; default "transport"
	Logger  *slog.Logger     // nil discards
	Observe func(Event)      // called while work waits, so it must be quick; nil: none
	Limits  *envelope.Limits // nil: the defaults
	Prefix  string           // stands before every topic and group on the broker
	// Plain names topics that clients use which know no CloudEvents, and the wire
	// type, "name@version", of what those write there. What is published there can
	// be read by them, too. A malformed type fails
	// every Publish and Subscribe.
	Plain      map[string]string
	OwnsDriver bool // Close closes the driver too
}

// Order says which messages of a topic wait for each other.
type Order uint8

// The orders that a subscription can ask for.
const (
	OrderNone   Order = iota // none: messages run as slots are free
	OrderKey                 // messages of one key run one after the other, in published order
	OrderStrict              // all messages run one after the other
)

// SubscribeOptions configure one subscription. The zero value, and nil, are the
// defaults.
type SubscribeOptions struct {
	Group        string        // default: the topic
	Order        Order         // default: OrderNone
	Concurrency  int           // handlers at work at once; default 16
	Window       int           // deliveries that are not settled; default 4 × Concurrency, at least 64; two per shard with an owner, if more
	LaneLimit    int           // deliveries of one key, at which its shard waits; default Window / 4, at least 2
	Lease        time.Duration // how long a delivery outlives this process; default 30 s
	DrainTimeout time.Duration // how long handlers may finish when the subscription ends; default 30 s
	Start        driver.Start  // where a new group begins; default: the oldest message
	Ephemeral    bool          // the group vanishes with this subscription
	Inbox        string        // the topic of this group alone; default: Group + ".inbox"
	Member       string        // this process among the owners of shards; default: a random name
	// Beat is called on each beat, a third of the lease, before the leases of
	// deliveries are renewed, also while the subscription drains. Its context ends
	// in time for those. It is for leases of the caller's own; nil: none.
	Beat func(ctx context.Context)
}

func (o *SubscribeOptions) withDefaults(topic string, caps driver.Capabilities) (SubscribeOptions, error) {
	var s SubscribeOptions
	if o != nil {
		s = *o
	}
	setDefault(&s.Group, topic)
	setDefault(&s.Inbox, s.Group+".inbox")
	setDefault(&s.Concurrency, 16)
	if s.Order == OrderStrict {
		s.Concurrency = 1
	}
	setDefault(&s.Window, max(64, 4*s.Concurrency))
	if caps.MaxInFlight > 0 {
		s.Window = min(s.Window, caps.MaxInFlight)
	}
	setDefault(&s.LaneLimit, max(2, s.Window/4))
	if s.Order == OrderStrict {
		s.LaneLimit = s.Window
	}
	s.LaneLimit = min(s.LaneLimit, s.Window)
	setDefault(&s.Lease, 30*time.Second)
	setDefault(&s.DrainTimeout, 30*time.Second)
	setDefault(&s.Member, envelope.NewID())
	err := s.check(caps)
	return s, err
}

func (o *SubscribeOptions) check(caps driver.Capabilities) error {
	switch {
	case o.Concurrency < 0 || o.Window < 0 || o.LaneLimit < 0 || o.Lease < 0 || o.DrainTimeout < 0:
		return fmt.Errorf("subscription of group %q: concurrency, window, lane limit, lease and drain timeout must not be negative", o.Group)
	case o.Order != OrderNone && !caps.Order:
		return &envelope.Error{Code: envelope.Unsupported, Message: "this transport keeps no order: use order none, or another transport"}
	case o.Start.At == driver.StartTime && !caps.StartTime:
		return &envelope.Error{Code: envelope.Unsupported, Message: "this transport cannot start at a time: start at oldest or now"}
	}
	return nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
