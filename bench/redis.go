package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"

	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/redisdriver"
)

const redisMessages = 40_960 // a multiple of every number of publishers

func redisRows() []row {
	return []row{
		{
			name: "redis", shape: "batches of 256", unit: "msg/s", goal: "≥ 0.9", peer: "raw go-redis, pipelines of 256",
			pair: both(through(openRedis, redisMessages, 1, 256), onRedis(rawRedis(1, 256))),
		},
		{
			name: "redis", shape: "256 single publishers", unit: "msg/s", goal: "≥ 0.7", peer: "raw go-redis, pipelines of 256",
			pair: both(through(openRedis, redisMessages, 256, 1), onRedis(rawRedis(1, 256))),
		},
		{
			name: "redis", shape: "256 single publishers, same shape", unit: "msg/s", goal: "", peer: "raw go-redis, 256 single publishers",
			pair: both(through(openRedis, redisMessages, 256, 1), onRedis(rawRedis(256, 1))),
		},
		{
			name: "redis, against its Watermill adapter", shape: "8 single publishers", unit: "msg/s", goal: "≥ 6",
			peer: "watermill-redisstream", pair: both(through(openRedis, redisMessages, 8, 1), onRedis(adapterRedis(redisMessages/4, 8))),
		},
		latencyRow("redis", openRedis, onRedisDuration(rawRedisLatency), 50, "≤ 1.05"),
		latencyRow("redis", openRedis, onRedisDuration(rawRedisLatency), 99, "≤ 1.15"),
		cpuRow("redis", openRedis, redisMessages, onRedis(rawRedis(1, 256))),
	}
}

func openRedis(ctx context.Context) (driver.Driver, error) {
	url, err := running.url(ctx, "redis")
	if err != nil {
		return nil, err
	}
	return redisdriver.Open(ctx, redisdriver.Options{URL: url})
}

func redisClient(ctx context.Context) (*redis.Client, error) {
	url, err := running.url(ctx, "redis")
	if err != nil {
		return nil, err
	}
	o, err := redis.ParseURL(url)
	if err != nil {
		return nil, fmt.Errorf("address of Redis: %w", err)
	}
	o.MaxRetries = -1
	return redis.NewClient(o), nil
}

func onRedis(measure func(ctx context.Context, c *redis.Client) (float64, error)) measurement {
	return func(ctx context.Context) (rate float64, err error) {
		c, err := redisClient(ctx)
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, c.Close()) }()
		return measure(ctx, c)
	}
}

// rawRedis does what a careful user of the client does: pipelines of XADD, and a
// consumer that reads as many and acknowledges them together.
func rawRedis(publishers, batch int) func(context.Context, *redis.Client) (float64, error) {
	return func(ctx context.Context, c *redis.Client) (float64, error) {
		stream := fresh()
		if err := c.XGroupCreateMkStream(ctx, stream, "sink", "0").Err(); err != nil {
			return 0, err
		}
		handled := newCounter(redisMessages)
		reading, stop := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- rawRedisConsume(reading, c, stream, handled) }()
		began := time.Now()
		err := inParallel(publishers, func() error { return rawRedisPublish(ctx, c, stream, redisMessages/publishers, batch) })
		if err == nil {
			err = handled.wait(ctx)
		}
		took := time.Since(began)
		stop()
		return redisMessages / took.Seconds(), errors.Join(err, <-ended, c.Del(ctx, stream).Err())
	}
}

func rawRedisConsume(ctx context.Context, c *redis.Client, stream string, handled *counter) error {
	for ctx.Err() == nil {
		found, err := c.XReadGroup(ctx, &redis.XReadGroupArgs{
			Group: "sink", Consumer: "one", Streams: []string{stream, ">"}, Count: 256, Block: 100 * time.Millisecond,
		}).Result()
		if errors.Is(err, redis.Nil) || ctx.Err() != nil {
			continue
		}
		if err != nil {
			return err
		}
		ids := make([]string, 0, 256)
		for _, m := range found[0].Messages {
			ids = append(ids, m.ID)
		}
		if err := c.XAck(ctx, stream, "sink", ids...).Err(); err != nil {
			return err
		}
		for range ids {
			handled.add()
		}
	}
	return nil
}

func rawRedisPublish(ctx context.Context, c *redis.Client, stream string, n, batch int) error {
	for n > 0 {
		take := min(n, batch)
		n -= take
		if take == 1 {
			if err := c.XAdd(ctx, rawEntry(stream)).Err(); err != nil {
				return err
			}
			continue
		}
		if _, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
			for range take {
				p.XAdd(ctx, rawEntry(stream))
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

func rawEntry(stream string) *redis.XAddArgs {
	values := make([]any, 0, 24)
	for _, h := range attributes() {
		values = append(values, h.Name, h.Value)
	}
	return &redis.XAddArgs{Stream: stream, Values: append(values, "data", body)}
}

func rawRedisLatency(ctx context.Context, c *redis.Client) (func() error, error) {
	stream := fresh()
	return func() error { return c.XAdd(ctx, rawEntry(stream)).Err() }, nil
}

func onRedisDuration(prepare func(context.Context, *redis.Client) (func() error, error)) publisherOf {
	return func(ctx context.Context) (publish func() error, done func(), err error) {
		c, err := redisClient(ctx)
		if err != nil {
			return nil, nil, err
		}
		publish, err = prepare(ctx, c)
		return publish, func() { _ = c.Close() }, err
	}
}

// adapterRedis is watermill-redisstream with its defaults, reading from the
// oldest message.
func adapterRedis(n, publishers int) func(context.Context, *redis.Client) (float64, error) {
	return func(ctx context.Context, c *redis.Client) (float64, error) {
		publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: c}, watermill.NopLogger{})
		if err != nil {
			return 0, err
		}
		subscriber, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{
			Client: c, ConsumerGroup: "sink", OldestId: "0", DisableIndefiniteInitialBlock: true,
		}, watermill.NopLogger{})
		if err != nil {
			return 0, err
		}
		rate, err := adapter(ctx, publisher, subscriber, strings.ToLower(fresh()), n, publishers)
		// Closing the publisher or the subscriber would close the client.
		return rate, err
	}
}

// adapter measures a Watermill Pub/Sub from publishing to acknowledging.
func adapter(
	ctx context.Context, publisher message.Publisher, subscriber message.Subscriber, topic string, n, publishers int,
) (float64, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	incoming, err := subscriber.Subscribe(ctx, topic)
	if err != nil {
		return 0, err
	}
	handled, warm := newCounter(n+1), newCounter(1)
	go func() {
		for m := range incoming {
			m.Ack()
			warm.add()
			handled.add()
		}
	}()
	publish := func() error {
		m := message.NewMessage(watermill.NewUUID(), body)
		metadata(m)
		return publisher.Publish(topic, m)
	}
	if err := publish(); err != nil {
		return 0, err
	}
	if err := warm.wait(ctx); err != nil {
		return 0, err
	}
	began := time.Now()
	err = inParallel(publishers, func() error {
		for range n / publishers {
			if err := publish(); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = handled.wait(ctx)
	}
	return float64(n) / time.Since(began).Seconds(), err
}
