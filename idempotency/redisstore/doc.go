// Package redisstore keeps idempotency records on a Redis: a single server, one
// that sentinels name, or a Redis Cluster. It is tested with Redis 7.0; Open
// refuses what is older than 6.2.
//
//	client := redis.NewClient(&redis.Options{Addr: "localhost:6379", ContextTimeoutEnabled: true})
//	store := redisstore.New(client, nil)
//	handler := idempotency.Middleware(store, &idempotency.Options{Group: "payments"})(charge)
//
// [Open] makes a client of its own; [Kind] is `kind: redis` of a configuration.
//
// # Semantics
//
// A record is one string under {prefix}aw:{system/group/bucket}:hash, in one of 64
// buckets of its scope: the braces keep a bucket together on a Cluster. It expires
// by itself. A batch is one script on a single server, one for each bucket that it
// touches on a Cluster, sent together: one round trip. Leases and the time to live
// are measured by the server's clock. A settled record takes about 190 bytes of the
// server's memory, and nothing but that memory bounds how many there are: max_records
// does not apply. Outputs beyond 64 KiB have a key of their own beside the record
// until they are published.
//
// Duplicates are told as long as the server keeps what it confirmed. Without
// appendonly a crash forgets records, and with a maxmemory-policy other than
// noeviction a full server does: [Open] logs the latter. A failover loses what the
// replica had not received. A message whose record is lost is new.
//
// The user needs the commands of [Rights] on the keys {prefix}aw:*.
//
// # Errors
//
// An error of a call means that nothing is known of any item, and says what to do
// where Redis does not: a replica, a full or loading server, a missing right. The
// caller repeats the call. What is stored under a record's key and is no record, or
// is of another version, is [idempotency.Broken]; it is neither changed nor removed.
//
// # Lifecycle
//
// New and Open start nothing. A call whose ctx ends returns at once; what it sent
// may still happen, and a repeated call answers the same. [Store.Close] waits for
// such calls, and closes the client if Open made it.
package redisstore
