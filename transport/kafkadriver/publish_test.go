package kafkadriver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/anywire/anywire/transport/driver"
)

func TestKeysArePlacedAsTheJavaClientDoes(t *testing.T) {
	t.Parallel()
	const shards = 5
	d := shared(t)
	topic := topicOf(t, d, shards)
	var msgs []*driver.Message
	for _, key := range []string{"21", "foobar", "abc", "Euro €", "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8"} {
		msgs = append(msgs, &driver.Message{Key: key, Body: []byte(key)})
	}
	if err := d.Publish(t.Context(), topic, msgs); err != nil {
		t.Fatal(err)
	}
	got := seen(t, d, topic)
	if len(got) != len(msgs) {
		t.Fatalf("saw %q", textsOf(got))
	}
	for _, m := range got {
		if want := driver.ShardOf(m.Key, shards); m.Shard != want {
			t.Errorf("key %q is in partition %d, want %d", m.Key, m.Shard, want)
		}
	}
}

func TestMessagesWithoutKeyGoRound(t *testing.T) {
	t.Parallel()
	const shards = 4
	d := shared(t)
	topic := topicOf(t, d, shards)
	if err := d.Publish(t.Context(), topic, slices.Repeat([]*driver.Message{{Body: []byte("x")}}, 2*shards)); err != nil {
		t.Fatal(err)
	}
	per := map[int]int{}
	for _, m := range seen(t, d, topic) {
		per[m.Shard]++
	}
	for shard := range shards {
		if per[shard] != 2 {
			t.Errorf("partitions got %v, want 2 each", per)
			break
		}
	}
}

func TestContentIsKept(t *testing.T) {
	t.Parallel()
	d := shared(t)
	topic := topicOf(t, d, 1)
	headers := []driver.Header{{Name: "ce_id", Value: "Euro € 😀"}, {Name: "empty", Value: ""}, {Name: "twice", Value: "1"}, {Name: "twice", Value: "2"}}
	msgs := []*driver.Message{
		{Key: "k", Headers: headers, Body: []byte("text")},
		{Headers: headers[:1], Body: []byte{}},
		{},
	}
	if err := d.Publish(t.Context(), topic, msgs); err != nil {
		t.Fatal(err)
	}
	got := seen(t, d, topic)
	if len(got) != len(msgs) {
		t.Fatalf("saw %d messages", len(got))
	}
	for i, m := range got {
		if m.Key != msgs[i].Key || !slices.Equal(m.Headers, msgs[i].Headers) || !bytes.Equal(m.Body, msgs[i].Body) ||
			(m.Body == nil) != (msgs[i].Body == nil) {
			t.Errorf("message %d came as %+v", i, m)
		}
		if want := fmt.Sprint("0/", i); m.Position != want || m.Seq != uint64(i)+1 {
			t.Errorf("message %d is at %s, number %d", i, m.Position, m.Seq)
		}
	}
}

// A caller that goes away takes nobody with it, though its message shares a batch
// with others.
func TestCancelledCallerFailsNobodyElse(t *testing.T) {
	t.Parallel()
	d := shared(t)
	topic := topicOf(t, d, 1)
	var wg sync.WaitGroup
	for i := range 50 {
		ctx, cancel := context.WithCancel(t.Context())
		wg.Go(func() {
			err := d.Publish(ctx, topic, []*driver.Message{{Body: []byte("leaves")}})
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("the one that leaves: %v", err)
			}
		})
		wg.Go(cancel)
		wg.Go(func() {
			if err := d.Publish(t.Context(), topic, []*driver.Message{{Body: []byte(strconv.Itoa(i))}}); err != nil {
				t.Errorf("the one that stays: %v", err)
			}
		})
	}
	wg.Wait()
	got := textsOf(seen(t, d, topic))
	for i := range 50 {
		if !slices.Contains(got, strconv.Itoa(i)) {
			t.Errorf("message %d is missing", i)
		}
	}
}

func TestTooLargeHoldsBackItsKeyAlone(t *testing.T) {
	t.Parallel()
	d := shared(t)
	topic := topicOf(t, d, 1)
	large := make([]byte, int(d.o.MaxBody)+1)
	err := d.Publish(t.Context(), topic, []*driver.Message{
		{Key: "a", Body: []byte("1")}, {Key: "a", Body: large}, {Key: "b", Body: []byte("2")}, {Key: "a", Body: []byte("3")}, {Body: large}, {Body: []byte("4")},
	})
	var failed driver.BatchError
	if !errors.As(err, &failed) || len(failed) != 3 {
		t.Fatalf("Publish: %v", err)
	}
	if !errors.Is(failed[1], driver.ErrTooLarge) || !errors.Is(failed[4], driver.ErrTooLarge) || errors.Is(failed[3], driver.ErrTooLarge) {
		t.Errorf("failures: %v", map[int]error(failed))
	}
	if got := textsOf(seen(t, d, topic)); !slices.Equal(got, []string{"1", "2", "4"}) {
		t.Errorf("stored %q", got)
	}
}

// A topic may take less than max_body: its limit is known before anything is sent.
func TestTopicTakesLess(t *testing.T) {
	t.Parallel()
	d := shared(t)
	topic := unique(t)
	limit := "3000"
	if _, err := d.adm.CreateTopics(t.Context(), 1, 1, map[string]*string{"max.message.bytes": &limit}, topic); err != nil {
		t.Fatal(err)
	}
	small := &driver.Message{Body: make([]byte, 1000)}
	msgs := append(slices.Repeat([]*driver.Message{small}, 20), &driver.Message{Body: noise(3500)})
	err := d.Publish(t.Context(), topic, msgs)
	var failed driver.BatchError
	if !errors.As(err, &failed) || len(failed) != 1 || !errors.Is(failed[20], driver.ErrTooLarge) {
		t.Fatalf("Publish: %v", err)
	}
	if got := seen(t, d, topic); len(got) != 20 {
		t.Errorf("%d messages are stored, want 20", len(got))
	}
}

// A limit that an operator lowers is learnt from the first refusal, which blames
// no message that fits.
func TestLimitIsLowered(t *testing.T) {
	t.Parallel()
	d := shared(t)
	topic := topicOf(t, d, 1)
	if err := d.Publish(t.Context(), topic, []*driver.Message{{}}); err != nil {
		t.Fatal(err)
	}
	limit := "3000"
	if _, err := d.adm.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Name: "max.message.bytes", Value: &limit}}, topic); err != nil {
		t.Fatal(err)
	}
	ctx := patience(t)
	for {
		err := d.Publish(ctx, topic, []*driver.Message{{Body: noise(5000)}})
		if errors.Is(err, driver.ErrTooLarge) {
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("a message above the new limit: %v", err)
		}
	}
	for range 3 {
		var msgs []*driver.Message
		for range 10 {
			msgs = append(msgs, &driver.Message{Body: noise(1000)})
		}
		err := d.Publish(ctx, topic, msgs)
		if errors.Is(err, driver.ErrTooLarge) {
			t.Fatalf("messages below the new limit: %v", err)
		}
	}
}

// What a broker refuses in the middle of a call takes all later messages of its
// key with it, also those that were handed over while the answer came.
func TestNothingIsStoredAfterAFailure(t *testing.T) {
	t.Parallel()
	const n = 3000
	d := shared(t)
	limit := "3000"
	for range 5 {
		topic := topicOf(t, d, 1)
		if err := d.Publish(t.Context(), topic, []*driver.Message{{Key: "k", Body: []byte("0")}}); err != nil {
			t.Fatal(err)
		}
		if _, err := d.adm.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Name: "max.message.bytes", Value: &limit}}, topic); err != nil {
			t.Fatal(err)
		}
		msgs := make([]*driver.Message, n)
		for i := range msgs {
			msgs[i] = &driver.Message{Key: "k", Body: []byte(strconv.Itoa(i + 1))}
			if i%500 == 499 {
				msgs[i].Body = noise(5000)
			}
		}
		err := d.Publish(t.Context(), topic, msgs)
		var failed driver.BatchError
		if err != nil && !errors.As(err, &failed) {
			t.Fatal(err)
		}
		for i, m := range seen(t, d, topic) {
			if i > 0 && !bytes.Equal(m.Body, msgs[i-1].Body) {
				t.Fatalf("message %d of %d that were stored is another one: %d failed", i, len(msgs), len(failed))
			}
			if i > 0 && failed[i-1] != nil {
				t.Fatalf("message %d failed and is stored", i)
			}
		}
	}
}

// noise does not get smaller when it is packed.
func noise(n int) []byte {
	b := make([]byte, n)
	state := uint32(n)
	for i := range b {
		state = state*1664525 + 1013904223
		b[i] = byte(state >> 24)
	}
	return b
}

// While the broker is away, publishes fail when their time is over, and the
// driver goes on when it is back.
func TestBrokerIsAway(t *testing.T) {
	t.Parallel()
	d, line := open(t, shared(t).o.Brokers, func(o *Options) { o.PublishTimeout = valueOf(1500 * time.Millisecond) })
	topic := topicOf(t, d, 1)
	if err := d.Publish(t.Context(), topic, []*driver.Message{{Body: []byte("1")}}); err != nil {
		t.Fatal(err)
	}
	line.cut(true)
	if err := d.Publish(t.Context(), topic, []*driver.Message{{Body: []byte("2")}}); err == nil {
		t.Fatal("a publish without a broker succeeded")
	}
	line.cut(false)
	ctx := patience(t)
	for d.Publish(ctx, topic, []*driver.Message{{Body: []byte("3")}}) != nil {
		if ctx.Err() != nil {
			t.Fatal("the broker is back and no publish succeeds")
		}
	}
}

// A topic that somebody deletes under us is made anew by the next publish that
// finds it missing.
func TestTopicIsDeleted(t *testing.T) {
	t.Parallel()
	d := shared(t)
	topic := topicOf(t, d, 2)
	if err := d.Publish(t.Context(), topic, []*driver.Message{{Key: "k", Body: []byte("1")}}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.adm.DeleteTopics(t.Context(), topic); err != nil {
		t.Fatal(err)
	}
	ctx := patience(t)
	for {
		err := d.Publish(ctx, topic, []*driver.Message{{Key: "k", Body: []byte("2")}})
		if err == nil && len(seen(t, d, topic)) > 0 {
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("the topic does not come back: %v", err)
		}
		pause(ctx, 50*time.Millisecond)
	}
	for _, m := range seen(t, d, topic) {
		if string(m.Body) != "2" {
			t.Errorf("%q is there", m.Body)
		}
	}
}

func TestRoomIsBounded(t *testing.T) {
	t.Parallel()
	r := room{all: 10, free: 10}
	never := make(chan time.Time)
	if err := r.take(t.Context(), 8, never); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.take(ctx, 3, never); !errors.Is(err, context.Canceled) {
		t.Errorf("no room and a cancelled context: %v", err)
	}
	over := make(chan time.Time)
	close(over)
	if err := r.take(t.Context(), 3, over); !errors.Is(err, errNoRoom) {
		t.Errorf("no room in time: %v", err)
	}
	got := make(chan error)
	go func() { got <- r.take(t.Context(), 100, never) }()
	r.give(8)
	if err := <-got; err != nil {
		t.Errorf("more than there is: %v", err)
	}
	r.give(100)
	if r.free != 10 {
		t.Errorf("%d of 10 are free at the end", r.free)
	}
}
