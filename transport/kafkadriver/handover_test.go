package kafkadriver

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/transport/driver"
)

func isRevoked(m *driver.Message) bool {
	select {
	case <-m.Revoked:
		return true
	default:
		return false
	}
}

// A member that does not settle in time loses its partition all the same: what it
// settles afterwards is not taken, and the new owner has it.
func TestHandOverIsBounded(t *testing.T) {
	t.Parallel()
	d, _ := open(t, fake(t).ListenAddrs(), nil)
	topic, group := topicOf(t, d, 2), unique(t)
	publish(t, d, topic, keyed(20, 20)...)
	sub := ordered(topic, group)
	sub.Drain = time.Second
	a := subscribe(t, d, sub)
	held := a.take(20)
	b := subscribe(t, d, sub)
	var moved []*driver.Message
	await(t, "a partition moves", func() bool {
		for _, m := range held {
			if isRevoked(m) {
				moved = append(moved, m)
			}
		}
		return len(moved) > 0
	})
	a.ack(moved[0]) // still its own
	again := b.take(len(moved) - 1)
	wantTexts(t, again, textsOf(moved[1:]))
	if err := a.settle(driver.Ack, moved[1]); !errors.Is(err, driver.ErrStale) {
		t.Errorf("the old owner settles: %v", err)
	}
	lost, err := a.Extend(t.Context(), []driver.Token{moved[1].Token})
	if err != nil || len(lost) != 1 {
		t.Errorf("Extend by the old owner says %v, %v", lost, err)
	}
	b.ack(again...)
}

// What the old owner settled above what it gave back is skipped by the new one, on
// the classic protocol too.
func TestDoneSetIsHandedOver(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{protocolConsumer, protocolClassic} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			d, _ := open(t, fake(t).ListenAddrs(), func(o *Options) { o.Protocol = protocol })
			topic, group := topicOf(t, d, 1), unique(t)
			publish(t, d, topic, keyed(3, 300)...)
			a := subscribe(t, d, ordered(topic, group))
			held := a.take(200)
			var done, open []*driver.Message
			for i, m := range held {
				if i%3 == 0 {
					open = append(open, m)
				} else {
					done = append(done, m)
				}
			}
			a.ack(done...)
			if err := a.settle(driver.HandBack, open...); err != nil {
				t.Fatal(err)
			}
			a.close()
			b := subscribe(t, d, ordered(topic, group))
			all := b.take(len(open) + 100)
			wantTexts(t, all, append(textsOf(open), numbersOf(200, 300)...))
			b.ack(all...)
			b.nothing()
		})
	}
}

// A member that was silent for longer than its session is replaced; what it then
// settles belongs to somebody else.
func TestReplacedMemberIsStale(t *testing.T) {
	t.Parallel()
	server := brokertest.SharedKafka(t)
	line := &frost{}
	d, _ := open(t, server.Addrs, func(o *Options) { o.Dial = line.dial })
	heirs, _ := open(t, server.Addrs, nil)
	topic, group := topicOf(t, d, 1), unique(t)
	publish(t, d, topic, keyed(1, 5)...)
	a := subscribe(t, d, ordered(topic, group))
	held := a.take(3)
	a.ack(held[1])
	line.freeze()
	b := subscribe(t, heirs, ordered(topic, group))
	await(t, "Extend says that nothing is known", func() bool {
		_, err := a.Extend(t.Context(), []driver.Token{held[0].Token})
		return err != nil
	})
	all := b.take(4)
	wantTexts(t, all, []string{"0", "2", "3", "4"})
	line.goOn()
	await(t, "the old owner hears of it", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		return errors.Is(a.Settle(ctx, []driver.Settlement{{Token: held[0].Token}}), driver.ErrStale)
	})
	b.ack(all...)
}

// Messages of transactions come when these are committed, and nothing else of
// them; nothing of it is counted as waiting afterwards.
func TestTransactions(t *testing.T) {
	t.Parallel()
	d := shared(t)
	topic, group := topicOf(t, d, 1), unique(t)
	r := subscribe(t, d, ordered(topic, group))
	client, err := kgo.NewClient(append(d.clientOptions(), kgo.TransactionalID(unique(t)), kgo.DefaultProduceTopic(topic))...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for i, end := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort, kgo.TryCommit, kgo.TryAbort} {
		if err := client.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{"a", "b"} {
			if err := client.ProduceSync(patience(t), kgo.StringRecord(text+string(rune('0'+i)))).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		if err := client.EndTransaction(patience(t), end); err != nil {
			t.Fatal(err)
		}
	}
	all := r.take(4)
	wantTexts(t, all, []string{"a0", "b0", "a2", "b2"})
	r.ack(all...)
	r.nothing()
	await(t, "nothing waits", func() bool {
		r.nothing()
		lag, err := d.Lag(t.Context(), topic, group)
		return err == nil && lag.Waiting == 0
	})
}

// A group with members on one topic begins another one now: nothing of before
// comes, all of afterwards does, and so it is for partitions that are added.
func TestStartNowWithMembers(t *testing.T) {
	t.Parallel()
	d := shared(t)
	a, b, group := topicOf(t, d, 1), topicOf(t, d, 1), unique(t)
	publish(t, d, a, keyed(1, 3)...)
	publish(t, d, b, keyed(1, 3)...)
	atA := subscribe(t, d, ordered(a, group))
	atA.ack(atA.take(3)...)
	sub := ordered(b, group)
	sub.Start.At = driver.StartNow
	atB := subscribe(t, d, sub)
	publish(t, d, b, &driver.Message{Key: "k0", Body: []byte("new")})
	wantTexts(t, atB.take(1), []string{"new"})
	committed, err := d.adm.FetchOffsets(t.Context(), group)
	if at, ok := committed.Lookup(b, 0); err != nil || !ok || at.At != 3 {
		t.Errorf("the group begins at %+v, %v, want offset 3 to be written down", at, err)
	}
	if _, err := d.adm.CreatePartitions(t.Context(), 1, b); err != nil {
		t.Fatal(err)
	}
	var record *kgo.Record
	await(t, "the new partition takes a message", func() bool {
		client, err := kgo.NewClient(append(d.clientOptions(), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		record = &kgo.Record{Topic: b, Partition: 1, Value: []byte("added")}
		return client.ProduceSync(patience(t), record).FirstErr() == nil
	})
	wantTexts(t, atB.take(1), []string{"added"})
}
