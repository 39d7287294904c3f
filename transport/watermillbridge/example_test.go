package watermillbridge_test

import (
	"context"
	"fmt"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/memory"
	"github.com/anywire/anywire/transport/watermillbridge"
)

// A Watermill service consumes from a transport of anywire, and publishes to it.
func ExampleNewSubscriber() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	t := transport.New(memory.New(nil), &transport.Options{OwnsDriver: true})
	publisher := watermillbridge.NewPublisher(t, nil)
	subscriber := watermillbridge.NewSubscriber(t, &watermillbridge.SubscriberOptions{Group: "mails"})

	messages, err := subscriber.Subscribe(ctx, "orders")
	if err != nil {
		fmt.Println(err)
		return
	}
	order := message.NewMessage("order-1", []byte(`{"cups":2}`))
	order.Metadata.Set("correlation_id", "visit-7")
	order.Metadata.Set("Tenant-Name", "a")
	if err := publisher.Publish("orders", order); err != nil {
		fmt.Println(err)
		return
	}

	got := <-messages
	fmt.Println(got.UUID, string(got.Payload), got.Metadata.Get("correlation_id"), got.Metadata.Get("Tenant-Name"))
	got.Ack()
	fmt.Println(subscriber.Close(), t.Close(ctx))

	// Output:
	// order-1 {"cups":2} visit-7 a
	// <nil> <nil>
}

// A Pub/Sub of Watermill's carries the messages of anywire. This one has no groups
// and lives in the process; the options say nothing else.
func ExampleNewDriver() {
	ctx, cancel := context.WithCancel(context.Background())
	pubsub := gochannel.NewGoChannel(gochannel.Config{Persistent: true}, watermill.NopLogger{})
	subscribers := func(context.Context, driver.Subscription, int) ([]message.Subscriber, error) {
		return []message.Subscriber{watermillbridge.Shared(pubsub)}, nil
	}
	t := transport.New(watermillbridge.NewDriver(pubsub, subscribers, nil), nil)

	e, err := envelope.New(envelope.Raw{Type: "notes.text@1", Data: []byte("hello")})
	if err == nil {
		err = t.Publish(ctx, "notes", e)
	}
	fmt.Println("published:", err)

	done := make(chan error, 1)
	go func() {
		done <- t.Subscribe(ctx, "notes", func(_ context.Context, d *transport.Delivery) transport.Outcome {
			fmt.Println(d.Envelope.WireType(), string(d.Envelope.Data))
			cancel()
			return transport.Done()
		}, nil)
	}()
	fmt.Println(<-done, pubsub.Close())

	// Output:
	// published: <nil>
	// notes.text@1 hello
	// <nil> <nil>
}
