package redisstore_test

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/idempotency"
	"github.com/anywire/anywire/idempotency/redisstore"
)

// A handler is guarded by records on Redis: a message that comes twice is handled
// once, in whichever process. Without the server it does not run at all.
func ExampleNew() {
	client := redis.NewClient(&redis.Options{Addr: "localhost:1", ContextTimeoutEnabled: true, MaxRetries: -1})
	defer func() { _ = client.Close() }()
	store := redisstore.New(client, nil)
	guarded := idempotency.Middleware(store, &idempotency.Options{Group: "payments"})

	charge := guarded(func(_ context.Context, in *envelope.Envelope) ([]*envelope.Envelope, error) {
		fmt.Println("charging for", in.ID)
		return nil, nil
	})
	_, err := charge(context.Background(), &envelope.Envelope{ID: "order-1", Source: "/shop", Type: "orders.placed"})
	fmt.Println("charged:", err == nil)

	// Output: charged: false
}
