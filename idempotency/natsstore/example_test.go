package natsstore_test

import (
	"context"
	"fmt"
	"os"

	"github.com/nats-io/nats.go"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/idempotency"
	"github.com/anywire/anywire/idempotency/natsstore"
	"github.com/anywire/anywire/transport/natsdriver/embedded"
)

// A message that is delivered twice is handled once, and gives the same outputs.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	server, err := embedded.Open(ctx, embedded.Options{Dir: dir})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = server.Close(ctx) }()

	nc, _ := server.Native().(*nats.Conn)
	store, err := natsstore.New(nc, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = store.Close(ctx) }()

	handler := idempotency.Middleware(store, &idempotency.Options{System: "newsroom", Group: "writers"})(
		func(_ context.Context, in *envelope.Envelope) ([]*envelope.Envelope, error) {
			fmt.Println("writing about", in.Subject)
			return []*envelope.Envelope{{ID: "brief-1", Source: "/writers", Type: "brief", SchemaVersion: 1}}, nil
		})
	in := &envelope.Envelope{ID: "1", Source: "/editors", Type: "task", SchemaVersion: 1, Subject: "postgres 17"}
	for range 2 {
		out, err := handler(ctx, in)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println("answered", out[0].ID)
	}
	// Output:
	// writing about postgres 17
	// answered brief-1
	// answered brief-1
}
