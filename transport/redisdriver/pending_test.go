package redisdriver

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/transport/driver"
)

// shortLease ends within a test.
const shortLease = 2 * time.Second

func shared(tb testing.TB) *Driver {
	tb.Helper()
	d, _ := open(tb, brokertest.SharedRedis(tb).URL, nil)
	return d
}

func leased(topic string) driver.Subscription {
	s := sub(topic)
	s.Lease = shortLease
	return s
}

// awaits fails when ok is not true within the patience.
func awaits(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	ctx := patience(tb)
	for !ok() {
		if !pause(ctx, 20*time.Millisecond) {
			tb.Fatalf("not in time: %s", what)
		}
	}
}

// ownerOf is the consumer that has an entry; empty: nobody.
func ownerOf(tb testing.TB, d *Driver, topic, id string) string {
	tb.Helper()
	list, err := d.client.XPendingExt(tb.Context(), &redis.XPendingExtArgs{
		Stream: topic, Group: "group", Start: id, End: id, Count: 1,
	}).Result()
	if err != nil {
		tb.Fatal(err)
	}
	if len(list) == 0 {
		return ""
	}
	return list[0].Consumer
}

// steal makes a stranger the owner of what msgs are.
func steal(tb testing.TB, d *Driver, topic string, msgs ...*driver.Message) {
	tb.Helper()
	var ids []string
	for _, m := range msgs {
		ids = append(ids, m.Position)
	}
	err := d.client.XClaimJustID(tb.Context(), &redis.XClaimArgs{
		Stream: topic, Group: "group", Consumer: "stranger", Messages: ids,
	}).Err()
	if err != nil {
		tb.Fatal(err)
	}
}

func TestStolenEntriesStayStolen(t *testing.T) {
	t.Parallel()
	d, topic := shared(t), unique(t)
	publish(t, d, topic, "1", "2", "3", "4")
	src := subscribe(t, d, leased(topic))
	held := take(t, src, 4)
	steal(t, d, topic, held[1], held[2])
	tokens := []driver.Token{held[0].Token, held[1].Token, held[3].Token}
	lost, err := src.Extend(t.Context(), tokens)
	if err != nil || !slices.Equal(lost, tokens[1:2]) {
		t.Errorf("Extend: lost %d, error %v; want the stolen one only", len(lost), err)
	}
	err = src.Settle(t.Context(), settlements(driver.HandBack, held[2]))
	if !errors.Is(err, driver.ErrStale) {
		t.Errorf("HandBack of a stolen delivery: %v, want ErrStale", err)
	}
	for _, m := range held[1:3] {
		if owner := ownerOf(t, d, topic, m.Position); owner != "stranger" {
			t.Errorf("message %s belongs to %q, want the stranger", m.Body, owner)
		}
	}
	settle(t, src, driver.Ack, held[0], held[3])
}

func TestEntriesTrimmedWhilePendingAreLostLoudly(t *testing.T) {
	t.Parallel()
	d, topic := shared(t), unique(t)
	publish(t, d, topic, "held", "nacked", "dead's", "kept")
	src := subscribe(t, d, leased(topic))
	held := take(t, src, 4)
	steal(t, d, topic, held[2])
	if err := d.client.XDel(t.Context(), topic, held[0].Position, held[1].Position, held[2].Position).Err(); err != nil {
		t.Fatal(err)
	}
	lost, err := src.Extend(t.Context(), []driver.Token{held[0].Token, held[3].Token})
	if err != nil || len(lost) > 0 {
		t.Errorf("Extend: lost %d, error %v; nobody else can have what was trimmed", len(lost), err)
	}
	settle(t, src, driver.Nack, held[1])
	settle(t, src, driver.Ack, held[0])
	s, _ := src.(*source)
	awaits(t, "three entries are counted as lost", func() bool {
		short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, _ = src.Receive(short, 4) // searches for lapsed deliveries
		return s.Vanished() == 3
	})
	n, err := d.client.XPending(t.Context(), topic, "group").Result()
	if err != nil || n.Count != 1 {
		t.Errorf("%d entries are pending, error %v; want the one that is kept", n.Count, err)
	}
}

// TestGivenBackAfterTheTrim: an entry that Extend found trimmed is nobody's when it
// is given back: it is not stale, and counts once.
func TestGivenBackAfterTheTrim(t *testing.T) {
	t.Parallel()
	d, topic := shared(t), unique(t)
	publish(t, d, topic, "1")
	src := subscribe(t, d, sub(topic))
	held := take(t, src, 1)
	if err := d.client.XDel(t.Context(), topic, held[0].Position).Err(); err != nil {
		t.Fatal(err)
	}
	if lost, err := src.Extend(t.Context(), []driver.Token{held[0].Token}); err != nil || len(lost) > 0 {
		t.Errorf("Extend: lost %d, error %v", len(lost), err)
	}
	settle(t, src, driver.Nack, held...)
	if n := src.(driver.LossTeller).Vanished(); n != 1 {
		t.Errorf("%d messages are counted, want one", n)
	}
}

// TestLossesAreTold reports what was trimmed to whoever receives.
func TestLossesAreTold(t *testing.T) {
	t.Parallel()
	d, topic := shared(t), unique(t)
	publish(t, d, topic, "1")
	src := subscribe(t, d, sub(topic))
	held := take(t, src, 1)
	if err := d.client.XDel(t.Context(), topic, held[0].Position).Err(); err != nil {
		t.Fatal(err)
	}
	settle(t, src, driver.Nack, held...)
	alarmed(t, src, "trimmed before they were settled")
}

// drain acknowledges until n different messages have come: on a slow machine a
// lease may end in between.
func drain(tb testing.TB, src driver.Source, n int) {
	tb.Helper()
	ctx, seen := patience(tb), map[string]bool{}
	for len(seen) < n {
		msgs, err := src.Receive(ctx, n)
		if ctx.Err() != nil {
			tb.Fatalf("received %d of %d messages: %v", len(seen), n, err)
		}
		for _, m := range msgs {
			seen[string(m.Body)] = true
		}
		_ = src.Settle(ctx, settlements(driver.Ack, msgs...))
	}
}

func TestTakeoverOfManyPendingEntries(t *testing.T) {
	t.Parallel()
	const n = 1200
	for _, isOrdered := range []bool{false, true} {
		t.Run("ordered="+strconv.FormatBool(isOrdered), func(t *testing.T) {
			t.Parallel()
			d, topic := shared(t), unique(t)
			var all []string
			for i := range n {
				all = append(all, strconv.Itoa(i))
			}
			publish(t, d, topic, all...)
			s := leased(topic)
			if isOrdered {
				s.Ordered, s.Shards = true, []int{0}
			}
			s.Window = n
			dead, line := open(t, brokertest.SharedRedis(t).URL, nil)
			take(t, subscribe(t, dead, s), n)
			line.cut(true)
			src := subscribe(t, d, s)
			if !isOrdered {
				drain(t, src, n)
				return
			}
			if got := bodies(take(t, src, n)); !slices.Equal(got, all) {
				t.Errorf("received %d messages, not the %d that the dead member had, in order", len(got), n)
			}
		})
	}
}

func TestDelayedMessagesSurviveTheirRecord(t *testing.T) {
	t.Parallel()
	d, topic := shared(t), unique(t)
	publish(t, d, topic, "1")
	src := subscribe(t, d, leased(topic))
	s := settlements(driver.Nack, take(t, src, 1)...)
	s[0].Delay = time.Hour
	if err := src.Settle(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if n, err := d.client.Del(t.Context(), companion(topic, "due:group")).Result(); err != nil || n != 1 {
		t.Fatalf("deleted %d due records, error %v", n, err)
	}
	want(t, take(t, src, 1), "1")
}

func TestDelayedMessagesComeToAnotherProcess(t *testing.T) {
	t.Parallel()
	d, topic := shared(t), unique(t)
	publish(t, d, topic, "1")
	a := subscribe(t, d, sub(topic))
	s := settlements(driver.Nack, take(t, a, 1)...)
	s[0].Delay = 300 * time.Millisecond
	if err := a.Settle(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	other := shared(t)
	b := subscribe(t, other, sub(topic))
	closeSource(t, a)
	again := take(t, b, 1)
	want(t, again, "1")
	if again[0].Deliveries != 2 {
		t.Errorf("Deliveries is %d, want 2", again[0].Deliveries)
	}
}

func TestHandBackIsNoDelivery(t *testing.T) {
	t.Parallel()
	d, topic := shared(t), unique(t)
	publish(t, d, topic, "1")
	src := subscribe(t, d, sub(topic))
	for range 3 {
		held := take(t, src, 1)
		if held[0].Deliveries != 1 {
			t.Errorf("Deliveries is %d, want 1: it was never started", held[0].Deliveries)
		}
		settle(t, src, driver.HandBack, held...)
	}
}

// TestWhatNobodyReceivesGoesToOthers lets a blocking read outlive its Receive.
func TestWhatNobodyReceivesGoesToOthers(t *testing.T) {
	t.Parallel()
	d, topic := shared(t), unique(t)
	idle := subscribe(t, d, sub(topic))
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := idle.Receive(short, 10); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Receive: %v, want the end of its context", err)
	}
	publish(t, d, topic, "1", "2", "3")
	got := bodies(take(t, subscribe(t, d, sub(topic)), 3))
	slices.Sort(got)
	if !slices.Equal(got, []string{"1", "2", "3"}) {
		t.Errorf("received %v, want all three", got)
	}
}

// thief ends a connection in place of handing over a reply that holds the loot.
type thief struct {
	net.Conn

	loot  []byte
	armed *atomic.Bool
}

func (c *thief) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if bytes.Contains(p[:n], c.loot) && c.armed.CompareAndSwap(true, false) {
		_ = c.Close()
		return 0, io.EOF
	}
	return n, err
}

// robbed loses one reply that holds the text.
func robbed(tb testing.TB, text string) (*Driver, *atomic.Bool) {
	tb.Helper()
	armed := &atomic.Bool{}
	d, _ := open(tb, brokertest.SharedRedis(tb).URL, func(o *Options) {
		dial := o.Dial
		o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := dial(ctx, network, address)
			return &thief{Conn: c, loot: []byte(text), armed: armed}, err
		}
	})
	return d, armed
}

func TestLostReplyLosesNothing(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]driver.Subscription{"unordered": sub(unique(t)), "ordered": ordered(unique(t))} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, armed := robbed(t, "precious")
			src := subscribe(t, d, s)
			armed.Store(true)
			publish(t, d, s.Topic, "precious 1", "precious 2")
			publish(t, d, s.Topic, "3")
			want(t, take(t, src, 3), "precious 1", "precious 2", "3")
			if armed.Load() {
				t.Error("no reply was lost")
			}
		})
	}
}

func TestShardsTakeTurnsWhenSlotsAreFew(t *testing.T) {
	t.Parallel()
	d, topic := shared(t), unique(t)
	const shards, each = 4, 5
	if _, err := d.EnsureTopic(t.Context(), driver.Topic{Name: topic, Shards: shards}); err != nil {
		t.Fatal(err)
	}
	src := subscribe(t, d, sub(topic))
	for shard := range shards {
		for range each {
			err := d.client.XAdd(t.Context(), &redis.XAddArgs{Stream: streamOf(topic, shard, shards), Values: []string{"data", "x"}}).Err()
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	var turns [shards]int
	for range shards {
		m := take(t, src, 1)
		turns[m[0].Shard]++
		settle(t, src, driver.Ack, m...)
	}
	if turns != [shards]int{1, 1, 1, 1} {
		t.Errorf("of the first %d messages the shards gave %v, want one each", shards, turns)
	}
	for range shards * (each - 1) {
		settle(t, src, driver.Ack, take(t, src, 1)...)
	}
}
