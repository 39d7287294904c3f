package driver

import (
	"context"
	"time"
)

// Leaser gives named leases by compare-and-set, for drivers whose broker has no
// group protocol that assigns shards. Scopes and names are any text: the driver
// escapes what its broker does not take. The engine's ownership component builds
// everything else on it: membership, even shares, takeover.
//
// A lease that is not renewed for its ttl is free. All clocks are the broker's.
type Leaser interface {
	// Acquire takes the lease name within scope for holder if it is free or
	// already holder's, and returns it with an epoch greater than that of any
	// earlier holder. It returns [ErrHeld] if another has it.
	Acquire(ctx context.Context, scope, name, holder string, ttl time.Duration) (Lease, error)
	// Renew extends leases by their ttl and returns those that are lost. An
	// error means that nothing is known.
	Renew(ctx context.Context, leases []Lease) (lost []Lease, err error)
	// Release frees a lease if it is still held under the same epoch.
	Release(ctx context.Context, l Lease) error
	// Leases lists those of scope that are held, by anyone.
	Leases(ctx context.Context, scope string) ([]Lease, error)
}

// Lease is one that a [Leaser] gave. It is comparable.
type Lease struct {
	Scope, Name, Holder string
	Epoch               uint64
	TTL                 time.Duration
}

// ShardPauser is implemented by sources that read several shards of an ordered
// subscription and can stop fetching some of them. Pausing replaces the set.
type ShardPauser interface {
	PauseShards(shards []int)
}

// Teller is implemented by sources that know when part of what they read stands
// still, or is about to be lost.
type Teller interface {
	// Trouble says what is wrong now; nil: nothing. It is asked for each look at
	// the subscription's health, so it must not wait.
	Trouble() error
}

// LossTeller is implemented by sources that know of messages which the broker
// dropped, by retention or because somebody trimmed or deleted them, before the
// group had settled them.
type LossTeller interface {
	// Vanished is how many they were since the source was made, as far as the
	// driver can tell. It never falls, does not wait, and answers after Close too:
	// the engine adds up what the sources of a subscription say.
	Vanished() uint64
}

// Admin creates and describes topics.
type Admin interface {
	// EnsureTopic creates the topic as described if it is missing, unless
	// t.Require is set, and returns what the broker has. Settings that differ
	// from what t asks for are an error that names both values; nothing is
	// changed.
	EnsureTopic(ctx context.Context, t Topic) (Topic, error)
	// Topics lists the topics of this system.
	Topics(ctx context.Context) ([]Topic, error)
}

// Topic describes a topic. A zero field of a request means: what it has, or
// the default.
type Topic struct {
	Name           string
	Shards         int           // 1 where we create it
	RetentionAge   time.Duration // negative: without bound
	RetentionBytes int64
	Replicas       int
	Require        bool // never create it
}

// Browser reads a topic without a group and without settling.
type Browser interface {
	// Browse calls fn for each message from start on, in the broker's order
	// within a shard, until fn returns false, ctx ends, or, unless follow is
	// set, what was there at the call has been seen.
	Browse(ctx context.Context, topic string, start Start, follow bool, fn func(*Message) bool) error
}

// Remover takes messages out of a topic, whatever groups have settled of it: dead
// letters that were redriven or dropped. A broker that keeps a log cannot.
type Remover interface {
	// Remove deletes messages that Browse gave, by their Shard, Seq and Position,
	// and nothing else of the topic. Nil means that the broker confirmed; a
	// [BatchError] names those that failed, any other error says that nothing is
	// known. One that is gone already is no error. A delivery of one that a member
	// holds may still be settled.
	Remove(ctx context.Context, topic string, msgs []*Message) error
}

// Lagger counts what a group has before it.
type Lagger interface {
	Lag(ctx context.Context, topic, group string) (Lag, error)
}

// Lag is what a group has not settled.
type Lag struct {
	Waiting int64     // not delivered yet; all that is unsettled, where the broker cannot tell
	Pending int64     // delivered and not settled, where the broker knows
	Oldest  time.Time // when the oldest unsettled message was published; zero: none
}

// Pinger checks that the broker answers.
type Pinger interface {
	Ping(ctx context.Context) error
}

// Native hands out the driver's client, so that a store can live on the same
// connection.
type Native interface {
	Native() any
}
