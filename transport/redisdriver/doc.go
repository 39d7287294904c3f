// Package redisdriver carries topics on Redis Streams, by go-redis.
//
//	client := redis.NewClient(&redis.Options{Addr: "localhost:6379"})
//	...
//	t := transport.New(redisdriver.New(client, nil), nil)
//
// [New] takes a client and never closes it; [Open] connects by URL, to one server,
// by Sentinels or to a Cluster, and owns what it opened; [Kind] is what a
// configuration names. Redis 6.2 or later is needed; the tests run against 7.0,
// and what else is met (Valkey, newer versions) is logged as untested.
//
// # What is on the server
//
// A topic with one shard is the stream of the same name, so `XADD tasks.research *
// data hello` by a stranger works. With more, shard i of topic T is the stream T:i.
// Beside each stream stand keys whose names begin with it in braces, so that they
// share its slot in a Cluster:
//
//	{T}:topic            hash: shards, retention_age (such as 168h0m0s, or none), retention_bytes
//	{T:i}:groups         hash: for each group when it was last seen and what it has settled
//	{T:i}:members:GROUP  sorted set: members, by the time until which they count as alive
//	{T:i}:due:GROUP      sorted set: what was given back, by the time when it comes again
//	{T:i}:fence:GROUP    the token of an ordered shard's only reader
//	{T:i}:trim           who trims at the moment
//	{T:i}:consumer:…     which process has a stable consumer name at the moment
//	{T/GROUP}:leases     hash: which process has which shard of an ordered subscription
//
// The record {T}:topic is made on first use, and is compared with what is asked for
// from then on. Retention may be changed there by HSET, and is heeded within
// seconds; the number of shards must stay. Names with braces, control characters or
// more than 1024 bytes are refused, and so is a topic whose stream would be a shard
// of another.
//
// An entry has one field for each attribute of a message, named as on Kafka (ce_id,
// ce_type, content-type), and the body in the field data. A message without a body
// has no such field. With `attributes: packed` all attributes stand in the field
// ce, as one JSON object of texts. Both are read, and so are entries of strangers:
// fields that mean nothing here come up as headers.
//
// # Guarantees
//
// Publish returns when the server has answered for every message. How much that is
// worth is the server's own setting: with appendonly yes, what was confirmed
// survives the process; with appendfsync always, the machine; without appendonly,
// neither. A replica that takes over may lack what was confirmed last. [Driver.Inspect]
// reads the settings and says what they cost.
//
// A confirmation that is lost counts as a failure and is never followed by a second
// attempt of the driver's own, nor of go-redis, whatever its options say. What was
// surely not stored (no connection, a server that still reads its data, a replica)
// is tried again as long as the caller's context and publish_timeout allow. Messages of
// concurrent callers go together in one pipeline; nobody waits for a timer, and a
// caller that leaves takes only its own messages along. Messages of one call that
// share a key are stored in their order, by a transaction: after one that fails no
// later one of its key is stored.
//
// A group is a consumer group on each stream. Deliveries are leased: who has one
// renews it, and acts on it only as long as it is its own, which scripts on the
// server check. A member that dies leaves its deliveries to the others when their
// lease ends; one with the option consumer, started again under its name, delivers
// them at once, before what is new. What is given back with a delay stays in the group, under a consumer
// that holds it. An ordered shard has one reader; a newer one fences it off, and
// takes over everything that is not settled, in the order of the stream.
//
// Streams are trimmed by their readers: entries older than the topic's retention
// that every group has settled, or that groups have not settled which nobody has
// read for group_expiry. A group that somebody deleted counts as well, since its
// members make it again where it had settled everything: one that is gone for good
// also has to leave the hash {T:i}:groups (HDEL). Publishers trim topics that
// nobody reads. An entry that vanishes before it is settled, by a trim or a
// deletion of somebody else, is counted as lost, and logged: while it is pending in
// any case, before it is read as far as the server counts (from Redis 7.0 on).
//
// # Connections
//
// Commands that block have connections of their own, one for each source; the rest
// shares those of the client. Connections are dialled again for ever. go-redis logs
// each failed dial through a logger of its own: redis.SetLogger redirects it.
package redisdriver
