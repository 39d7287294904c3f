// Package natsstore keeps idempotency records in a NATS key-value bucket, by
// nats.go:
//
//	nc, err := nats.Connect("nats://localhost:4222", nats.MaxReconnects(-1))
//	...
//	store, err := natsstore.New(nc, nil)
//	handler = idempotency.Middleware(store, nil)(handler)
//
// [New] takes a connection and never closes it; [Open] connects by URL and owns
// what it opened; [Kind] is what a configuration names. `store: auto` opens it on
// the connection of a transport of kind nats or embedded.
//
// # What is on the server
//
// A bucket, anywire_records behind the prefix, made on first use with file storage
// and a time to live. The key of a record is its scope (system/group; what keys do
// not know is "=" and two hexadecimal digits), a dot, and its hash, as logs show
// it; the value is an [idempotency.Record] in its binary form. Those of one group
// match newsroom/writers.*, as in `nats kv watch anywire_records 'newsroom/writers.*'`.
//
// A record that is larger than the server's max_payload takes more keys, below its
// own; they go when it is settled. Beyond Options.MaxRecord, Complete and Remember
// are [envelope.TooLarge].
//
// A bucket that is there is used as it is and never changed. One that keeps records
// for a shorter time than asked for, or would lose or withhold them in another way,
// is refused with both values; where it only differs, that is logged as a warning.
// One that is deleted while it is used is made anew, which is logged as an error,
// since messages that were handled before are not known any more. Revisions of a
// bucket that we make begin at the time, so that those of a deleted one do not come
// again.
//
// # Time
//
// A record is kept for Options.TTL after its last write, by the bucket; one that is
// asked to be kept for a shorter time is, in whole seconds, on servers from 2.11 on
// and in buckets that we made. With a bound (MaxRecords) the records that were
// written longest ago are forgotten when the bucket is full.
//
// The server says nothing about leases. One is over when the revision of its record
// stood still for so long, by the clock of the process that wants it, from the
// moment when that saw it first: a record whose process died is taken over one lease
// after somebody asked for it, and clocks need not agree.
//
// On a server inside the process whose data has one owner at a time (see [Owner]),
// what an earlier owner began is over at once: that process is dead. What other
// processes began through a port keeps its lease.
//
// # Writes
//
// Every write says which revision it replaces, and a call writes a record once,
// whatever number of changes concern it. A new record costs one publish, its
// completion one more, settling one more; those of a batch are under way together.
// Records are read only after the server refused a write, or an answer was lost:
// then the token in the record tells whose write it was. A call waits for the
// server, over lost connections and restarts, until its ctx ends.
package natsstore
