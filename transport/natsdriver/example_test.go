package natsdriver_test

import (
	"context"
	"fmt"
	"os"

	"github.com/nats-io/nats.go"

	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/natsdriver"
	"github.com/anywire/anywire/transport/natsdriver/embedded"
)

// A program that has a connection already gives it to the driver, and closes it
// itself.
func ExampleNew() {
	ctx := context.Background()
	nc, stop, err := connection(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer stop()

	d := natsdriver.New(nc, nil)
	topic, err := d.EnsureTopic(ctx, driver.Topic{Name: "tasks.research", Shards: 2})
	fmt.Println(topic.Name, topic.Shards, topic.RetentionAge, err)
	fmt.Println(d.Close(ctx), nc.IsConnected())

	// Output:
	// tasks.research 2 168h0m0s <nil>
	// <nil> true
}

// connection stands for nats.Connect.
func connection(ctx context.Context) (nc *nats.Conn, stop func(), err error) {
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		return nil, nil, err
	}
	server, err := embedded.Open(ctx, embedded.Options{Dir: dir})
	if err != nil {
		return nil, nil, err
	}
	nc, _ = server.Native().(*nats.Conn)
	return nc, func() { _, _ = server.Close(ctx), os.RemoveAll(dir) }, nil
}
