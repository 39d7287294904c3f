// Package natsdriver carries topics on NATS JetStream, by nats.go.
//
//	nc, err := nats.Connect("nats://localhost:4222", nats.MaxReconnects(-1))
//	...
//	t := transport.New(natsdriver.New(nc, nil), nil)
//
// [New] takes a connection and never closes it; [Open] connects by URL and owns
// what it opened; [Kind] is what a configuration names. Package embedded, below
// this one, brings its own server.
//
// # What is on the broker
//
// A topic is a stream of its own, made on first use with one shard, file storage,
// an age limit of seven days and a deduplication window of two minutes. The
// stream's name is the topic's with every dot written as "~", and every byte that
// is not a letter, a digit, "-" or "_" as "=" and two hexadecimal digits: topic
// tasks.research is the stream tasks~research. The names of consumers follow from
// groups in the same way.
//
// With one shard the subject is the topic itself, so `nats pub tasks.research`
// by a stranger works; with more, shard i of topic T is the subject T.i, and the
// number of shards is kept in the stream's metadata. What a subject cannot carry
// (spaces, wildcards, "$", "=", bytes beyond ASCII, dots that make an empty token)
// is written as "=" and two hexadecimal digits. Subjects of two streams may not
// overlap on a NATS server: a topic a with shards takes a.0, and a topic called a.0
// is then refused by name.
//
// A group is a durable pull consumer: GROUP for all shards together, or GROUP@i
// for shard i of an ordered subscription. A stream or a consumer that somebody else
// made is checked and used as it is; where it would lose or withhold messages it is
// refused, with both values. Nothing of a foreign stream is ever changed.
//
// # Guarantees
//
// Publish waits for the server's confirmation of every message. A confirmation
// that is lost, with the connection or by a timeout, counts as a failure and is
// never followed by a second attempt of the driver's own.
//
// JetStream does not say who holds a delivery, and an acknowledgement of an old
// delivery would remove the message under its new holder. The driver therefore
// keeps its own clock for each delivery: what was not extended in time is stale,
// and is neither acknowledged nor given back. Acknowledgements of one call are
// confirmed by the server together.
//
// A server writes down what consumers were given and what they acknowledged ten
// times a second. One that is killed therefore delivers again what was acknowledged
// in its last tenth of a second, and forgets deliveries: the driver pulls those at
// once and recognises what is still held, so that it is not handled twice.
//
// In an ordered subscription one connection is pinned to the shard's consumer, so
// that an older one gets nothing more. Whoever takes a shard over gives back
// everything that is delivered and not settled, and dispatches nothing before it
// holds all of that itself, in the order of the stream. What was acknowledged is not
// delivered again. On a server that cannot pin (before 2.11) the same is done
// without that fence.
//
// A stream drops what reached its age, handled or not. A group whose oldest
// unhandled message has four fifths of that behind it is logged as a warning, once,
// and [Driver.Inspect] reports it.
//
// Connections are tried again for ever. While there is none, Publish waits as long
// as its context and publish_timeout allow, and Receive says so by its error.
package natsdriver
