package router_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/memory"
)

// narrow is a broker that takes few bytes of attributes.
type narrow struct {
	*memory.Broker

	most int
}

func (n *narrow) Publish(ctx context.Context, topic string, msgs []*driver.Message) error {
	for _, m := range msgs {
		size := 0
		for _, h := range m.Headers {
			size += len(h.Name) + len(h.Value)
		}
		if size > n.most {
			return fmt.Errorf("%d bytes of headers: %w", size, driver.ErrTooLarge)
		}
	}
	return n.Broker.Publish(ctx, topic, msgs)
}

func TestDeadLetterThatTheBrokerFindsTooLarge(t *testing.T) {
	inWorld(t, func(w *world) {
		broker := memory.New(&memory.Options{Paranoid: &memory.Paranoid{Delay: 1e-9}}) // it carries headers
		w.transport = transport.New(&narrow{broker, 2 << 10}, nil)
		w.agent.Transport = w.transport
		w.handle(func(context.Context, *envelope.Envelope) ([]*envelope.Envelope, error) {
			return nil, envelope.Reject(fmt.Errorf("%s", strings.Repeat("no ", 1000)))
		})
		w.start()
		w.publish(message(envelope.WithExtension("long", strings.Repeat("x", 1500))))
		w.pass(time.Minute)
		dead := w.only("agent.dead")
		if got := dead.Reserved(envelope.AttrDeadLetterReason); got != string(envelope.Rejected) {
			t.Errorf("reason %q", got)
		}
		if got := dead.Reserved(envelope.AttrDeadLetterError); !strings.HasPrefix(got, "rejected: no ") || string(dead.Data) != `{"n":1}` {
			t.Errorf("error %q, payload %s", got, dead.Data)
		}
		if h := w.health(); h.Stalled != "" || h.DeadLettered != 1 {
			t.Errorf("health %+v", h)
		}
	})
}
