package natsdriver

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/transport/driver"
)

func numbers(from, to int) []string {
	var list []string
	for i := from; i <= to; i++ {
		list = append(list, strconv.Itoa(i))
	}
	return list
}

// consumerInfo is what the server knows of the group.
func consumerInfo(t *testing.T, d *Driver, topic, consumer string) *jetstream.ConsumerInfo {
	t.Helper()
	c, err := d.js.Consumer(t.Context(), escapeName(topic), consumer)
	if err != nil {
		t.Fatal(err)
	}
	return c.CachedInfo()
}

// eventually polls a condition of the server.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for ctx := patience(t); !ok(); {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("%s: not in time", what)
		}
	}
}

// TestPullsStayWithinTheLimit: the server hands out no more than Receive asked for.
func TestPullsStayWithinTheLimit(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedNATS(t).URL, nil)
	topic := unique(t)
	publish(t, d, topic, numbers(1, 50)...)
	src := subscribe(t, d, sub(topic))
	for held := 0; held < 10; {
		held += len(take(t, src, min(3, 10-held)))
		if out := consumerInfo(t, d, topic, "group").NumAckPending; out > held {
			t.Errorf("%d deliveries are out, %d were received and no more asked for", out, held)
		}
	}
}

// TestPausedMember: what a pull brings to a member that has stopped receiving goes
// back, so that others get it.
func TestPausedMember(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedNATS(t).URL, nil)
	topic := unique(t)
	a, b := subscribe(t, d, sub(topic)), subscribe(t, d, sub(topic))
	publish(t, d, topic, "1")
	msgs, err := a.Receive(t.Context(), 10) // leaves a pull open
	if err != nil {
		t.Fatal(err)
	}
	want(t, msgs, "1")
	publish(t, d, topic, "2", "3")
	got := take(t, b, 2)
	settle(t, b, driver.Ack, got...)
	publish(t, d, topic, "4")
	want(t, take(t, a, 1), "4")
}

// TestDeletedConsumer is made again, from where the group was, and said once. What
// is held here does not come again; what was acknowledged since we looked does.
func TestDeletedConsumer(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedNATS(t).URL, nil)
	for name, s := range map[string]driver.Subscription{"group": sub(unique(t)), "group@0": ordered(unique(t))} {
		src := subscribe(t, d, s)
		publish(t, d, s.Topic, "1", "2")
		held := take(t, src, 2)
		settle(t, src, driver.Ack, held[0])
		if err := d.js.DeleteConsumer(t.Context(), escapeName(s.Topic), name); err != nil {
			t.Fatal(err)
		}
		publish(t, d, s.Topic, "3")
		errs, seen := 0, map[string]bool{}
		for ctx := patience(t); !seen["3"] || !seen["1"]; {
			msgs, err := src.Receive(ctx, 10)
			if ctx.Err() != nil {
				t.Fatalf("%s: received %v only", name, seen)
			}
			if err != nil {
				if !errors.Is(err, errRecreated) {
					t.Errorf("%s: error %v, want that the consumer was deleted", name, err)
				}
				errs++
			}
			for _, m := range msgs {
				seen[string(m.Body)] = true
			}
		}
		if errs != 1 || seen["2"] {
			t.Errorf("%s: %d errors, want the one; received %v, want nothing that is held", name, errs, seen)
		}
		settle(t, src, driver.Ack, held[1])
	}
}

// TestDeletedStream is an error of Receive, until somebody makes it again.
func TestDeletedStream(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedNATS(t).URL, nil)
	for _, s := range []driver.Subscription{sub(unique(t)), ordered(unique(t))} {
		src := subscribe(t, d, s)
		publish(t, d, s.Topic, numbers(1, 5)...)
		settle(t, src, driver.Ack, take(t, src, 5)...)
		if err := d.js.DeleteStream(t.Context(), escapeName(s.Topic)); err != nil {
			t.Fatal(err)
		}
		for ctx := patience(t); ; {
			_, err := src.Receive(ctx, 10)
			if errors.Is(err, driver.ErrNotFound) {
				break
			}
			if ctx.Err() != nil {
				t.Fatalf("Receive says %v, want ErrNotFound", err)
			}
		}
		_ = d.Publish(t.Context(), s.Topic, texts("lost, and said so")) // finds out that the stream is gone
		publish(t, d, s.Topic, "new")
		for _, m := range take(t, src, 1) {
			if m.Seq > 2 || !slices.Contains([]string{"new", "lost, and said so"}, string(m.Body)) {
				t.Errorf("received %q at %d", m.Body, m.Seq)
			}
		}
	}
}

// TestSlowSettle: an acknowledgement after the lease is refused here, as the
// server would take it.
func TestSlowSettle(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedNATS(t).URL, nil)
	topic := unique(t)
	s := sub(topic)
	s.Lease = 300 * time.Millisecond
	src := subscribe(t, d, s)
	publish(t, d, topic, "1")
	held := take(t, src, 1)
	<-time.After(s.Lease)
	err := src.Settle(t.Context(), settlements(driver.Ack, held...))
	if !errors.Is(err, driver.ErrStale) {
		t.Errorf("Settle after the lease: %v, want ErrStale", err)
	}
	again := take(t, src, 1)
	want(t, again, "1")
	settle(t, src, driver.Ack, again...)
}

// TestSettleWithoutConnection fails, to be called again: the server would not know.
func TestSettleWithoutConnection(t *testing.T) {
	t.Parallel()
	server := brokertest.NATS(t)
	d, _ := open(t, server.URL, nil)
	topic := unique(t)
	src := subscribe(t, d, sub(topic))
	publish(t, d, topic, "1")
	held := take(t, src, 1)
	server.Stop(t)
	if err := src.Settle(t.Context(), settlements(driver.Ack, held...)); err == nil || errors.Is(err, driver.ErrStale) {
		t.Errorf("Settle without a server: %v, want an error that passes", err)
	}
	if lost, err := src.Extend(t.Context(), []driver.Token{held[0].Token}); err == nil || len(lost) > 0 {
		t.Errorf("Extend without a server: %v lost and error %v, want that nothing is known", lost, err)
	}
	server.Start(t)
	eventually(t, "settled", func() bool { return src.Settle(t.Context(), settlements(driver.Ack, held...)) == nil })
	if out := consumerInfo(t, d, topic, "group").NumAckPending; out != 0 {
		t.Errorf("%d deliveries are out after the acknowledgement", out)
	}
}

// TestKilledServer: it forgets what it was told in its last tenth of a second.
// Nothing gets lost, and what is held here does not come a second time.
func TestKilledServer(t *testing.T) {
	t.Parallel()
	server := brokertest.NATS(t)
	d, _ := open(t, server.URL, nil)
	for _, s := range []driver.Subscription{sub(unique(t)), ordered(unique(t))} {
		src := subscribe(t, d, s)
		publish(t, d, s.Topic, numbers(1, 8)...)
		held := take(t, src, 4) // the server has not written this down when it dies
		server.Kill(t)
		server.Start(t)
		want(t, take(t, src, 4), "5", "6", "7", "8")
		eventually(t, "settled", func() bool {
			err := src.Settle(t.Context(), settlements(driver.Ack, held...))
			if errors.Is(err, driver.ErrStale) {
				t.Fatalf("the server's death took the lease: %v", err)
			}
			return err == nil
		})
		eventually(t, "four are out", func() bool {
			info := consumerInfo(t, d, s.Topic, src.(*source).consumer)
			return info.NumAckPending == 4 && info.AckFloor.Stream == 4
		})
	}
}

// TestSubscriptionsThatAreRefused name what is wrong.
func TestSubscriptionsThatAreRefused(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedNATS(t).URL, nil)
	topic := unique(t)
	if _, err := d.EnsureTopic(t.Context(), driver.Topic{Name: topic, Shards: 2}); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*driver.Subscription){
		"lease":          func(s *driver.Subscription) { s.Lease = 0 },
		"window":         func(s *driver.Subscription) { s.Window = 0 },
		"without a name": func(s *driver.Subscription) { s.Group = "" },
		"2 shards in":    func(s *driver.Subscription) { s.Ordered, s.Shards = true, []int{0, 1} },
		"has 2 shards":   func(s *driver.Subscription) { s.Ordered, s.Shards = true, []int{2} },
		"it reads all":   func(s *driver.Subscription) { s.Shards = []int{1} },
	} {
		s := sub(topic)
		change(&s)
		if _, err := d.Subscribe(t.Context(), s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one that says %q", err, want)
		}
	}
}

// TestEphemeralGroup leaves nothing on the server.
func TestEphemeralGroup(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedNATS(t).URL, nil)
	topic := unique(t)
	publish(t, d, topic, "old")
	s := sub(topic)
	s.Ephemeral, s.Start.At = true, driver.StartNow
	src := subscribe(t, d, s)
	publish(t, d, topic, "new")
	want(t, take(t, src, 1), "new")
	closeSource(t, src)
	if _, err := d.js.Consumer(t.Context(), escapeName(topic), "group"); !errors.Is(err, jetstream.ErrConsumerNotFound) {
		t.Errorf("the consumer is still there: %v", err)
	}
}

// TestDisconnectIsSaid: Receive tells that the connection is lost, and goes on.
func TestDisconnectIsSaid(t *testing.T) {
	t.Parallel()
	server := brokertest.NATS(t)
	d, _ := open(t, server.URL, nil)
	topic := unique(t)
	src := subscribe(t, d, sub(topic))
	server.Stop(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var err error
	for !errors.Is(err, errDisconnected) {
		if _, err = src.Receive(ctx, 1); err == nil || ctx.Err() != nil {
			t.Fatalf("Receive without a server: %v", err)
		}
	}
	server.Start(t)
	publish(t, d, topic, "1")
	want(t, take(t, src, 1), "1")
}
