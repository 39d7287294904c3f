package redisdriver_test

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/redisdriver"
)

// A program that has a client already gives it to the driver, and closes it
// itself.
func ExampleNew() {
	client := redis.NewClient(&redis.Options{Addr: "localhost:6379"})
	defer func() { _ = client.Close() }()

	t := transport.New(redisdriver.New(client, nil), nil)
	fmt.Println(t.Driver().Capabilities().Durable)

	// Output: true
}

// Open connects by what a configuration says of `kind: redis`.
func ExampleOpen() {
	ctx := context.Background()
	d, err := redisdriver.Open(ctx, redisdriver.Options{URL: "redis://localhost:6379/0"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = d.Close(ctx) }()

	topic, err := d.EnsureTopic(ctx, driver.Topic{Name: "tasks.research", Shards: 2})
	fmt.Println(topic.Shards, topic.RetentionAge, err)
}
