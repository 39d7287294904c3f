// Package watermillbridge connects anywire and Watermill, both ways.
//
// [NewDriver] makes a driver of any message.Publisher and message.Subscriber, so
// that agents run on every Pub/Sub that Watermill has. [NewPublisher] and
// [NewSubscriber] make a Watermill Pub/Sub of any transport, so that Watermill's
// router and its handlers run on brokers of anywire. Packages watermillredis and
// watermillkafka, below this one, are the two published adapters as kinds of
// transport.
//
//	t := transport.New(memory.New(nil), nil)
//	publisher := watermillbridge.NewPublisher(t, nil)
//	subscriber := watermillbridge.NewSubscriber(t, &watermillbridge.SubscriberOptions{Group: "mails"})
//	router.AddConsumerHandler("mails", "orders", subscriber, handle)
//
// # Messages
//
// A Watermill message is an envelope: its UUID is the id, its payload the body,
// byte for byte. Metadata that describes a CloudEvent ("ce_type", as on Kafka) is
// read as one. Any other message is plain: it has the type [DefaultType], unless
// the options name another, and the source "/topics/" and its topic;
// correlation_id is the correlation, names that an extension may have are
// extensions, and the rest stands in the attribute wmmetadata. Every key of the
// metadata survives the way there and back.
//
// # A Pub/Sub as a driver
//
// What Watermill's interfaces do not have, a driver of a Pub/Sub does not have
// either: delays, delivery counts, lag, browsing and the renewal of leases. The
// engine waits in the lane where a broker cannot delay; it refuses handlers that
// run longer than [Options].MaxLease, and has no more in flight than
// [driver.Capabilities].MaxInFlight says.
//
// Adapters drop on Close what they have not settled. A source therefore waits for
// acknowledgements that are on their way, then closes its subscriptions, joins
// their goroutines, and bounds all of that by the context of Close. What was not
// acknowledged comes again.
//
// [driver.Capabilities]: https://pkg.go.dev/github.com/anywire/anywire/transport/driver#Capabilities
package watermillbridge
