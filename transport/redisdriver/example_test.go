package redisdriver_test

import (
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/anywire/anywire/transport"
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
