package kafkadriver

import (
	"slices"
	"testing"
	"time"

	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/transport/driver"
)

// A member that drains for longer than its session keeps what it has, also when
// further members join meanwhile: the group goes on to hear of it.
func TestLongDrainOutlivesTheSession(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{protocolConsumer, protocolClassic} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			longDrain(t, protocol)
		})
	}
}

func longDrain(t *testing.T, protocol string) {
	t.Helper()
	server := brokertest.SharedKafka(t)
	join := func(sub driver.Subscription) *reader {
		d, _ := open(t, server.Addrs, func(o *Options) { o.Protocol = protocol })
		return subscribe(t, d, sub)
	}
	d := shared(t)
	topic, group := topicOf(t, d, 6), unique(t)
	publish(t, d, topic, keyed(60, 60)...)
	sub := ordered(topic, group)
	sub.Drain = 60 * time.Second
	a := join(sub)
	held := a.take(60)
	tokens := make([]driver.Token, len(held))
	for i, m := range held {
		tokens[i] = m.Token
	}
	join(sub)
	await(t, "partitions move", func() bool { return slices.ContainsFunc(held, isRevoked) })
	join(sub) // and another
	began := time.Now()
	await(t, "the drain is longer than the session", func() bool {
		lost, err := a.Extend(t.Context(), tokens)
		if err != nil || len(lost) > 0 {
			t.Fatalf("after %v, Extend says that %d are lost, %v", time.Since(began), len(lost), err)
		}
		return time.Since(began) > 9*time.Second
	})
	a.ack(held...)
}
