package transport_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
)

// journal is what handlers did, in order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Join(j.lines, " ")
}

func TestARetryOfARevokedShardIsHandedBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		subscribe(t, f, &transport.SubscribeOptions{Order: transport.OrderKey}, func(context.Context, *transport.Delivery) transport.Outcome {
			time.Sleep(time.Second)
			return transport.WaitInLane(time.Second)
		})
		revoked := make(chan struct{})
		m := message("1", "k")
		m.Revoked = revoked
		f.source(0).push(m)
		synctest.Wait()
		close(revoked)
		pass(2 * time.Second)
		wantOutcomes(t, f.source(0), "1:back")
	})
}

func TestHandlersOfARevokedShardAreCancelledAfterTheDrainTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		o := &transport.SubscribeOptions{DrainTimeout: 2 * time.Second}
		r := subscribe(t, f, o, func(ctx context.Context, d *transport.Delivery) transport.Outcome {
			if d.Envelope.ID == "2" {
				return transport.Done()
			}
			<-ctx.Done()
			return transport.HandBack()
		})
		revoked := make(chan struct{})
		m := message("1", "")
		m.Revoked = revoked
		f.source(0).push(m)
		synctest.Wait()
		close(revoked)
		pass(3 * time.Second)
		wantOutcomes(t, f.source(0), "1:back")
		f.source(0).push(message("2", ""))
		wantOutcomes(t, f.source(0), "1:back", "2:ack")
		if err := r.end(); err != nil {
			t.Errorf("a clean drain after that answers %v", err)
		}
	})
}

func TestNothingStartsAfterAbort(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		var log journal
		r := subscribe(t, f, &transport.SubscribeOptions{Order: transport.OrderKey}, func(ctx context.Context, d *transport.Delivery) transport.Outcome {
			log.add(d.Envelope.ID)
			if d.Envelope.ID == "1" {
				<-ctx.Done()
				return transport.HandBack()
			}
			return transport.Done()
		})
		f.source(0).push(message("1", "k"), message("2", "k"))
		synctest.Wait()
		r.wire.Abort()
		r.ended = true
		<-r.result
		if log.String() != "1" {
			t.Errorf("ran %v, want 1 only: 2 must not overtake it", &log)
		}
		wantOutcomes(t, f.source(0), "1:back", "2:back")
		r.stop()
	})
}

func TestAbortEndsASubscribeThatIsStillConnecting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &slowToOpen{fake: newFake()}
		wire := transport.New(f, nil)
		result := make(chan error, 1)
		go func() { result <- wire.Subscribe(context.WithoutCancel(t.Context()), "topic", nil, nil) }()
		synctest.Wait()
		wire.Abort()
		if err := <-result; err != nil {
			t.Error(err)
		}
	})
}

// slowToOpen is a broker that never answers Subscribe.
type slowToOpen struct{ *fake }

func (*slowToOpen) Subscribe(ctx context.Context, _ driver.Subscription) (driver.Source, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestHandBackDoesNotLetLaterMessagesOfTheKeyPass(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		var log journal
		subscribe(t, f, &transport.SubscribeOptions{Order: transport.OrderKey}, func(_ context.Context, d *transport.Delivery) transport.Outcome {
			log.add(fmt.Sprint(d.Envelope.ID, "/", d.Runs))
			if d.Runs == 0 && d.Envelope.ID == "1" {
				return transport.HandBack()
			}
			return transport.Done()
		})
		f.source(0).push(message("1", "k"), message("2", "k"))
		wantOutcomes(t, f.source(0), "1:ack", "2:ack")
		if log.String() != "1/0 1/1 2/0" {
			t.Errorf("ran %v", &log)
		}
	})
}

// A delivery that is lost comes again: the later ones of its key must not run
// before it, so all of the source goes back and comes in order.
func TestALostDeliveryIsNotOvertaken(t *testing.T) {
	t.Parallel()
	for name, waits := range map[string]bool{"waiting": true, "running": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				var log journal
				o := &transport.SubscribeOptions{Order: transport.OrderKey, Lease: 3 * time.Second}
				subscribe(t, f, o, func(ctx context.Context, d *transport.Delivery) transport.Outcome {
					log.add(d.Envelope.ID)
					if d.Envelope.ID == "1" && waits {
						return transport.WaitInLane(time.Hour)
					} else if d.Envelope.ID == "1" {
						<-ctx.Done()
					}
					return transport.Done()
				})
				src := f.source(0)
				src.extend = func([]driver.Token) ([]driver.Token, error) { return []driver.Token{"1"}, nil }
				src.push(message("1", "k"), message("2", "k"))
				pass(2 * time.Second)
				f.source(1).push(message("1'", "k"), message("2'", "k"))
				wantOutcomes(t, f.source(1), "1':ack", "2':ack")
				wantOutcomes(t, src)
				if log.String() != "1 1' 2'" {
					t.Errorf("ran %v", &log)
				}
			})
		})
	}
}

func TestWhatIsLostIsNotSettledAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		subscribe(t, f, &transport.SubscribeOptions{Lease: time.Second},
			func(context.Context, *transport.Delivery) transport.Outcome { return transport.Done() })
		src := f.source(0)
		var lost, after bool
		src.settle = func([]driver.Settlement) error {
			after = after || lost
			return errors.New("no answer")
		}
		src.extend = func(tokens []driver.Token) ([]driver.Token, error) {
			lost = true
			return tokens, nil
		}
		src.push(message("1", ""))
		pass(20 * time.Second)
		if !lost || after {
			t.Errorf("lost %v, settled after that %v", lost, after)
		}
	})
}

// A strict lane spans the shards of a source: when the first of it goes, somebody
// must look at the next.
func TestTheNextOfALaneStartsWhenTheFirstIsRevoked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		subscribe(t, f, &transport.SubscribeOptions{Order: transport.OrderStrict}, func(_ context.Context, d *transport.Delivery) transport.Outcome {
			if d.Envelope.ID == "1" {
				return transport.WaitInLane(time.Hour)
			}
			return transport.Done()
		})
		revoked := make(chan struct{})
		m := message("1", "")
		m.Revoked = revoked
		f.source(0).push(m, message("2", ""))
		synctest.Wait()
		close(revoked)
		wantOutcomes(t, f.source(0), "1:back", "2:ack")
	})
}

func TestFetchingGoesOnAfterTheReadyOnesWereHandedBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		o := &transport.SubscribeOptions{Concurrency: 2, Window: 64}
		open := make(chan struct{})
		subscribe(t, f, o, func(_ context.Context, d *transport.Delivery) transport.Outcome {
			switch {
			case strings.HasPrefix(d.Envelope.ID, "busy"):
				<-open
				return transport.WaitInLane(time.Hour)
			case strings.HasPrefix(d.Envelope.ID, "wait"):
				return transport.WaitInLane(time.Hour)
			}
			return transport.Done()
		})
		src := f.source(0)
		for i := range 56 {
			src.push(message(fmt.Sprint("wait", i), ""))
		}
		synctest.Wait()
		src.push(message("busy0", ""), message("busy1", ""))
		synctest.Wait()
		revoked := make(chan struct{})
		for i := range 6 {
			m := message(fmt.Sprint("gone", i), "")
			m.Revoked = revoked
			src.push(m)
		}
		synctest.Wait()
		close(revoked)
		synctest.Wait()
		src.push(message("last", ""))
		close(open)
		synctest.Wait()
		if got := src.outcomes(); !slices.Contains(got, "last:ack") {
			t.Errorf("settled %v, want last to be handled too", got)
		}
	})
}

func TestHealthNamesTheOtherBlockedKeyWhenOneIsFree(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		o := &transport.SubscribeOptions{Order: transport.OrderKey, Window: 16, LaneLimit: 2}
		r := subscribe(t, f, o, func(_ context.Context, d *transport.Delivery) transport.Outcome {
			if d.Runs > 0 {
				return transport.Done()
			}
			if d.Envelope.Key == "a" {
				return transport.WaitInLane(time.Second)
			}
			return transport.WaitInLane(time.Hour)
		})
		f.source(0).push(message("a1", "a"), message("a2", "a"), message("b1", "b"), message("b2", "b"))
		pass(10 * time.Second)
		if h := r.wire.Health()[0]; h.State != transport.Blocked || !strings.Contains(h.Reason, `"b"`) {
			t.Errorf("health %+v", h)
		}
	})
}

func TestAKeyThatFillsAWindowSmallerThanItsLaneIsShown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.caps.MaxInFlight = 4
		o := &transport.SubscribeOptions{Order: transport.OrderKey, LaneLimit: 100}
		r := subscribe(t, f, o, func(context.Context, *transport.Delivery) transport.Outcome { return transport.WaitInLane(time.Hour) })
		for i := range 10 {
			f.source(0).push(message(strconv.Itoa(i), "k"))
		}
		synctest.Wait()
		if h := r.wire.Health()[0]; h.State != transport.Blocked || h.InFlight != 4 {
			t.Errorf("health %+v", h)
		}
	})
}

func TestAnIdleSubscriptionRunsAgainAfterTheBrokerWasAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		r := subscribe(t, f, nil, func(context.Context, *transport.Delivery) transport.Outcome { return transport.Done() })
		f.source(0).fail(errors.New("no answer"))
		synctest.Wait()
		if h := r.wire.Health()[0]; h.State != transport.Waiting {
			t.Errorf("health %+v", h)
		}
		pass(time.Minute)
		if h := r.wire.Health()[0]; h.State != transport.Running {
			t.Errorf("nothing fails any more, and health is %+v", h)
		}
	})
}

// pausing is a fake whose sources can pause shards.
type pausing struct {
	*fakeSource

	calls chan []int
}

func (p *pausing) PauseShards(shards []int) { p.calls <- shards }

type pausingFake struct {
	*fake

	calls chan []int
}

func (f *pausingFake) Subscribe(ctx context.Context, sub driver.Subscription) (driver.Source, error) {
	src, err := f.fake.Subscribe(ctx, sub)
	if err != nil {
		return nil, err
	}
	return &pausing{src.(*fakeSource), f.calls}, nil
}

func TestShardsArePausedAndGoOnAlsoWhileTheSourceWaits(t *testing.T) {
	t.Parallel()
	for _, window := range []int{4, 5, 64} {
		t.Run(strconv.Itoa(window), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := &pausingFake{newFake(), make(chan []int, 100)}
				wire := transport.New(f, nil)
				ctx, stop := context.WithCancel(t.Context())
				done := make(chan error, 1)
				o := &transport.SubscribeOptions{Order: transport.OrderKey, Window: window, LaneLimit: 4}
				go func() {
					done <- wire.Subscribe(ctx, "topic", func(_ context.Context, d *transport.Delivery) transport.Outcome {
						if d.Runs == 0 && d.Envelope.ID == "0" {
							return transport.WaitInLane(time.Minute)
						}
						return transport.Done()
					}, o)
				}()
				for i := range 4 {
					m := message(strconv.Itoa(i), "k")
					m.Shard = 7
					f.source(0).push(m)
					synctest.Wait()
				}
				if got := drained(f.calls); got != "[7]" {
					t.Errorf("paused %v, want shard 7", got)
				}
				pass(2 * time.Minute)
				if got := drained(f.calls); got != "[]" {
					t.Errorf("paused %v, want none any more", got)
				}
				stop()
				if err := <-done; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// drained is the last of the calls.
func drained(calls chan []int) string {
	last := "none"
	for {
		select {
		case shards := <-calls:
			last = fmt.Sprint(shards)
		default:
			return last
		}
	}
}

func TestClosingAgainClosesTheDriverThatTheFirstCloseCouldNot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &closing{fake: newFake()}
		wire := transport.New(f, &transport.Options{OwnsDriver: true})
		done := make(chan error, 1)
		go func() {
			done <- wire.Subscribe(t.Context(), "topic", func(ctx context.Context, _ *transport.Delivery) transport.Outcome {
				<-ctx.Done()
				time.Sleep(time.Second)
				return transport.Done()
			}, nil)
		}()
		f.source(0).push(message("1", ""))
		synctest.Wait()
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := wire.Close(ended); err == nil || f.closed != 0 {
			t.Errorf("closed at once: %v", err)
		}
		<-done
		if err := errors.Join(wire.Close(t.Context()), wire.Close(t.Context())); err != nil || f.closed != 1 {
			t.Errorf("closed %d times, %v", f.closed, err)
		}
	})
}

type closing struct {
	*fake

	closed int
}

func (c *closing) Close(context.Context) error {
	c.closed++
	return nil
}

func TestAnEphemeralGroupIsNotMadeToStay(t *testing.T) {
	t.Parallel()
	f := newFake()
	if err := transport.New(f, nil).Join(t.Context(), "topic", &transport.SubscribeOptions{Ephemeral: true}); err != nil || len(f.sources) > 0 {
		t.Errorf("joined %d times, %v", len(f.sources), err)
	}
}

func TestASmallWindowLeavesRoomForOtherKeys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		subscribe(t, f, &transport.SubscribeOptions{Order: transport.OrderKey, Window: 4}, func(_ context.Context, d *transport.Delivery) transport.Outcome {
			if d.Envelope.Key == "slow" {
				time.Sleep(time.Hour)
			}
			return transport.Done()
		})
		f.source(0).push(message("1", "slow"))
		synctest.Wait()
		f.source(0).push(message("2", "a"), message("3", "b"))
		synctest.Wait()
		f.source(0).push(message("4", "c"))
		wantOutcomes(t, f.source(0), "2:ack", "3:ack", "4:ack")
		pass(time.Hour)
	})
}

// What a source knows to be wrong is in health for as long as it is, also while
// other messages flow.
func TestTroubleOfASourceShowsInHealth(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		r := subscribe(t, f, nil, func(context.Context, *transport.Delivery) transport.Outcome { return transport.Done() })
		src := f.source(0)
		tell := func(err error) {
			src.mu.Lock()
			defer src.mu.Unlock()
			src.trouble = err
		}
		tell(errors.New("partition 3 stands still"))
		if h := r.wire.Health()[0]; h.State != transport.Blocked || h.Reason != "partition 3 stands still" {
			t.Errorf("health %+v", h)
		}
		tell(nil)
		if h := r.wire.Health()[0]; h.State != transport.Running || h.Reason != "" {
			t.Errorf("nothing is wrong any more, and health is %+v", h)
		}
	})
}

// What the broker dropped is counted for as long as the subscription lives,
// whatever becomes of the sources that knew of it, and is told once.
func TestWhatTheBrokerDroppedIsCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		var mu sync.Mutex
		told := uint64(0)
		wire := transport.New(f, &transport.Options{Observe: func(e transport.Event) {
			mu.Lock()
			defer mu.Unlock()
			if e, ok := e.(transport.Vanished); ok && e.Topic == "topic" && e.Group == "topic" {
				told += e.Messages
			}
		}})
		ctx, stop := context.WithCancel(t.Context())
		result := make(chan error, 1)
		go func() {
			result <- wire.Subscribe(ctx, "topic", nil, &transport.SubscribeOptions{Group: "topic", Lease: 30 * time.Second})
		}()
		drop := func(source int, n uint64) {
			src := f.source(source)
			src.mu.Lock()
			defer src.mu.Unlock()
			src.dropped += n
		}
		wantVanished := func(health, events uint64) {
			t.Helper()
			mu.Lock()
			defer mu.Unlock()
			if h := wire.Health(); len(h) != 1 || h[0].Vanished != health || told != events {
				t.Errorf("health %+v, and %d were told of; want %d and %d", h, told, health, events)
			}
		}
		drop(0, 2)
		synctest.Wait()
		wantVanished(2, 0) // health looks itself
		pass(11 * time.Second)
		wantVanished(2, 2)
		pass(20 * time.Second)
		wantVanished(2, 2)
		drop(0, 1)
		f.source(0).fail(driver.ErrStale) // another source takes its place
		f.source(1)
		wantVanished(3, 3)
		drop(1, 4)
		pass(11 * time.Second)
		wantVanished(7, 7)
		stop()
		if err := <-result; err != nil {
			t.Error(err)
		}
	})
}
