package transport_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
)

// steal gives a lease to somebody else.
func (l *leases) steal(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held[name] = heldLease{driver.Lease{Name: name, Holder: "thief"}, time.Now().Add(time.Minute)}
}

func (l *leases) holder(name string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	has := l.held[name]
	if time.Now().After(has.until) {
		return ""
	}
	return has.Holder
}

func onShard(m *driver.Message, shard int) *driver.Message {
	m.Shard = shard
	return m
}

// A shard that is being released is still this member's: a drain that begins
// meanwhile must keep its lease until its handler is done.
func TestADrainWaitsForAReleaseThatIsUnderWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		table := newTable()
		var until time.Time
		fa, a := member(t, table, "a", func(ctx context.Context, _ *transport.Delivery) transport.Outcome {
			time.Sleep(time.Until(until))
			if ctx.Err() != nil {
				return transport.HandBack()
			}
			return transport.Done()
		})
		pass(time.Second)
		until = time.Now().Add(29 * time.Second)
		fa.source(3).push(onShard(message("1", "k"), 3))
		member(t, table, "b", nil)
		pass(10 * time.Second) // the release of shard 3 is under way
		a.stop()
		for time.Now().Before(until) {
			if got := table.holder("shard-3"); got != "a" {
				t.Fatalf("shard 3 is held by %q while the handler of a runs", got)
			}
			pass(time.Second)
		}
		if err := a.end(); err != nil {
			t.Errorf("answers %v", err)
		}
		wantOutcomes(t, fa.source(3), "1:ack")
	})
}

func TestAShardThatIsLostWhileItIsReleasedSettlesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		table := newTable()
		var cancelled time.Time
		fa, _ := member(t, table, "a", func(ctx context.Context, _ *transport.Delivery) transport.Outcome {
			select {
			case <-ctx.Done():
				cancelled = time.Now()
			case <-time.After(20 * time.Second):
			}
			return transport.Done()
		})
		pass(time.Second)
		fa.source(3).push(onShard(message("1", "k"), 3))
		member(t, table, "b", nil)
		pass(10 * time.Second)
		table.steal("shard-3")
		pass(4 * time.Second)
		if cancelled.IsZero() {
			t.Error("the handler goes on, though the shard is another's")
		}
		pass(20 * time.Second)
		wantOutcomes(t, fa.source(3))
	})
}

func TestASlowHandlerOfAShardThatMovedIsNoForcedEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		table := newTable()
		fa, a := member(t, table, "a", func(ctx context.Context, _ *transport.Delivery) transport.Outcome {
			<-ctx.Done()
			return transport.HandBack()
		})
		pass(time.Second)
		fa.source(3).push(onShard(message("1", "k"), 3))
		member(t, table, "b", nil)
		pass(2 * time.Minute)
		wantOutcomes(t, fa.source(3), "1:back")
		if err := a.end(); err != nil {
			t.Errorf("a clean drain, long after a shard was taken from a slow handler, answers %v", err)
		}
	})
}

// latent is a broker that takes its time to subscribe.
type latent struct{ *leased }

func (l latent) Subscribe(ctx context.Context, sub driver.Subscription) (driver.Source, error) {
	time.Sleep(10 * time.Millisecond)
	return l.leased.Subscribe(ctx, sub)
}

func TestAnIdleShardDoesNotStarveOthers(t *testing.T) {
	t.Parallel()
	for _, shards := range []int{4, 16, 40} {
		t.Run(fmt.Sprint(shards), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newLeased(newTable(), shards)
				wire := transport.New(latent{f}, nil)
				ctx, stop := context.WithCancel(t.Context())
				done := make(chan error, 1)
				o := &transport.SubscribeOptions{Order: transport.OrderKey, Window: 32, Concurrency: 4}
				go func() {
					done <- wire.Subscribe(ctx, "topic", func(context.Context, *transport.Delivery) transport.Outcome {
						return transport.Done()
					}, o)
				}()
				pass(time.Minute)
				busy := f.source(shards - 1)
				for i := range 100 {
					busy.push(onShard(message(fmt.Sprint(i), fmt.Sprint(i%7)), shards-1))
				}
				pass(time.Second)
				if got := len(busy.outcomes()); got != 100 || busy.most > 32 {
					t.Errorf("%d of 100 handled, %d at once", got, busy.most)
				}
				stop()
				if err := <-done; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestAnOrderedSubscribeAnswersAtOnceWhatWaitingCannotCure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := refusing{newLeased(newTable(), 1)}
		err := transport.New(f, nil).Subscribe(t.Context(), "topic", nil, &transport.SubscribeOptions{Order: transport.OrderKey})
		if !errors.Is(err, driver.ErrNotFound) || !strings.Contains(err.Error(), `"topic"`) {
			t.Errorf("answers %v", err)
		}
	})
}

type refusing struct{ *leased }

func (refusing) EnsureTopic(_ context.Context, t driver.Topic) (driver.Topic, error) {
	return t, driver.ErrNotFound
}

func TestAMemberWithShardsRunsAgainAfterTheLeasesWereAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		table := newTable()
		_, a := member(t, table, "a", nil)
		pass(time.Second)
		table.mu.Lock()
		table.down = errors.New("no answer")
		table.mu.Unlock()
		pass(4 * time.Second)
		if h := a.wire.Health()[0]; h.State != transport.Waiting || len(h.Shards) != 4 {
			t.Errorf("health %+v", h)
		}
		table.mu.Lock()
		table.down = nil
		table.mu.Unlock()
		pass(time.Minute)
		if h := a.wire.Health()[0]; h.State != transport.Running || len(h.Shards) != 4 {
			t.Errorf("health %+v", h)
		}
	})
}

func TestOneSourceNeverHasMoreThanItsWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newLeased(newTable(), 10)
		f.caps.MaxInFlight = 4
		wire := transport.New(f, nil)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- wire.Subscribe(ctx, "topic", func(context.Context, *transport.Delivery) transport.Outcome {
				time.Sleep(time.Second)
				return transport.Done()
			}, &transport.SubscribeOptions{Order: transport.OrderKey})
		}()
		busy := f.source(3)
		for i := range 20 {
			busy.push(onShard(message(fmt.Sprint(i), fmt.Sprint(i)), 3))
		}
		pass(20 * time.Second)
		if got := len(busy.outcomes()); got != 20 || busy.most > 4 {
			t.Errorf("%d of 20 handled, %d at once", got, busy.most)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// broken is a broker whose sources end at once.
type broken struct {
	*leased

	opened int
}

func (b *broken) Subscribe(ctx context.Context, sub driver.Subscription) (driver.Source, error) {
	b.opened++
	src, err := b.leased.Subscribe(ctx, sub)
	if err == nil {
		src.(*fakeSource).fail(driver.ErrClosed)
	}
	return src, err
}

func TestShardsWhoseSourcesEndAtOnceAreNotOpenedInALoop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &broken{newLeased(newTable(), 1), 0}
		wire := transport.New(f, nil)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- wire.Subscribe(ctx, "topic", nil, &transport.SubscribeOptions{Order: transport.OrderKey})
		}()
		pass(time.Minute)
		if f.opened < 5 || f.opened > 100 {
			t.Errorf("opened %d times in a minute", f.opened)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
