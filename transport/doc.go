// Package transport is the portable Publisher and Subscriber of anywire: one
// concrete type, [Transport], over a small driver for each broker.
//
// A driver moves messages. Everything that makes a broker usable for slow,
// expensive handlers is written here once, and is therefore the same on every
// broker:
//
//   - a window bounds what is fetched and not settled, so memory does not grow
//     with the backlog;
//   - leases are renewed while a handler runs and while a fetched message waits;
//   - lanes keep the order of a key while thousands of other keys go on;
//   - a retry waits in its lane or at the broker;
//   - settlements are collected into batches, and slots are free again only
//     after the broker has them;
//   - shards of ordered topics have one owner, with takeover when it dies;
//   - ending a subscription drains it: nothing healthy is lost or started twice.
//
// The smallest program:
//
//	t := transport.New(memory.New(nil), nil)
//	go t.Subscribe(ctx, "tasks", func(ctx context.Context, d *transport.Delivery) transport.Outcome {
//		fmt.Println(d.Envelope.ID)
//		return transport.Done()
//	}, nil)
//	err := t.Publish(ctx, "tasks", e)
//
// What a message means (retries, dead letters, outputs) is decided above, by
// package router. [Transport.Publish] returns nil when the broker has confirmed
// every message; [Transport.Subscribe] blocks until its context ends and the
// subscription has drained.
package transport
