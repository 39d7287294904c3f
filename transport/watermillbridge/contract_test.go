package watermillbridge

import (
	"context"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/drivertest"
	"github.com/anywire/anywire/transport/memory"
)

// TestContract goes both ways at once: the suite's driver is a bridge to a
// Watermill Pub/Sub, which is a bridge to the memory transport.
func TestContract(t *testing.T) {
	o := Options{Consumers: 8}
	declared := o.Capabilities()
	drivertest.Run(t, drivertest.Harness{
		Open: func(tb testing.TB) driver.Driver {
			tb.Helper()
			return overMemory(tb, o)
		},
		Declared: &declared,
		Skip: skips("the subscriber keeps its message for as long as it lives",
			"lease/ends", "lease/ends-for-its-own-member", "lease/extended", "lease/whole-batch", "lease/content-comes-again", "lease/extended-each-for-itself",
			"stale/ack", "stale/nack", "stale/hand-back", "stale/batch-names-it",
			"stale/extend-tells", "stale/extend-names-only-the-lost", "stale/extend-takes-nothing-back", "stale/extend-holds-nothing",
		).with("Watermill does not say when a message was published", "receive/published").
			with("several consumers compete", "publish/call-order", "publish/calls-in-order"),
	})
}

func overMemory(tb testing.TB, o Options) *Driver {
	tb.Helper()
	t := transport.New(memory.New(nil), &transport.Options{
		OwnsDriver: true, Limits: &envelope.Limits{Attributes: 1000, AttributeBytes: 1 << 20},
	})
	tb.Cleanup(func() { _ = t.Close(context.WithoutCancel(tb.Context())) })
	return NewDriver(NewPublisher(t, nil), subscribeTo(t), &o)
}

func subscribeTo(t *transport.Transport) SubscriberFunc {
	return func(_ context.Context, s driver.Subscription, n int) ([]message.Subscriber, error) {
		var members []message.Subscriber
		for range n {
			members = append(members, NewSubscriber(t, &SubscriberOptions{
				Group: s.Group, Start: s.Start, Ephemeral: s.Ephemeral, NackDelay: -1, CloseTimeout: -1,
			}))
		}
		return members, nil
	}
}

type known map[string]string

func skips(reason string, cases ...string) known { return known{}.with(reason, cases...) }

func (k known) with(reason string, cases ...string) known {
	for _, name := range cases {
		k[name] = reason
	}
	return k
}
