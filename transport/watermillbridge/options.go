package watermillbridge

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/anywire/anywire/transport/driver"
)

// SubscriberFunc makes the subscribers of one source: n members of s.Group, which
// begins at s.Start where the group is new. n is [Options.Consumers], or less
// where the window is smaller. They are closed with the source; [Shared] keeps a
// subscriber that has other users open. Where the Pub/Sub cannot do what s asks
// for, it returns an error.
//
// A subscriber that is an [Acknowledger], a [Fetcher], a [Reporter] or a [Starter]
// is asked for what Watermill's interface does not say.
type SubscriberFunc func(ctx context.Context, s driver.Subscription, n int) ([]message.Subscriber, error)

// Acknowledger is a subscriber that knows what becomes of an acknowledgement.
// Its methods are called for messages that its own Subscribe delivered, by many
// goroutines at once.
type Acknowledger interface {
	// Ack acknowledges m and does not block. The function that it returns waits
	// until the broker has confirmed; its error wraps [driver.ErrStale] if the
	// message belongs to somebody else by now. It may be called again after a
	// failure.
	Ack(m *message.Message) (confirmed func(ctx context.Context) error)
	// Leave ends the delivery in this subscriber without acknowledging it: the
	// broker delivers it again, when its lease ends or to the new owner of its
	// shard.
	Leave(m *message.Message)
	// Describe writes what the broker says about m into d: Key, Shard, Seq,
	// Position, Published and Revoked.
	Describe(m *message.Message, d *driver.Message)
}

// Fetcher is a subscriber that fetches on demand. Where it is one, nothing waits
// in it that nobody has asked for, and no lease ages there.
type Fetcher interface {
	// Want says whether somebody waits for a message. It does not block.
	Want(wanted bool)
	// Taken says that a message stands in its place among those of the source's
	// other subscribers. It does not block.
	Taken(m *message.Message)
}

// Reporter is a subscriber that knows when it cannot fetch.
type Reporter interface {
	// Report makes the subscriber call tell with each error that keeps it from
	// fetching. It is called once, before Subscribe.
	Report(tell func(error))
}

// Starter is a subscriber that joins its group behind Subscribe.
type Starter interface {
	// Started waits until what is published from now on cannot be missed.
	Started(ctx context.Context) error
}

// Options say what a Pub/Sub can do, honestly: the engine and validation rely on
// it. The zero value, and nil, describe one that keeps nothing beyond its
// process, has one message in flight per subscription and never takes a message
// back from a subscriber that lives.
type Options struct {
	// Durable: messages survive the death of every client process.
	Durable bool
	// OwnsShards: the Pub/Sub gives each shard of a topic one member of the
	// group, delivers its messages one after the other, a redelivered one first,
	// and its subscribers are Acknowledgers that set Revoked. It makes
	// [driver.Capabilities].Order true.
	OwnsShards bool
	// StartTime: a group can start at a time.
	StartTime bool
	// MaxLease is how long the Pub/Sub leaves a message with a subscriber before
	// another one gets it. The bridge gives up a delivery of that age, too. Zero:
	// as long as the subscriber lives.
	MaxLease time.Duration
	// Consumers is how many subscriptions a source opens, competing with each
	// other in the group; default 1. More than 1 only where the Pub/Sub has
	// groups whose members compete.
	Consumers int
	// InFlight is how many messages one subscription delivers before the first is
	// acknowledged; default 1, which is what most adapters do.
	InFlight int
	// MaxBody is the most bytes that the Pub/Sub takes as metadata and payload
	// together; more is refused before it gets there. Zero: not known.
	MaxBody int
	// Headers says how attributes are named in metadata; default: as on Kafka,
	// "ce_id", "content-type".
	Headers driver.HeaderStyle
	// Verbatim: the Pub/Sub's marshaler takes metadata under any name. Without
	// it, the header that Watermill's own marshalers refuse, because they write
	// it themselves, stands in the message's UUID only.
	Verbatim bool
	// Wrap adds the sentinel of package driver that fits to an error of the
	// Pub/Sub. Nil: errors stay as they are.
	Wrap func(error) error
	// OwnsPublisher: Close closes the publisher, too.
	OwnsPublisher bool
	// Logger gets what happens outside of any call; nil discards.
	Logger *slog.Logger
}

func (o *Options) withDefaults() Options {
	var options Options
	if o != nil {
		options = *o
	}
	options.Consumers = max(1, options.Consumers)
	options.InFlight = max(1, options.InFlight)
	if options.Headers == (driver.HeaderStyle{}) {
		options.Headers = driver.HeaderStyle{Prefix: "ce_", ContentType: "content-type"}
	}
	if options.Wrap == nil {
		options.Wrap = func(err error) error { return err }
	}
	options.Logger = cmp.Or(options.Logger, slog.New(slog.DiscardHandler))
	return options
}

// Capabilities are those of a driver with these options. Delays, counts, lags
// and browsing are never among them: Watermill has no word for them.
func (o *Options) Capabilities() driver.Capabilities {
	options := o.withDefaults()
	return driver.Capabilities{
		Durable:        options.Durable,
		Order:          options.OwnsShards,
		OwnsShards:     options.OwnsShards,
		OrderedPublish: true,
		StartTime:      options.StartTime,
		MaxLease:       options.MaxLease,
		MaxInFlight:    options.Consumers * options.InFlight,
		MaxBody:        options.MaxBody,
		Headers:        options.Headers,
	}
}

// Shared is s without its Close, for a subscriber that a [SubscriberFunc] returns
// and that has other users. Its subscriptions end with their context.
func Shared(s message.Subscriber) message.Subscriber { return shared{s} }

type shared struct{ message.Subscriber }

// Close does nothing.
func (shared) Close() error { return nil }
