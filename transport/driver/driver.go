package driver

import (
	"context"
	"time"
)

// Driver connects the engine to one broker. It may be used by many goroutines
// at once. Its errors wrap the sentinels of this package where one fits; the
// engine branches on nothing else.
//
// A driver may also be a [Leaser], [Admin], [Browser], [Remover], [Lagger],
// [Pinger], [Inspector] or [Native]; the engine probes for them.
type Driver interface {
	// Publish stores msgs in topic and returns when the broker has confirmed
	// them: nil means that every one is as durable as the broker's settings
	// make it. A [BatchError] names those that failed; any other error means
	// that none is known to be stored. A message whose confirmation was lost
	// counts as failed, though the broker may have it. The driver must not keep
	// msgs, their headers or the slice after it returned, except Message.Local
	// and Body, which never change. A message that is too large, or a context
	// that ends, fails nobody else's message.
	//
	// When ctx ends first, Publish returns its error for what is unconfirmed.
	// A full bounded topic blocks until there is room, unless [MayOverflow]
	// says that ctx must not wait.
	Publish(ctx context.Context, topic string, msgs []*Message) error

	// Subscribe joins sub.Group on sub.Topic and returns once messages that are
	// published from now on cannot be missed. A topic that does not exist is
	// created, or refused with [ErrNotFound] where the driver was told to
	// require it. ctx bounds the call, not the source.
	Subscribe(ctx context.Context, sub Subscription) (Source, error)

	// Capabilities is constant over the life of the driver, and equal to what
	// its kind declared without a connection.
	Capabilities() Capabilities

	// Close frees what the driver itself opened; a client that was handed in
	// stays open. Sources must be closed before. Closing twice is harmless.
	Close(ctx context.Context) error
}

// Source is one member's stream of deliveries. Receive is called by one
// goroutine at a time; Settle, Extend and Close may be called while it runs.
type Source interface {
	// Receive blocks until at least one message is there, ctx ends or the
	// source is closed ([ErrClosed]), and returns at most that many messages. The
	// slice belongs to the source and is valid until the next call; the
	// messages belong to the caller. Messages of one shard come in the broker's
	// order, except for redeliveries; shards take turns. An error other than ctx's, ErrClosed,
	// ErrStale or ErrDenied is taken as passing: the engine reports it, waits
	// and calls again.
	Receive(ctx context.Context, most int) ([]*Message, error)

	// Settle ends deliveries. It returns when the broker has confirmed, or
	// cannot tell that it has not. A [BatchError] names the failed indexes; one
	// that wraps [ErrStale] belongs to someone else by now and is not retried,
	// any other is.
	Settle(ctx context.Context, s []Settlement) error

	// Extend renews the leases of deliveries and says which are lost: those
	// that another member has, or may take. It must never take a delivery back
	// from a new owner. Nil means that the broker confirmed; an error, that
	// nothing is known.
	Extend(ctx context.Context, tokens []Token) (lost []Token, err error)

	// Close leaves the group. What was delivered and not settled becomes
	// available to other members at once where the broker can do that, else
	// when its lease ends. It makes a running Receive return ErrClosed.
	Close(ctx context.Context) error
}

// Header is one name and value as the broker carries it.
type Header = struct{ Name, Value string }

// Token names a delivery to the source that made it. It is comparable and
// opaque to the engine.
type Token any

// Message is what a broker carries. Which fields are meaningful depends on the
// direction.
type Message struct {
	// Both ways.
	Key     string // orders and partitions; empty: none
	Headers []Header
	Body    []byte // nil and empty are distinct where the broker can tell
	// Local carries the message itself inside one process, in place of Headers
	// and Body, where Capabilities.InProcess says so. Drivers never look into it.
	Local any
	// DeliverAt is the earliest time of delivery; zero: now. Only set where
	// Capabilities.DelayedPublish says so.
	DeliverAt time.Time

	// To the broker.
	DedupID string // the broker may drop a second message with the same id

	// From the broker.
	Token      Token
	Shard      int
	Seq        uint64    // position within the shard, from 1; 0: the broker does not count
	Position   string    // position within the topic, where the broker names it
	Published  time.Time // by the broker's clock
	Deliveries int       // how often it was delivered, this time included; 0: unknown
	// Revoked is closed when the message's shard moves to another member: the
	// engine starts nothing more of it and settles every delivery, handing back
	// what has not started, so that the source knows when it may let the shard
	// go. Deliveries of one assignment share one channel. Nil: shards of this
	// source do not move.
	Revoked <-chan struct{}
}

// Start says where a group that is new to a topic begins. The zero value is the
// oldest message.
type Start struct {
	At   StartAt
	Time time.Time // of the first message, for StartTime
}

// StartAt is the kind of a [Start].
type StartAt uint8

// Where a new group begins.
const (
	StartOldest StartAt = iota
	StartNow
	StartTime
)

// Subscription says what a source reads.
type Subscription struct {
	Topic, Group string
	Start        Start
	// Ordered asks that a shard has one reader and that redelivered messages of
	// a shard come before later ones. The engine has made sure of the one
	// reader by a [Leaser], or the driver does where Capabilities.OwnsShards.
	Ordered bool
	// Shards are those to read; nil: all. Only given where Ordered and not
	// Capabilities.OwnsShards; then it is one shard.
	Shards []int
	// Window is the most that the engine will have unsettled from this source.
	Window int
	// Lease is how long a delivery stays with this member without Extend: no
	// other member may get it sooner. A driver that cannot promise that refuses.
	Lease time.Duration
	// Drain is how long the engine may take to settle a shard's deliveries after
	// Revoked was closed.
	Drain time.Duration
	// Ephemeral groups vanish with their only member; Group is unique then.
	Ephemeral bool
	// Inbox is a topic that this group alone reads. A driver that delays a
	// delivery by a copy (Capabilities.DelaysByCopy) sends the copy there and
	// reads it together with Topic; the others ignore it.
	Inbox string
}

// Outcome is how a delivery ends.
type Outcome uint8

// The outcomes of a delivery. Where shards have owners, what is given back comes
// to the shard's owner, before later messages.
const (
	Ack      Outcome = iota // it is done, for this group
	Nack                    // deliver it again, to any member, after Delay
	HandBack                // deliver it again at once; it was never started
)

// Settlement ends one delivery.
type Settlement struct {
	Token   Token
	Outcome Outcome
	Delay   time.Duration // with Nack; only where Capabilities.DelayedNack
	// Attempts is how many attempts the message had, with Nack and Delay. A driver
	// that DelaysByCopy writes it as the binding's attribute "attempt".
	Attempts int
	// Headers are further ones of the copy that a driver makes which DelaysByCopy,
	// in place of those of the same names; the others ignore them.
	Headers []Header
}

// Capabilities say what a driver does natively. What is missing is emulated by
// the engine or refused by validation, never dropped in silence.
type Capabilities struct {
	// Durable: messages survive the death of every client process.
	Durable bool
	// InProcess: Message.Local is carried by reference, and the broker lives
	// and dies with this process.
	InProcess bool
	// Order: Subscription.Ordered is honoured.
	Order bool
	// OwnsShards: the broker's own group protocol gives each shard one owner;
	// sources deliver with Revoked set, and the engine needs no Leaser.
	OwnsShards bool
	// OrderedPublish: after a message fails, no later one of the same key and
	// call is stored.
	OrderedPublish bool
	// DelayedNack: Settlement.Delay is honoured. Without it the engine waits in
	// the lane.
	DelayedNack bool
	// DelaysByCopy: a delayed Nack publishes a copy of the message, which comes
	// back through Subscription.Inbox with the attribute "attempt" and another
	// position, and settles the original.
	DelaysByCopy bool
	// DelayedPublish: Message.DeliverAt is honoured.
	DelayedPublish bool
	// Counts: Message.Deliveries is known.
	Counts bool
	// Browse, Lag, Dedup: the optional interfaces do work; DedupID is honoured.
	Browse, Lag, Dedup bool
	// StartTime: a group can start at a time.
	StartTime bool
	// MaxLease is the longest time a delivery can be held; zero: without bound,
	// by Extend.
	MaxLease time.Duration
	// MaxInFlight is the most unsettled deliveries of one source; zero: no bound.
	MaxInFlight int
	// MaxBody is the most that the broker takes as headers and body together;
	// zero: not known.
	MaxBody int
	// Headers says how attributes are written on this broker.
	Headers HeaderStyle
}

// HeaderStyle describes a CloudEvents binding: the header of attribute "id" is
// Prefix + "id".
type HeaderStyle struct {
	Prefix      string // "ce_", "ce-"
	ContentType string // the header of datacontenttype
	Percent     bool   // values are percent-encoded
	// Fields: a message is fields by name and nothing else, as in a Redis stream.
	// The driver writes a body that is not nil as the field "data", and takes it
	// from there, else from "payload", where Watermill's adapter has it; nil where
	// there is neither. Every other field is a header, also of an entry that
	// somebody else wrote.
	Fields bool
}
