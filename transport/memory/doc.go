// Package memory is the reference broker in one process: what a broker promises,
// and nothing that one could not.
//
//	broker := memory.New(nil)
//	defer broker.Close(ctx)
//	t := transport.New(broker, nil)
//
// [Broker] is a [driver.Driver], and a [driver.Leaser], [driver.Admin],
// [driver.Browser], [driver.Lagger] and [driver.Pinger]. It lives and dies with
// the process: nothing survives [Broker.Close].
//
// # Topics and what they keep
//
// A topic is made by its first use, with one shard, or by
// [Broker.EnsureTopic]. A message with a key goes to the shard that
// [driver.ShardOf] names, one without a key to the next in turn. What a topic
// keeps depends on who reads it:
//
//   - Where there are groups, a message is dropped when all of them have settled
//     it. A group that comes later finds what is left.
//   - Where there is none, the topic is a ring of its newest [RingSize] messages.
//     It never blocks a publisher; what falls out is counted ([TopicStats]) and
//     told once per topic (Options.OnDrop). The first group starts with the ring.
//   - With a retention it keeps the newest messages within the age and the bytes,
//     settled or not, and beyond them what a group has not settled. A negative age
//     keeps everything. A message that is carried by reference (Message.Local)
//     counts as 1 KiB, since the driver does not look into it.
//   - A dead-letter topic, whose name ends in ".dead", drops only what a group has
//     settled, and is full at [DeadLetters] messages.
//
// # Back-pressure
//
// A topic is full when its slowest group has Options.Capacity messages that it
// has not settled, with those that are not due yet. [Broker.Publish] then waits:
// publishers get room in the order in which they came, and a batch may be stored
// in parts. When the context ends first, the rest of the batch is refused by an
// error that says what is full. With [driver.WithOverflow] it never waits; what
// is stored beyond the bound is counted.
//
// # Deliveries
//
// Members of a group compete. A delivery belongs to its source until it is
// settled, its lease ends, or the source is closed; it is then delivered again,
// to any member, before what is new, and counted. A lease that has ended can be
// renewed, and its message settled, until another delivery of it was made. An
// ordered source is the only reader of its shards: subscribing to a shard again
// takes it over with all that is pending there, and the former reader gets
// [driver.ErrStale]. A nack with a delay waits by itself; later messages pass it.
//
// A publish with DeliverAt enters its shard when it is due.
//
// # Paranoid mode
//
// Options.Paranoid makes the broker as unpleasant as a remote one may be; see
// [Paranoid] for exactly what it does.
//
// # Time
//
// All waiting is by timers and channels that the broker makes itself, so a broker
// that is made inside a testing/synctest bubble follows the bubble's clock. There
// is no goroutine while nothing is due, and none per message.
package memory
