// Package redisdriver carries topics on Redis Streams, by go-redis.
package redisdriver
