package natsdriver

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/transport/driver"
)

// modes are servers that can pin and those that cannot.
func modes(t *testing.T, run func(t *testing.T, open func() (*Driver, *mortal))) {
	t.Helper()
	for _, pins := range []bool{true, false} {
		t.Run("pins="+strconv.FormatBool(pins), func(t *testing.T) {
			t.Parallel()
			run(t, func() (*Driver, *mortal) {
				d, line := open(t, brokertest.SharedNATS(t).URL, nil)
				d.noPin = !pins
				return d, line
			})
		})
	}
}

// TestTakeoverFromTheDead: the holder dies with 1 to 5, of which 2 and 4 are
// acknowledged. The new owner gets the rest at once, though leases last, before
// what is new, and nothing that was acknowledged.
func TestTakeoverFromTheDead(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, open func() (*Driver, *mortal)) {
		t.Helper()
		d, line := open()
		topic := unique(t)
		publish(t, d, topic, numbers(1, 8)...)
		held := take(t, subscribe(t, d, ordered(topic)), 5)
		settle(t, subscribeLike(t, held), driver.Ack, held[1], held[3])
		line.cut(true)

		other, _ := open()
		src := subscribe(t, other, ordered(topic))
		got := take(t, src, 6)
		want(t, got, "1", "3", "5", "6", "7", "8")
		for i, m := range got {
			if redelivered := i < 3; redelivered != (m.Deliveries > 1) {
				t.Errorf("message %s has %d deliveries", m.Body, m.Deliveries)
			}
		}
	})
}

// subscribeLike is the source of messages.
func subscribeLike(t *testing.T, msgs []*driver.Message) driver.Source {
	t.Helper()
	d, isOurs := msgs[0].Token.(*delivery)
	if !isOurs {
		t.Fatal("the token is none of this driver")
	}
	return d.src
}

// TestTakeoverFromAZombie: the old holder lives, and must neither settle nor
// receive any more.
func TestTakeoverFromAZombie(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedNATS(t).URL, nil)
	topic := unique(t)
	publish(t, d, topic, numbers(1, 4)...)
	zombie := subscribe(t, d, ordered(topic))
	old := take(t, zombie, 2)
	dead := make(chan error, 1)
	go func() {
		for {
			msgs, err := zombie.Receive(t.Context(), 1)
			if errors.Is(err, driver.ErrStale) || t.Context().Err() != nil {
				dead <- err
				return
			}
			for _, m := range msgs {
				_ = zombie.Settle(t.Context(), settlements(driver.HandBack, m))
			}
		}
	}()
	other, _ := open(t, brokertest.SharedNATS(t).URL, nil)
	src := subscribe(t, other, ordered(topic))
	want(t, take(t, src, 4), numbers(1, 4)...)
	publish(t, d, topic, "5")
	select {
	case err := <-dead:
		if !errors.Is(err, driver.ErrStale) {
			t.Errorf("the old holder's Receive says %v", err)
		}
	case <-patience(t).Done():
		t.Fatal("the old holder does not notice")
	}
	if err := zombie.Settle(t.Context(), settlements(driver.Ack, old...)); !errors.Is(err, driver.ErrStale) {
		t.Errorf("the old holder's Settle says %v", err)
	}
	if lost, err := zombie.Extend(t.Context(), []driver.Token{old[0].Token}); err != nil || len(lost) != 1 {
		t.Errorf("the old holder's Extend says %v, %v", lost, err)
	}
	closeSource(t, zombie)
	want(t, take(t, src, 1), "5")
	if info := consumerInfo(t, d, topic, "group@0"); info.NumAckPending != 5 {
		t.Errorf("%d deliveries are out, want the 5 of the new owner", info.NumAckPending)
	}
}

// TestCleanHandOver leaves the shard to the next at once; what was done stays so.
func TestCleanHandOver(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, open func() (*Driver, *mortal)) {
		t.Helper()
		d, _ := open()
		topic := unique(t)
		publish(t, d, topic, numbers(1, 10)...)
		var all []string
		for range 3 {
			src := subscribe(t, d, ordered(topic))
			held := take(t, src, 4)
			all = append(all, bodies(held)...)
			settle(t, src, driver.Ack, held[1:]...)
			closeSource(t, src)
		}
		if expect := []string{"1", "2", "3", "4", "1", "5", "6", "7", "1", "8", "9", "10"}; !slices.Equal(all, expect) {
			t.Errorf("received %v, want %v", all, expect)
		}
	})
}

// TestOrderAcrossRestarts: the server is killed while a window is held; what
// follows comes in order, and what is held does not come again.
func TestOrderAcrossRestarts(t *testing.T) {
	t.Parallel()
	server := brokertest.NATS(t)
	d, _ := open(t, server.URL, nil)
	topic := unique(t)
	src := subscribe(t, d, ordered(topic))
	publish(t, d, topic, numbers(1, 30)...)
	next := 1
	for range 3 {
		held := take(t, src, 5)
		want(t, held, numbers(next, next+4)...)
		server.Kill(t)
		server.Start(t)
		more := take(t, src, 3)
		want(t, more, numbers(next+5, next+7)...)
		eventually(t, "settled", func() bool {
			return src.Settle(t.Context(), settlements(driver.Ack, slices.Concat(held, more)...)) == nil
		})
		next += 8
		<-time.After(250 * time.Millisecond) // it writes down what was acknowledged ten times a second
	}
}

// TestChangeOfOrder: a group that is to read in order from now on, or no more,
// goes on where it was.
func TestChangeOfOrder(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedNATS(t).URL, nil)
	topic := unique(t)
	publish(t, d, topic, numbers(1, 6)...)
	plain := subscribe(t, d, sub(topic))
	settle(t, plain, driver.Ack, take(t, plain, 2)...)
	closeSource(t, plain)
	inOrder := ordered(topic)
	inOrder.Start.At = driver.StartNow // of no meaning to a group that is known
	src := subscribe(t, d, inOrder)
	held := take(t, src, 2)
	want(t, held, "3", "4")
	settle(t, src, driver.Ack, held...)
	closeSource(t, src)
	other := sub(topic)
	other.Group = "other"
	want(t, take(t, subscribe(t, d, other), 1), "1")
}

// TestChangeOfOrderWithUnreadShards: nothing of a shard that had no reader is
// passed over.
func TestChangeOfOrderWithUnreadShards(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedNATS(t).URL, nil)
	topic := unique(t)
	if _, err := d.EnsureTopic(t.Context(), driver.Topic{Name: topic, Shards: 2}); err != nil {
		t.Fatal(err)
	}
	msgs := manyTexts(20)
	if err := d.Publish(t.Context(), topic, msgs); err != nil {
		t.Fatal(err)
	}
	src := subscribe(t, d, ordered(topic))
	settle(t, src, driver.Ack, take(t, src, 10)...)
	closeSource(t, src)
	all := sub(topic)
	all.Window = 100
	plain := subscribe(t, d, all)
	unread := 10
	for unread > 0 {
		for _, m := range take(t, plain, 1) {
			if m.Shard == 1 {
				unread--
			}
			settle(t, plain, driver.Ack, m)
		}
	}
}

// TestDelayedInOrder: what is to wait holds up what follows it.
func TestDelayedInOrder(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedNATS(t).URL, nil)
	topic := unique(t)
	publish(t, d, topic, numbers(1, 4)...)
	src := subscribe(t, d, ordered(topic))
	held := take(t, src, 2)
	start := time.Now()
	nack := settlements(driver.Nack, held[0])
	nack[0].Delay = 400 * time.Millisecond
	if err := src.Settle(t.Context(), nack); err != nil {
		t.Fatal(err)
	}
	want(t, take(t, src, 3), "1", "3", "4")
	if took := time.Since(start); took < nack[0].Delay {
		t.Errorf("it came after %v, want not before %v", took, nack[0].Delay)
	}
}

// TestWindowIsTheServersToo: the consumer hands out no more than the window.
func TestWindowIsTheServersToo(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedNATS(t).URL, nil)
	topic := unique(t)
	src := subscribe(t, d, ordered(topic))
	cfg := consumerInfo(t, d, topic, "group@0").Config
	if cfg.MaxAckPending != 10 || cfg.PriorityPolicy != jetstream.PriorityPolicyPinned || cfg.MaxDeliver != -1 {
		t.Errorf("consumer is %+v", cfg)
	}
	closeSource(t, src)
	wider := ordered(topic)
	wider.Window = 20
	subscribe(t, d, wider)
	if cfg := consumerInfo(t, d, topic, "group@0").Config; cfg.MaxAckPending != 20 {
		t.Errorf("max_ack_pending is %d after a wider window, want 20", cfg.MaxAckPending)
	}
}

// TestTakeoverWithTrimmedMessages: what is gone from the stream is not waited for.
func TestTakeoverWithTrimmedMessages(t *testing.T) {
	t.Parallel()
	d, line := open(t, brokertest.SharedNATS(t).URL, nil)
	topic := unique(t)
	publish(t, d, topic, numbers(1, 5)...)
	take(t, subscribe(t, d, ordered(topic)), 3)
	line.cut(true)
	other, _ := open(t, brokertest.SharedNATS(t).URL, nil)
	stream, err := other.js.Stream(t.Context(), escapeName(topic))
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.DeleteMsg(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	want(t, take(t, subscribe(t, other, ordered(topic)), 4), "1", "3", "4", "5")
}

// TestReclaim gives back everything, of both kinds of groups.
func TestReclaim(t *testing.T) {
	t.Parallel()
	server := brokertest.NATS(t)
	d, line := open(t, server.URL, nil)
	topic := unique(t)
	publish(t, d, topic, numbers(1, 5)...)
	held := take(t, subscribe(t, d, sub(topic)), 4)
	settle(t, subscribeLike(t, held), driver.Ack, held[1])
	lease, err := d.Acquire(t.Context(), "scope", "name", "dead", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	line.cut(true)
	other, _ := open(t, server.URL, nil)
	if err := other.Reclaim(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := bodies(take(t, subscribe(t, other, sub(topic)), 4))
	slices.Sort(got)
	if !slices.Equal(got, []string{"1", "3", "4", "5"}) {
		t.Errorf("received %v, want all but what was acknowledged", got)
	}
	mine, err := other.Acquire(t.Context(), "scope", "name", "me", time.Hour)
	if err != nil || mine.Epoch <= lease.Epoch {
		t.Errorf("lease %+v, %v; want an epoch above %d", mine, err, lease.Epoch)
	}
}

// TestLeaseOfAZombie: who could not renew in time has lost the lease, though
// nobody took it.
func TestLeaseOfAZombie(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedNATS(t).URL, nil)
	scope := unique(t)
	l, err := d.Acquire(t.Context(), scope, "name", "me", 200*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	<-time.After(300 * time.Millisecond)
	lost, err := d.Renew(t.Context(), []driver.Lease{l})
	if err != nil || !slices.Equal(lost, []driver.Lease{l}) {
		t.Errorf("Renew after the end says %v, %v; want that it is lost", lost, err)
	}
	// A driver that does not know when it renewed last asks the server.
	if lost, err := newDriver(d.nc, d.o, false).Renew(context.WithoutCancel(t.Context()), []driver.Lease{l}); err != nil || len(lost) != 1 {
		t.Errorf("Renew of a lease that ended on the server says %v, %v; want that it is lost", lost, err)
	}
}
