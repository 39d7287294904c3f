// Package kafkadriver carries topics on Apache Kafka, by franz-go.
//
//	d, err := kafkadriver.Open(ctx, kafkadriver.Options{Brokers: []string{"localhost:9092"}})
//	...
//	defer d.Close(ctx)
//	t := transport.New(d, nil)
//
// [New] takes a client for its options and never closes it; [Open] connects to
// brokers; [Kind] is what a configuration names.
//
// # What is on the brokers
//
// A topic is a topic, and its shards are the partitions: 1 where we create it. The
// record's key is the message's, placed as Kafka's Java client does; without one
// there is none, and messages go to the partitions in turn. Attributes are headers
// with the prefix ce_, the content type is the header content-type. A value of null
// and an empty one are distinct. Names are used as they are: what Kafka does not
// take (anything but letters, digits, ".", "_" and "-", more than 249 characters,
// two names that differ in "." and "_" only) is refused.
//
// A group is a consumer group. Its commits hold, in their metadata, which messages
// above the committed offset are settled: a bitmap of at most 4 KiB.
//
// # Publishing
//
// Publish waits for the acknowledgement of all in-sync replicas (acks=all, by an
// idempotent producer). How durable that is, the topic says: with
// min.insync.replicas=1 a message may be on one broker alone when it is confirmed,
// and a broker writes to its disk when it likes. Topics that are created here with
// three and more replicas get min.insync.replicas=2. [Driver.Inspect] reads the
// settings and says what they cost.
//
// A confirmation that is lost counts as a failure after publish_timeout, though the
// brokers may have the message, or may get it yet. After a message fails no later
// one of its key and call is stored.
//
// # Consuming
//
// The group gives each partition one reader; a partition that moves to another
// worker is first drained: nothing more of it starts, what runs is waited for and
// committed, and only then does the other worker begin. Other partitions go on
// meanwhile. Messages are settled in any order; far more of them run at once than
// there are partitions. A message that is not settled stops its partition only when
// those after it exceed what the commit can hold.
//
// Kafka renews no single delivery: a lease is the membership. A worker that is cut
// off or killed keeps its partitions for the session timeout, 45 seconds unless the
// brokers say otherwise (group.consumer.session.timeout.ms). Under protocol:
// classic it is the subscription's lease, and takeover is faster; but a short outage
// of the brokers then takes the partitions away from everyone. Whether the brokers
// have the groups of KIP-848 is checked: there is no silent fallback.
//
// # Delays
//
// Kafka delays nothing. A message with a time of delivery, and an unordered one that
// is given back with a delay, goes to a ladder of topics, SYSTEM.delay.1s to
// SYSTEM.delay.1h, in which arrival order is due order. Long delays hop down. Every
// process that subscribes forwards what is due, as a member of the group
// SYSTEM.delay. A message comes never early by the clock of the process that
// forwards it, and late by a second or a quarter of its delay. A copy is deleted
// from the ladder after its topic has it; a process that dies in between leaves it
// there twice. What a topic refuses is kept and tried again for ever, with an alarm,
// and holds up nobody else. Copies that do not say where to are kept in
// SYSTEM.delay.parked.
//
// # Limits
//
// A message has at most max_body bytes with its headers, and less where the topic's
// max.message.bytes asks for it. Order between keys, transactions and share groups
// are not used; messages of transactions that others write are read when they are
// committed.
package kafkadriver
