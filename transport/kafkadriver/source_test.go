package kafkadriver

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/anywire/anywire/transport/driver"
)

// Four partitions with a backlog each give the same part of every Receive.
func TestPartitionsTakeTurns(t *testing.T) {
	t.Parallel()
	d, _ := open(t, fake(t).ListenAddrs(), nil)
	topic := topicOf(t, d, 4)
	publish(t, d, topic, keyed(64, 4000)...)
	r := subscribe(t, d, ordered(topic, unique(t)))
	await(t, "all partitions are fetched", func() bool {
		r.m.mu.Lock()
		defer r.m.mu.Unlock()
		full := 0
		for _, p := range r.parts {
			if p.queued() >= 64 {
				full++
			}
		}
		return full == 4
	})
	for range 4 {
		perShard := map[int]int{}
		msgs := r.take(64)
		for _, m := range msgs {
			perShard[m.Shard]++
		}
		for shard := range 4 {
			if perShard[shard] != 16 {
				t.Fatalf("64 messages are %v by partition, want 16 of each", perShard)
			}
		}
		r.ack(msgs...)
	}
}

// A message that is not settled stops its partition at eight windows after it,
// which is told; the others go on, and so does it when that message is done.
func TestOldMessageStopsItsPartition(t *testing.T) {
	t.Parallel()
	d, _ := open(t, fake(t).ListenAddrs(), nil)
	topic := topicOf(t, d, 1)
	const window, all = 16, 8*16 + 40
	publish(t, d, topic, keyed(7, all)...)
	sub := ordered(topic, unique(t))
	sub.Window = window
	r := subscribe(t, d, sub)
	first := r.take(1)
	r.ack(r.take(8*window - 1)...)
	r.nothing()
	if err := r.Trouble(); err == nil || !strings.Contains(err.Error(), "offset 0 is not settled") {
		t.Errorf("trouble %v does not name the offset", err)
	}
	r.ack(first...)
	wantTexts(t, r.take(all-8*window), numbersOf(8*window, all))
	if err := r.Trouble(); err != nil {
		t.Errorf("trouble after the old message is settled: %v", err)
	}
}

// A full buffer stops fetching, and what is not delivered is bounded.
func TestFetchingIsBounded(t *testing.T) {
	t.Parallel()
	d, _ := open(t, fake(t).ListenAddrs(), nil)
	topic := topicOf(t, d, 2)
	const all = 15_000
	for range all / 5000 {
		publish(t, d, topic, keyed(2, 5000)...)
	}
	r := subscribe(t, d, ordered(topic, unique(t)))
	got := 0
	for got < all {
		msgs := r.take(50)
		got += len(msgs)
		r.ack(msgs...)
		r.m.mu.Lock()
		for _, p := range r.parts {
			if p.bytes > highBytes+8*fetchPartitionBytes { // packed, it is less
				t.Errorf("%d bytes wait for delivery", p.bytes)
			}
		}
		r.m.mu.Unlock()
		if t.Failed() {
			return
		}
	}
	r.nothing()
}

// Sources of a group on two topics are one member; it gives one topic up while the
// other goes on, and takes it again.
func TestTopicsOfAGroupShareAMember(t *testing.T) {
	t.Parallel()
	cluster := fake(t)
	d, _ := open(t, cluster.ListenAddrs(), nil)
	a, b, group := topicOf(t, d, 2), topicOf(t, d, 2), unique(t)
	atA := subscribe(t, d, ordered(a, group))
	publish(t, d, a, keyed(4, 10)...)
	atA.ack(atA.take(10)...)
	for range 3 {
		atB := subscribe(t, d, ordered(b, group))
		if n := d.memberCount(group); n != 1 {
			t.Fatalf("%d members of the group, want 1", n)
		}
		publish(t, d, b, keyed(4, 10)...)
		publish(t, d, a, keyed(4, 10)...)
		atB.ack(atB.take(10)...)
		atA.ack(atA.take(10)...)
		atB.close()
	}
	atA.close()
	if n := d.memberCount(group); n != 0 {
		t.Errorf("%d members of the group after all have left", n)
	}
	if lag, err := d.Lag(t.Context(), b, group); err != nil || lag.Waiting != 0 {
		t.Errorf("lag %+v, %v after everything was settled", lag, err)
	}
}

// A second source on the same topic is a second member.
func TestSecondSourceIsASecondMember(t *testing.T) {
	t.Parallel()
	d, _ := open(t, fake(t).ListenAddrs(), nil)
	topic, group := topicOf(t, d, 2), unique(t)
	subscribe(t, d, ordered(topic, group))
	subscribe(t, d, ordered(topic, group))
	if n := d.memberCount(group); n != 2 {
		t.Errorf("%d members of the group, want 2", n)
	}
}

// The inbox of two sources goes to the one that is left, with what the other had
// of it.
func TestInboxGoesToTheSourceThatIsLeft(t *testing.T) {
	t.Parallel()
	d, _ := open(t, fake(t).ListenAddrs(), nil)
	a, b, group := topicOf(t, d, 1), topicOf(t, d, 1), unique(t)
	atA, atB := subscribe(t, d, subscription(a, group)), subscribe(t, d, subscription(b, group))
	publish(t, d, atA.inbox, keyed(1, 5)...)
	held := atA.take(3)
	for _, m := range held {
		if m.Shard != inboxShards {
			t.Errorf("shard is %d, that of the topic", m.Shard)
		}
	}
	atA.ack(held[1])
	atA.close()
	wantTexts(t, atB.take(4), []string{"0", "2", "3", "4"})
	if err := atA.settle(driver.Ack, held[0]); !errors.Is(err, driver.ErrStale) {
		t.Errorf("the closed source settles: %v", err)
	}
}

// The oldest that is not delivered is lost when the broker deletes it. That is
// told, and what is left comes.
func TestDeletedMessagesAreLostLoudly(t *testing.T) {
	t.Parallel()
	cluster := fake(t)
	d, _ := open(t, cluster.ListenAddrs(), nil)
	topic, group := topicOf(t, d, 1), unique(t)
	publish(t, d, topic, keyed(1, 10)...)
	r := subscribe(t, d, ordered(topic, group))
	held := r.take(5)
	r.ack(held[0], held[3]) // the done set says 3
	r.close()
	if err := cluster.DeleteRecords(topic, 0, 6); err != nil {
		t.Fatal(err)
	}
	again := subscribe(t, d, ordered(topic, group))
	wantTexts(t, again.take(4), numbersOf(6, 10))
	if err := again.trouble(); !strings.HasPrefix(err.Error(), "4 messages of partition 0") { // 1, 2, 4, 5
		t.Errorf("the loss is told as %q", err)
	}
	if n := again.Vanished(); n != 4 {
		t.Errorf("%d messages are counted as vanished, want 4", n)
	}
}

// A broker that refuses the new protocol is not worked with by the old one.
func TestNoSilentDowngrade(t *testing.T) {
	t.Parallel()
	cluster := fake(t)
	cluster.ControlKey(int16(kmsg.ConsumerGroupHeartbeat), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		resp := req.ResponseKind().(*kmsg.ConsumerGroupHeartbeatResponse)
		resp.ErrorCode = kerr.UnsupportedVersion.Code
		return resp, nil, true
	})
	d, _ := open(t, cluster.ListenAddrs(), nil)
	r := subscribe(t, d, ordered(topicOf(t, d, 1), unique(t)))
	for range 2 {
		if err := r.trouble(); !errors.Is(err, driver.ErrDenied) || !strings.Contains(err.Error(), "protocol: classic") {
			t.Errorf("Receive says %v", err)
		}
	}
}

// Extend builds on heartbeats that were answered, and on nothing else.
func TestExtendNeedsHeartbeats(t *testing.T) {
	t.Parallel()
	cluster := fake(t, kfake.BrokerConfigs(map[string]string{
		"group.consumer.session.timeout.ms": "3000", "group.consumer.heartbeat.interval.ms": "100",
	}))
	d, _ := open(t, cluster.ListenAddrs(), nil)
	topic := topicOf(t, d, 1)
	publish(t, d, topic, keyed(1, 1)...)
	r := subscribe(t, d, ordered(topic, unique(t)))
	held := r.take(1)
	extend := func() error {
		lost, err := r.Extend(t.Context(), []driver.Token{held[0].Token})
		if len(lost) > 0 {
			t.Error("Extend says that the delivery is lost, to nobody")
		}
		return err
	}
	if err := extend(); err != nil {
		t.Fatal(err)
	}
	answer := make(chan struct{})
	cluster.ControlKey(int16(kmsg.ConsumerGroupHeartbeat), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.SleepControl(func() { <-answer })
		return nil, nil, false
	})
	await(t, "Extend says that nothing is known", func() bool { return extend() != nil })
	close(answer)
	await(t, "Extend says that all is well", func() bool { return extend() == nil })
}

// With a broker that is away, Close ends in the time that it is given.
func TestCloseWithoutBroker(t *testing.T) {
	t.Parallel()
	d, line := open(t, fake(t).ListenAddrs(), nil)
	topic := topicOf(t, d, 1)
	publish(t, d, topic, keyed(1, 3)...)
	r := subscribe(t, d, ordered(topic, unique(t)))
	held := r.take(2)
	line.cut(true)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := r.Settle(ctx, []driver.Settlement{{Token: held[0].Token}}); err == nil {
		t.Error("a settlement is confirmed by nobody")
	}
	closing, stop := context.WithTimeout(t.Context(), time.Second)
	defer stop()
	began := time.Now()
	if err := r.Close(closing); err == nil {
		t.Error("leaving without a broker succeeds")
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("Close took %v", took)
	}
	if _, err := r.Receive(t.Context(), 1); !errors.Is(err, driver.ErrClosed) {
		t.Errorf("Receive after Close: %v", err)
	}
}

// A partition that is paused with a large backlog holds up neither the others nor
// the memory.
func TestPausedPartitionHoldsUpNobody(t *testing.T) {
	t.Parallel()
	d, _ := open(t, fake(t).ListenAddrs(), nil)
	topic := topicOf(t, d, 2)
	r := subscribe(t, d, ordered(topic, unique(t)))
	keys := map[int]string{}
	for i := 0; len(keys) < 2; i++ {
		key := strconv.Itoa(i)
		keys[driver.ShardOf(key, 2)] = key
	}
	publish(t, d, topic, &driver.Message{Key: keys[0], Body: []byte("first")})
	r.ack(r.take(1)...) // it is assigned
	r.PauseShards([]int{0})
	body := bytes.Repeat([]byte("x"), 1<<14)
	for range 30 {
		batch := make([]*driver.Message, 100)
		for i := range batch {
			batch[i] = &driver.Message{Key: keys[0], Body: body}
		}
		publish(t, d, topic, batch...)
	}
	for i := range 20 {
		text := strconv.Itoa(i)
		publish(t, d, topic, &driver.Message{Key: keys[1], Body: []byte(text)})
		got := r.take(1)
		wantTexts(t, got, []string{text})
		r.ack(got...)
	}
	r.m.mu.Lock()
	for _, p := range r.parts {
		if p.bytes > 2*highBytes {
			t.Errorf("%d bytes of partition %d wait for delivery", p.bytes, p.number)
		}
	}
	r.m.mu.Unlock()
	r.PauseShards(nil)
	for range 60 {
		r.ack(r.take(50)...)
	}
}
