package natsdriver

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/internal/faultproxy"
	"github.com/anywire/anywire/transport/driver"
)

// behindProxy connects one driver to the shared server through a proxy, and one
// directly.
func behindProxy(t *testing.T) (far, near *Driver, proxy *faultproxy.Proxy) {
	t.Helper()
	server := brokertest.SharedNATS(t)
	proxy = faultproxy.New(t, faultproxy.Bytes, strings.TrimPrefix(server.URL, "nats://"))
	far, _ = open(t, "nats://"+proxy.Addr(), nil)
	near, _ = open(t, server.URL, nil)
	return far, near, proxy
}

// receiveAll passes on what a source receives, one by one, until stop is called.
func receiveAll(t *testing.T, src driver.Source) (came <-chan *driver.Message, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ch, ended := make(chan *driver.Message, 100), make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			msgs, _ := src.Receive(ctx, 5) // errors pass
			for _, m := range msgs {
				ch <- m
			}
		}
	}()
	stop = func() {
		cancel()
		<-ended
	}
	t.Cleanup(stop)
	return ch, stop
}

// next is the next n messages.
func next(t *testing.T, came <-chan *driver.Message, n int) []*driver.Message {
	t.Helper()
	ctx := patience(t)
	var msgs []*driver.Message
	for len(msgs) < n {
		select {
		case m := <-came:
			msgs = append(msgs, m)
		case <-ctx.Done():
			t.Fatalf("received %v of %d messages", bodies(msgs), n)
		}
	}
	return msgs
}

// TestOrderWhenConfirmationsGetLost: one of two messages ends at the server, a
// third is delivered, and the connection breaks before the client hears of either.
// What follows must not overtake the third, though the server holds as many
// messages unsettled as the client does.
func TestOrderWhenConfirmationsGetLost(t *testing.T) {
	t.Parallel()
	type end func(t *testing.T, near *Driver, src driver.Source, held []*driver.Message) (after func())
	acked := func(which int) end {
		return func(t *testing.T, _ *Driver, src driver.Source, held []*driver.Message) func() {
			t.Helper()
			settled := make(chan error, 1)
			go func() { settled <- src.Settle(t.Context(), settlements(driver.Ack, held[which])) }()
			return func() {
				if err := <-settled; err != nil {
					t.Errorf("Settle says %v, though the server has the acknowledgement", err)
				}
			}
		}
	}
	for name, test := range map[string]end{
		"the oldest is acknowledged": acked(0),
		"another is acknowledged":    acked(1),
		"Settle has given up": func(t *testing.T, _ *Driver, src driver.Source, held []*driver.Message) func() {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			if err := src.Settle(ctx, settlements(driver.Ack, held[1])); err == nil {
				t.Fatal("Settle succeeds without an answer")
			}
			return func() {
				if lost, err := src.Extend(t.Context(), []driver.Token{held[1].Token}); err != nil || len(lost) > 0 {
					t.Errorf("Extend says %v, %v of what is done", lost, err)
				}
				settle(t, src, driver.Ack, held[1])
			}
		},
		"a former owner's acknowledgement comes late": func(t *testing.T, near *Driver, _ driver.Source, held []*driver.Message) func() {
			t.Helper()
			if _, err := near.nc.RequestWithContext(patience(t), held[1].Token.(*delivery).reply, nil); err != nil {
				t.Fatal(err)
			}
			return func() {}
		},
		"the oldest leaves the stream": func(t *testing.T, near *Driver, _ driver.Source, held []*driver.Message) func() {
			t.Helper()
			stream, err := near.js.Stream(t.Context(), held[0].Token.(*delivery).src.stream)
			if err != nil {
				t.Fatal(err)
			}
			if err := stream.Purge(t.Context(), jetstream.WithPurgeSequence(2)); err != nil {
				t.Fatal(err)
			}
			return func() {}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, near, proxy := behindProxy(t)
			topic := unique(t)
			publish(t, near, topic, "1", "2")
			src := subscribe(t, d, ordered(topic))
			came, _ := receiveAll(t, src)
			held := next(t, came, 2)
			want(t, held, "1", "2")

			proxy.Set(faultproxy.Faults{HoldReplies: true})
			publish(t, near, topic, "3")
			after := test(t, near, src, held)
			eventually(t, "the server knows of the end, and has delivered", func() bool {
				info := consumerInfo(t, near, topic, "group@0")
				return info.Delivered.Stream == 3 && info.NumAckPending == 2
			})
			proxy.Cut()
			proxy.Set(faultproxy.Faults{})
			publish(t, near, topic, "4")
			want(t, next(t, came, 2), "3", "4")
			after()
		})
	}
}

// TestOrderWhenPullsAreWithdrawnTooLate: nobody receives, so the pulls end, while
// the network stands still with a delivery in it that then meets nobody. What
// follows must not come before it.
func TestOrderWhenPullsAreWithdrawnTooLate(t *testing.T) {
	t.Parallel()
	d, near, proxy := behindProxy(t)
	topic := unique(t)
	publish(t, near, topic, "1")
	src := subscribe(t, d, ordered(topic))
	came, stop := receiveAll(t, src)
	want(t, next(t, came, 1), "1")

	proxy.Set(faultproxy.Faults{HoldReplies: true})
	publish(t, near, topic, "2")
	eventually(t, "delivered", func() bool { return consumerInfo(t, near, topic, "group@0").Delivered.Stream == 2 })
	stop()
	eventually(t, "withdrawn", func() bool {
		s := src.(*source)
		if !s.recv.TryLock() {
			return false
		}
		defer s.recv.Unlock()
		return s.in.sub == nil
	})
	proxy.Set(faultproxy.Faults{})
	publish(t, near, topic, "3")
	want(t, take(t, src, 2), "2", "3")
}
