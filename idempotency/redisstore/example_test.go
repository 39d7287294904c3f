package redisstore_test

import (
	"context"
	"fmt"
	"os"

	"github.com/redis/go-redis/v9"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/idempotency"
	"github.com/anywire/anywire/idempotency/redisstore"
)

// A handler that is guarded by records on Redis: a message that comes twice is
// handled once, in whichever process.
func Example() {
	client := redis.NewClient(&redis.Options{Addr: os.Getenv("REDIS_ADDRESS"), ContextTimeoutEnabled: true})
	defer func() { _ = client.Close() }()
	store := redisstore.New(client, nil)
	guarded := idempotency.Middleware(store, &idempotency.Options{Group: "payments"})

	charge := guarded(func(_ context.Context, in *envelope.Envelope) ([]*envelope.Envelope, error) {
		fmt.Println("charging for", in.ID)
		return nil, nil
	})
	in := &envelope.Envelope{ID: "order-1", Source: "/shop", Type: "orders.placed"}
	for range 2 {
		if _, err := charge(context.Background(), in); err != nil {
			fmt.Println(err)
		}
	}
}
