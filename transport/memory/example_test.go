package memory_test

import (
	"context"
	"fmt"

	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/memory"
)

// What the engine of package transport does with the broker, by hand: a message
// is delivered, given back, delivered again and settled.
func Example() {
	ctx := context.Background()
	broker := memory.New(nil)
	defer func() { _ = broker.Close(ctx) }()

	source, err := broker.Subscribe(ctx, driver.Subscription{Topic: "orders", Group: "billing"})
	if err != nil {
		fmt.Println(err)
		return
	}
	err = broker.Publish(ctx, "orders", []*driver.Message{{Key: "customer-7", Body: []byte("one book")}})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, outcome := range []driver.Outcome{driver.Nack, driver.Ack} {
		msgs, err := source.Receive(ctx, 10)
		if err != nil {
			fmt.Println(err)
			return
		}
		m := msgs[0]
		fmt.Printf("%s: %s, delivery %d\n", m.Key, m.Body, m.Deliveries)
		if err := source.Settle(ctx, []driver.Settlement{{Token: m.Token, Outcome: outcome}}); err != nil {
			fmt.Println(err)
			return
		}
	}
	lag, err := broker.Lag(ctx, "orders", "billing")
	fmt.Println(lag.Waiting, lag.Pending, err)
	// Output:
	// customer-7: one book, delivery 1
	// customer-7: one book, delivery 2
	// 0 0 <nil>
}

func ExampleBroker_Stats() {
	broker := memory.New(&memory.Options{OnDrop: func(topic string) { fmt.Println("nobody reads", topic) }})
	defer func() { _ = broker.Close(context.Background()) }()

	events := make([]*driver.Message, memory.RingSize+1)
	for i := range events {
		events[i] = &driver.Message{Body: []byte("an event")}
	}
	if err := broker.Publish(context.Background(), "events", events); err != nil {
		fmt.Println(err)
	}
	for _, s := range broker.Stats() {
		fmt.Println(s.Topic, s.Messages, s.Dropped)
	}
	// Output:
	// nobody reads events
	// events 10000 1
}
