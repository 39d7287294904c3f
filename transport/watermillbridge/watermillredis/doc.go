// Package watermillredis is `kind: watermill-redisstream`: topics on Redis Streams
// through the published adapter watermill-redisstream, so that a fleet of
// Watermill services moves to anywire one agent at a time, on the streams and in
// the groups that it has. New systems use redisdriver, which is faster and renews
// leases.
package watermillredis
