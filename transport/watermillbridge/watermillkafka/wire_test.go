package watermillkafka

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/kafkadriver"
)

const patience = 90 * time.Second

// topic is one that nobody else has.
func topic(tb testing.TB, d driver.Admin, shards int) string {
	tb.Helper()
	name := strings.NewReplacer("/", ".", " ", "-").Replace(tb.Name()) + "." + envelope.NewID()
	if _, err := d.EnsureTopic(tb.Context(), driver.Topic{Name: name, Shards: shards}); err != nil {
		tb.Fatal(err)
	}
	return name
}

func join(tb testing.TB, d driver.Driver, topic string, window int) driver.Source {
	tb.Helper()
	src, err := d.Subscribe(tb.Context(), driver.Subscription{
		Topic: topic, Group: topic, Window: window, Lease: time.Minute, Ordered: true, Drain: 30 * time.Second,
		Inbox: topic + ".inbox",
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), 30*time.Second)
		defer cancel()
		if err := src.Close(ctx); err != nil {
			tb.Errorf("close the source: %v", err)
		}
	})
	return src
}

// take receives n messages and holds them.
func take(tb testing.TB, src driver.Source, n int) []*driver.Message {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	var held []*driver.Message
	for len(held) < n {
		msgs, err := src.Receive(ctx, n-len(held))
		if err != nil {
			tb.Fatalf("%d of %d messages: %v", len(held), n, err)
		}
		held = append(held, msgs...)
	}
	return held
}

func settle(tb testing.TB, src driver.Source, outcome driver.Outcome, msgs ...*driver.Message) {
	tb.Helper()
	var all []driver.Settlement
	for _, m := range msgs {
		all = append(all, driver.Settlement{Token: m.Token, Outcome: outcome})
	}
	if err := src.Settle(tb.Context(), all); err != nil {
		tb.Fatal(err)
	}
}

func keyed(key, id string) *driver.Message {
	return &driver.Message{
		Key: key, Body: []byte(id),
		Headers: []driver.Header{{Name: "ce_id", Value: id}, {Name: "content-type", Value: "text/plain"}},
	}
}

// The native driver and this one share topics, both ways, and place keys alike.
func TestTheNativeDriverReadsTheSameTopic(t *testing.T) {
	t.Parallel()
	server := brokertest.SharedKafka(t)
	bridge, _ := open(t, server.Addrs, Options{})
	other, err := kafkadriver.Open(t.Context(), kafkadriver.Options{Brokers: server.Addrs, Protocol: "classic"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Close(context.WithoutCancel(t.Context())) })
	for name, pair := range map[string][2]driver.Driver{"from native": {other, bridge}, "to native": {bridge, other}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const n = 12
			topic := topic(t, bridge, 4)
			src := join(t, pair[1], topic, n)
			for i := range n {
				id := strconv.Itoa(i)
				if err := pair[0].Publish(t.Context(), topic, []*driver.Message{keyed("key-"+id, id)}); err != nil {
					t.Fatal(err)
				}
			}
			for range n {
				got := take(t, src, 1)[0]
				id := string(got.Body)
				if got.Key != "key-"+id || got.Shard != driver.ShardOf(got.Key, 4) || header(got, "ce_id") != id ||
					header(got, "content-type") != "text/plain" {
					t.Errorf("received %+v", got)
				}
				settle(t, src, driver.Ack, got)
			}
		})
	}
}

func header(m *driver.Message, name string) string {
	for _, h := range m.Headers {
		if h.Name == name {
			return h.Value
		}
	}
	return ""
}

// Each partition has a message in flight, and nothing waits for another's.
func TestPartitionsWorkSideBySide(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedKafka(t).Addrs, Options{InFlight: 4})
	topic := topic(t, d, 4)
	for i := range 16 {
		if err := d.Publish(t.Context(), topic, []*driver.Message{keyed("", strconv.Itoa(i))}); err != nil {
			t.Fatal(err)
		}
	}
	src := join(t, d, topic, 4)
	held := take(t, src, 4)
	shards := map[int]bool{}
	for _, m := range held {
		shards[m.Shard] = true
	}
	if len(shards) != 4 {
		t.Errorf("messages of %d partitions are in flight, want 4", len(shards))
	}
	settle(t, src, driver.Ack, held[0])
	if next := take(t, src, 1)[0]; next.Shard != held[0].Shard || next.Seq != held[0].Seq+1 {
		t.Errorf("after %d/%d comes %d/%d", held[0].Shard, held[0].Seq, next.Shard, next.Seq)
	}
}

// What runs when a partition moves away is acknowledged after all, where the
// adapter alone drops it, and what is handed back goes to the new owner.
func TestAHandOverInGoodOrder(t *testing.T) {
	t.Parallel()
	server := brokertest.SharedKafka(t)
	d, _ := open(t, server.Addrs, quick())
	for name, outcome := range map[string]driver.Outcome{"finished": driver.Ack, "handed back": driver.HandBack} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			topic := topic(t, d, 1)
			for i := range 2 {
				if err := d.Publish(t.Context(), topic, []*driver.Message{keyed("", strconv.Itoa(i))}); err != nil {
					t.Fatal(err)
				}
			}
			a := join(t, d, topic, 1)
			held := take(t, a, 1)
			other, _ := open(t, server.Addrs, quick())
			b := join(t, other, topic, 1)
			select {
			case <-held[0].Revoked:
			case <-time.After(patience):
				t.Fatal("the partition does not move, though there is a second member")
			}
			settle(t, a, outcome, held...)
			if err := a.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			got := take(t, b, 1)[0]
			if want := map[driver.Outcome]string{driver.Ack: "1", driver.HandBack: "0"}[outcome]; string(got.Body) != want {
				t.Errorf("the new owner begins at %s, want %s", got.Body, want)
			}
		})
	}
}

func TestTheCodecNeverFails(t *testing.T) {
	t.Parallel()
	for _, r := range []*sarama.ConsumerMessage{
		{},
		{Value: []byte("x"), Headers: []*sarama.RecordHeader{nil, {}, {Key: []byte("\xff"), Value: nil}}},
	} {
		if m, err := (codec{}).Unmarshal(r); m == nil || err != nil {
			t.Errorf("%+v: %v, %v", r, m, err)
		}
	}
}
