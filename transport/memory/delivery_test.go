package memory_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/memory"
)

// leased opens a source with a lease of a minute on a topic with the messages
// 1 to 4.
func leased(t *testing.T) (*memory.Broker, driver.Source) {
	t.Helper()
	b, src := open(t, nil, driver.Subscription{Topic: "t", Group: "g", Lease: time.Minute})
	publish(t, b, "t", texts(1, 4)...)
	return b, src
}

func TestExpiredComesFirstAndCounts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, src := leased(t)
		start := time.Now()
		receive(t, src, 2)
		<-time.After(time.Minute)
		synctest.Wait()
		again := want(t, receive(t, src, 3), "1 2 3")
		if d := again[0].Deliveries + again[1].Deliveries + again[2].Deliveries; d != 5 {
			t.Errorf("deliveries are %d together, want 2+2+1", d)
		}
		if took := time.Since(start); took != time.Minute {
			t.Errorf("took %v, want the lease", took)
		}
		want(t, receive(t, src, 10), "4")
	})
}

func TestExpiredCanBeKeptUntilTaken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, src := leased(t)
		held := receive(t, src, 4)
		<-time.After(2 * time.Minute)
		synctest.Wait()
		lost, err := src.Extend(t.Context(), []driver.Token{held[0].Token})
		must(t, err)
		if len(lost) > 0 {
			t.Errorf("Extend says that a lease is lost which nobody has taken")
		}
		ack(t, src, held[1])
		must(t, settle(src, driver.HandBack, 0, held[3]))
		other := subscribe(t, b, driver.Subscription{Topic: "t", Group: "g", Lease: time.Minute})
		ack(t, other, want(t, receive(t, other, 10), "3 4")...)
		quiet(t, other, 59*time.Second)
		want(t, receive(t, other, 10), "1")
	})
}

func TestStaleTokens(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		lose func(t *testing.T, b *memory.Broker, src driver.Source, m *driver.Message) *driver.Message // returns what is stale
	}{
		{"settled", func(t *testing.T, _ *memory.Broker, src driver.Source, m *driver.Message) *driver.Message {
			t.Helper()
			ack(t, src, m)
			return m
		}},
		{"given back", func(t *testing.T, _ *memory.Broker, src driver.Source, m *driver.Message) *driver.Message {
			t.Helper()
			must(t, settle(src, driver.Nack, time.Hour, m))
			return m
		}},
		{"expired and taken by itself", func(t *testing.T, _ *memory.Broker, src driver.Source, m *driver.Message) *driver.Message {
			t.Helper()
			<-time.After(time.Minute)
			synctest.Wait()
			want(t, receive(t, src, 1), "1")
			return m
		}},
		{"source closed", func(t *testing.T, _ *memory.Broker, src driver.Source, m *driver.Message) *driver.Message {
			t.Helper()
			must(t, src.Close(t.Context()))
			return m
		}},
		{"of another source", func(t *testing.T, b *memory.Broker, _ driver.Source, _ *driver.Message) *driver.Message {
			t.Helper()
			return receive(t, subscribe(t, b, driver.Subscription{Topic: "t", Group: "g"}), 1)[0]
		}},
		{"of another driver", func(*testing.T, *memory.Broker, driver.Source, *driver.Message) *driver.Message {
			return &driver.Message{Token: "x"}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b, src := leased(t)
				stale := test.lose(t, b, src, receive(t, src, 1)[0])
				for _, o := range []driver.Outcome{driver.Ack, driver.Nack, driver.HandBack} {
					var failed driver.BatchError
					if err := settle(src, o, 0, stale); !errors.As(err, &failed) || !errors.Is(failed[0], driver.ErrStale) {
						t.Errorf("Settle: %v, want a BatchError with ErrStale", err)
					}
				}
				lost, err := src.Extend(t.Context(), []driver.Token{stale.Token})
				must(t, err)
				if len(lost) != 1 || lost[0] != stale.Token {
					t.Errorf("Extend says that %v are lost, want the token", lost)
				}
			})
		})
	}
}

func TestSettleTwiceInOneCall(t *testing.T) {
	t.Parallel()
	b, src := open(t, nil, driver.Subscription{Topic: "t", Group: "g"})
	publish(t, b, "t", texts(1, 2)...)
	held := receive(t, src, 2)
	var failed driver.BatchError
	if err := settle(src, driver.Ack, 0, held[0], held[0], held[1]); !errors.As(err, &failed) || len(failed) != 1 || failed[1] == nil {
		t.Errorf("Settle: %v, want index 1 to fail", err)
	}
	publish(t, b, "t", texts(3, 3)...)
	held = receive(t, src, 2)
	if err := settle(src, 9, 0, held...); err == nil || errors.Is(err, driver.ErrStale) {
		t.Errorf("Settle with outcome 9: %v", err)
	}
	ack(t, src, held...)
}

func TestDelayedNackWaitsByItself(t *testing.T) {
	t.Parallel()
	for _, ordered := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			b, src := open(t, nil, driver.Subscription{Topic: "t", Group: "g", Ordered: ordered})
			publish(t, b, "t", texts(1, 3)...)
			start := time.Now()
			held := receive(t, src, 2)
			must(t, settle(src, driver.Nack, time.Hour, held[0]))
			must(t, settle(src, driver.Nack, time.Minute, held[1]))
			ack(t, src, want(t, receive(t, src, 10), "3")...)
			ack(t, src, want(t, receive(t, src, 10), "2")...)
			if took := time.Since(start); took != time.Minute {
				t.Errorf("2 came after %v, want 1m", took)
			}
			ack(t, src, want(t, receive(t, src, 10), "1")...)
			if took := time.Since(start); took != time.Hour {
				t.Errorf("1 came after %v, want 1h", took)
			}
		})
	}
}

func TestOrderedReaderIsTakenOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBroker(t, nil)
		_, err := b.EnsureTopic(t.Context(), driver.Topic{Name: "t", Shards: 2})
		must(t, err)
		reader := func(shard int) driver.Source {
			return subscribe(t, b, driver.Subscription{Topic: "t", Group: "g", Ordered: true, Shards: []int{shard}})
		}
		old, beside := reader(0), reader(1)
		publish(t, b, "t", texts(1, 8)...) // in turn: the even ones to shard 0
		held := want(t, receive(t, old, 3), "2 4 6")
		ack(t, old, held[1])
		theirs := want(t, receive(t, beside, 10), "1 3 5 7")

		successor := reader(0)
		want(t, receive(t, successor, 10), "2 6 8")
		if _, err := old.Receive(t.Context(), 1); !errors.Is(err, driver.ErrStale) {
			t.Errorf("Receive of the former reader: %v, want ErrStale", err)
		}
		if err := settle(old, driver.Ack, 0, held[0]); !errors.Is(err, driver.ErrStale) {
			t.Errorf("Settle of the former reader: %v, want ErrStale", err)
		}
		must(t, old.Close(t.Context()))
		ack(t, beside, theirs...)
		quiet(t, successor, time.Second)
	})
}

func TestTakeOverEndsAWaitingReader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sub := driver.Subscription{Topic: "t", Group: "g", Ordered: true}
		b, old := open(t, nil, sub)
		ended := make(chan error, 1)
		go func() { _, err := old.Receive(t.Context(), 1); ended <- err }()
		synctest.Wait()
		subscribe(t, b, sub)
		if err := <-ended; !errors.Is(err, driver.ErrStale) {
			t.Errorf("Receive of the former reader: %v, want ErrStale", err)
		}
	})
}

func TestDeliverAt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, src := open(t, nil, driver.Subscription{Topic: "t", Group: "g"})
		start := time.Now()
		msgs := texts(1, 5)
		for i, wait := range []time.Duration{time.Hour, time.Minute, time.Minute, -time.Minute} {
			msgs[i].DeliverAt = start.Add(wait)
		}
		msgs[4].DeliverAt = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
		publish(t, b, "t", msgs...)
		ack(t, src, want(t, receive(t, src, 10), "4")...)
		got := want(t, receive(t, src, 10), "2 3")
		if took := time.Since(start); took != time.Minute {
			t.Errorf("2 and 3 came after %v, want 1m", took)
		}
		if !got[0].Published.Equal(start) || !got[0].DeliverAt.Equal(msgs[1].DeliverAt) {
			t.Errorf("published at %v and due at %v, want %v and %v", got[0].Published, got[0].DeliverAt, start, msgs[1].DeliverAt)
		}
		ack(t, src, got[1])
		lag, err := b.Lag(t.Context(), "t", "g")
		must(t, err)
		if lag.Waiting != 2 || lag.Pending != 1 || !lag.Oldest.Equal(start) {
			t.Errorf("lag is %+v, want 2 that are not due and 1 pending, since %v", lag, start)
		}
	})
}

func TestStartPositions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBroker(t, nil)
		subscribe(t, b, driver.Subscription{Topic: "t", Group: "keeper"})
		begin := time.Now()
		for _, m := range texts(1, 3) {
			publish(t, b, "t", m)
			<-time.After(time.Minute)
		}
		late := texts(4, 4)
		late[0].DeliverAt = begin.Add(10 * time.Minute)
		publish(t, b, "t", late...)
		<-time.After(10 * time.Minute)
		synctest.Wait()
		for _, test := range []struct {
			start  driver.Start
			bodies string
		}{
			{driver.Start{}, "1 2 3 4"},
			{driver.Start{At: driver.StartNow}, ""},
			{driver.Start{At: driver.StartTime}, "1 2 3 4"},
			{driver.Start{At: driver.StartTime, Time: begin.Add(time.Minute)}, "2 3 4"},
			{driver.Start{At: driver.StartTime, Time: begin.Add(61 * time.Second)}, "3 4"},
			{driver.Start{At: driver.StartTime, Time: begin.Add(10 * time.Minute)}, "4"},
			{driver.Start{At: driver.StartTime, Time: begin.Add(time.Hour)}, ""},
		} {
			src := subscribe(t, b, driver.Subscription{Topic: "t", Group: "g", Start: test.start, Ephemeral: true})
			if test.bodies == "" {
				quiet(t, src, time.Second)
			} else {
				want(t, receive(t, src, 10), test.bodies)
			}
			must(t, src.Close(t.Context()))
		}
	})
}

func TestSubscribeRefuses(t *testing.T) {
	t.Parallel()
	b := newBroker(t, nil)
	for _, sub := range []driver.Subscription{
		{Group: "g"}, {Topic: "t"}, {Topic: "t", Group: "g", Shards: []int{1}}, {Topic: "t", Group: "g", Shards: []int{-1}},
	} {
		if _, err := b.Subscribe(t.Context(), sub); err == nil {
			t.Errorf("Subscribe(%+v) succeeded", sub)
		}
	}
}

func TestLeaseOfAShardThatEndedIsLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBroker(t, nil)
		l, err := b.Acquire(t.Context(), "s", "n", "me", time.Minute)
		must(t, err)
		<-time.After(time.Minute)
		lost, err := b.Renew(t.Context(), []driver.Lease{l})
		must(t, err)
		if len(lost) != 1 {
			t.Errorf("Renew of a lease that has ended says %v are lost, want it", lost)
		}
		if _, err := b.Acquire(t.Context(), "s", "n", "me", 0); err == nil {
			t.Error("Acquire with a ttl of 0 succeeded")
		}
	})
}
