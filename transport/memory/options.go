package memory

import (
	"context"
	"fmt"

	"github.com/anywire/anywire/transport/driver"
)

// What topics hold.
const (
	// DefaultCapacity is the default of Options.Capacity.
	DefaultCapacity = 65_536
	// RingSize is how many messages a topic keeps that no group reads.
	RingSize = 10_000
	// DeadLetters is how many messages a dead-letter topic holds.
	DeadLetters = 100_000
)

// Options are the keys of a transport entry of kind memory. The zero value, and
// nil, are the defaults.
type Options struct { //nolint:recvcheck // SetLogger changes them, all else reads a copy
	// Capacity bounds each topic.
	Capacity int `yaml:"capacity" doc:"Messages that a topic's slowest group may leave unsettled." default:"65536" example:"1000000"`
	// Paranoid switches the paranoid mode on. Nil: off.
	Paranoid *Paranoid `yaml:"paranoid" doc:"For tests: encode, duplicate, delay and reorder, as a remote broker may." example:"{ seed: 7 }"`
	// OnDrop is called once per topic that no group reads, when the first message
	// falls out of its ring. It runs within Publish and must be quick. Nil: none.
	OnDrop func(topic string) `yaml:"-"`
}

// Paranoid says how unpleasant the broker is. Where Duplicate, Delay and Reorder
// are all zero, they are 0.05, 0.05 and 0.2.
//
// Every message is encoded: the driver does not declare
// [driver.Capabilities].InProcess and refuses Message.Local; each delivery has
// its own copy of headers and body.
//
// A message is stored twice, one directly after the other in its shard, with
// probability Duplicate, as when a publisher repeats a publish that was lost on
// its way back.
//
// A message is held back from a group with probability Delay, for up to
// [ParanoidDelay], before its first delivery. In an unordered subscription others
// pass it meanwhile; in an ordered one its shard waits.
//
// Messages that an unordered source receives together change places with an
// earlier one of them, each with probability Reorder. An ordered source gets what
// is new in the order of its shard, always.
//
// Each choice depends on the seed, the topic and the message's place in it (and
// the group, for delays) alone: it is the same in every run that publishes in the
// same order.
type Paranoid struct {
	Seed      uint64  `yaml:"seed" doc:"Seed of all choices." default:"0" example:"7"`
	Duplicate float64 `yaml:"duplicate" doc:"Part of the messages that are stored twice, 0 to 1." example:"0.05"`
	Delay     float64 `yaml:"delay" doc:"Part of the messages that are held back for up to 20 ms, 0 to 1." example:"0.05"`
	Reorder   float64 `yaml:"reorder" doc:"Part of the messages that change places in unordered subscriptions, 0 to 1." example:"0.2"`
}

// Capabilities are those of a broker with these options.
func Capabilities(o Options) driver.Capabilities {
	return driver.Capabilities{
		InProcess:      o.Paranoid == nil,
		Order:          true,
		OrderedPublish: true,
		DelayedNack:    true,
		DelayedPublish: true,
		Counts:         true,
		Browse:         true,
		Lag:            true,
		StartTime:      true,
		Headers:        driver.HeaderStyle{Prefix: "ce-", ContentType: "ce-datacontenttype"},
	}
}

// Open makes a [Broker] after checking the options. It is how a configuration
// makes one; programs call [New].
func Open(_ context.Context, o Options) (driver.Driver, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	return New(&o), nil
}

// Validate reports values out of range.
func (o Options) Validate() error {
	if o.Capacity < 0 {
		return fmt.Errorf("memory: capacity %d: use a positive number, or leave it out for %d", o.Capacity, DefaultCapacity)
	}
	if o.Paranoid == nil {
		return nil
	}
	for _, p := range []struct {
		name string
		part float64
	}{{"duplicate", o.Paranoid.Duplicate}, {"delay", o.Paranoid.Delay}, {"reorder", o.Paranoid.Reorder}} {
		if !(p.part >= 0 && p.part <= 1) {
			return fmt.Errorf("memory: paranoid.%s %v: use a number from 0 to 1", p.name, p.part)
		}
	}
	return nil
}
