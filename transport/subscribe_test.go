package transport_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
)

// pass lets virtual time go by, and everything that is due in it happen.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func wantOutcomes(t *testing.T, s *fakeSource, want ...string) {
	t.Helper()
	synctest.Wait()
	got := s.outcomes()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("settled %v, want %v", got, want)
	}
}

func TestDoneIsAcknowledged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		var got transport.Delivery
		r := subscribe(t, f, &transport.SubscribeOptions{Group: "g"}, func(_ context.Context, d *transport.Delivery) transport.Outcome {
			got = *d
			return transport.Done()
		})
		f.source(0).push(message("1", "k"))
		wantOutcomes(t, f.source(0), "1:ack")
		if got.Envelope.ID != "1" || got.Topic != "topic" || got.Group != "g" || got.Runs != 0 {
			t.Errorf("delivered %+v", got)
		}
		if err := r.end(); err != nil {
			t.Errorf("a clean drain answers %v", err)
		}
	})
}

func TestAFullWindowStopsFetching(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		open := make(chan struct{})
		o := &transport.SubscribeOptions{Concurrency: 2, Window: 5}
		subscribe(t, f, o, func(context.Context, *transport.Delivery) transport.Outcome {
			<-open
			return transport.Done()
		})
		src := f.source(0)
		for i := range 20 {
			src.push(message(strconv.Itoa(i), ""))
		}
		synctest.Wait()
		if src.out != 5 {
			t.Errorf("%d fetched at once, want the window of 5", src.out)
		}
		close(open)
		synctest.Wait()
		if src.most > 5 || len(src.settled) != 20 {
			t.Errorf("most in flight %d, settled %d", src.most, len(src.settled))
		}
	})
}

func TestSlotsAreFreeOnlyAfterSettling(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		held := make(chan struct{})
		subscribe(t, f, &transport.SubscribeOptions{Concurrency: 1, Window: 1},
			func(context.Context, *transport.Delivery) transport.Outcome { return transport.Done() })
		src := f.source(0)
		src.mu.Lock()
		src.settle = func([]driver.Settlement) error {
			src.mu.Unlock()
			<-held
			src.mu.Lock()
			return nil
		}
		src.mu.Unlock()
		src.push(message("1", ""), message("2", ""))
		synctest.Wait()
		if src.out != 1 {
			t.Errorf("%d in flight while the first settles, want 1", src.out)
		}
		close(held)
		wantOutcomes(t, src, "1:ack", "2:ack")
	})
}

func TestConcurrencyIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		var mu sync.Mutex
		running, most := 0, 0
		subscribe(t, f, &transport.SubscribeOptions{Concurrency: 3},
			func(context.Context, *transport.Delivery) transport.Outcome {
				mu.Lock()
				running++
				most = max(most, running)
				mu.Unlock()
				time.Sleep(time.Second)
				mu.Lock()
				running--
				mu.Unlock()
				return transport.Done()
			})
		for i := range 12 {
			f.source(0).push(message(strconv.Itoa(i), ""))
		}
		began := time.Now()
		for len(f.source(0).outcomes()) < 12 {
			time.Sleep(100 * time.Millisecond)
		}
		if took := time.Since(began).Round(time.Second); most != 3 || took != 4*time.Second {
			t.Errorf("%d at once, done in %v; want 3 and 4s", most, took)
		}
	})
}

func TestKeysKeepTheirOrderAndRunBesideEachOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		var mu sync.Mutex
		var log []string
		subscribe(t, f, &transport.SubscribeOptions{Order: transport.OrderKey},
			func(_ context.Context, d *transport.Delivery) transport.Outcome {
				if d.Envelope.ID == "a1" {
					time.Sleep(time.Second)
				}
				mu.Lock()
				defer mu.Unlock()
				log = append(log, d.Envelope.ID)
				return transport.Done()
			})
		f.source(0).push(message("a1", "a"), message("a2", "a"), message("b1", "b"), message("n1", ""))
		pass(2 * time.Second)
		synctest.Wait()
		if got := strings.Join(log[2:], " "); got != "a1 a2" {
			t.Errorf("order %v, want b1 and n1 before a1, a2", log)
		}
	})
}

func TestStrictRunsOneAfterTheOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		var log []string
		subscribe(t, f, &transport.SubscribeOptions{Order: transport.OrderStrict, Concurrency: 8},
			func(_ context.Context, d *transport.Delivery) transport.Outcome {
				log = append(log, d.Envelope.ID) // the race detector watches
				return transport.Done()
			})
		var want []string
		for i := range 100 {
			id := strconv.Itoa(i)
			want = append(want, id)
			f.source(0).push(message(id, strconv.Itoa(i%7)))
		}
		synctest.Wait()
		if !slices.Equal(log, want) {
			t.Errorf("ran %v", log)
		}
	})
}

func TestARetryWaitsInItsLane(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		var log []string
		var mu sync.Mutex
		began := time.Now()
		subscribe(t, f, &transport.SubscribeOptions{Order: transport.OrderKey},
			func(_ context.Context, d *transport.Delivery) transport.Outcome {
				mu.Lock()
				defer mu.Unlock()
				log = append(log, fmt.Sprintf("%s/%d@%v", d.Envelope.ID, d.Runs, time.Since(began).Round(time.Second)))
				if d.Envelope.ID == "a1" && d.Runs < 2 {
					d.State = d.Runs
					return transport.RedeliverAfter(10*time.Second, 1) // order: it means the lane
				}
				return transport.Done()
			})
		f.source(0).push(message("a1", "a"), message("a2", "a"), message("b1", "b"))
		pass(time.Minute)
		if got := strings.Join(log[2:], " "); got != "a1/1@10s a1/2@20s a2/0@20s" {
			t.Errorf("ran %v", log)
		}
		wantOutcomes(t, f.source(0), "a1:ack", "a2:ack", "b1:ack")
	})
}

func TestARetryWithoutOrderGoesThroughTheBroker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		subscribe(t, f, nil, func(_ context.Context, d *transport.Delivery) transport.Outcome {
			if d.Envelope.ID == "1" {
				return transport.RedeliverAfter(3*time.Second, 1)
			}
			return transport.HandBack()
		})
		f.source(0).push(message("1", ""), message("2", ""))
		wantOutcomes(t, f.source(0), "1:nack:3s", "2:back")
	})
}

func TestWithoutDelayedNackARetryWaitsHere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.caps.DelayedNack = false
		subscribe(t, f, nil, func(_ context.Context, d *transport.Delivery) transport.Outcome {
			if d.Runs == 0 {
				return transport.RedeliverAfter(3*time.Second, 1)
			}
			return transport.Done()
		})
		f.source(0).push(message("1", ""))
		pass(2 * time.Second)
		wantOutcomes(t, f.source(0))
		pass(2 * time.Second)
		wantOutcomes(t, f.source(0), "1:ack")
	})
}

func TestLeasesAreRenewedAlsoForWhatWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		subscribe(t, f, &transport.SubscribeOptions{Concurrency: 1, Lease: 3 * time.Second},
			func(context.Context, *transport.Delivery) transport.Outcome {
				time.Sleep(5500 * time.Millisecond)
				return transport.Done()
			})
		f.source(0).push(message("1", ""), message("2", ""))
		pass(5200 * time.Millisecond)
		if got := f.source(0).beats; len(got) != 5 || slices.Min(got) != 2 {
			t.Errorf("beats %v, want 5 with both deliveries", got)
		}
	})
}

func TestALostLeaseCancelsAndSettlesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		var cause error
		subscribe(t, f, &transport.SubscribeOptions{Lease: 3 * time.Second},
			func(ctx context.Context, d *transport.Delivery) transport.Outcome {
				if d.Envelope.ID == "1" {
					<-ctx.Done()
					cause = context.Cause(ctx)
				}
				return transport.Done()
			})
		src := f.source(0)
		src.extend = func(tokens []driver.Token) ([]driver.Token, error) { return tokens, nil }
		src.push(message("1", ""))
		pass(4 * time.Second)
		src.push(message("2", ""))
		wantOutcomes(t, src, "2:ack")
		if !errors.Is(cause, envelope.LeaseLost) {
			t.Errorf("cause %v, want %v", cause, envelope.LeaseLost)
		}
	})
}

func TestWhatTheBrokerDoesNotRenewIsLostAfterALease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		began := time.Now()
		var after time.Duration
		subscribe(t, f, &transport.SubscribeOptions{Lease: 3 * time.Second},
			func(ctx context.Context, _ *transport.Delivery) transport.Outcome {
				<-ctx.Done()
				after = time.Since(began)
				return transport.Done()
			})
		src := f.source(0)
		src.extend = func([]driver.Token) ([]driver.Token, error) { return nil, errors.New("no answer") }
		src.push(message("1", ""))
		pass(10 * time.Second)
		wantOutcomes(t, src)
		if after < 3*time.Second || after > 4*time.Second {
			t.Errorf("cancelled after %v, want a lease of 3s and at most a beat", after)
		}
	})
}

func TestSettlingIsRepeatedUnlessItIsStale(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		subscribe(t, f, nil, func(context.Context, *transport.Delivery) transport.Outcome { return transport.Done() })
		src := f.source(0)
		calls := 0
		src.settle = func(batch []driver.Settlement) error {
			if calls++; calls > 1 {
				return nil
			}
			if len(batch) != 1 {
				return errors.New("no answer")
			}
			return driver.BatchError{0: fmt.Errorf("late: %w", driver.ErrStale)}
		}
		src.push(message("1", ""))
		synctest.Wait()
		src.settle, calls = func([]driver.Settlement) error {
			if calls++; calls > 3 {
				return nil
			}
			return errors.New("no answer")
		}, 0
		src.push(message("2", ""))
		pass(10 * time.Second)
		wantOutcomes(t, src, "2:ack")
	})
}

func TestDrainHandsBackWhatHasNotStarted(t *testing.T) {
	t.Parallel()
	for _, order := range []transport.Order{transport.OrderNone, transport.OrderKey} {
		t.Run(fmt.Sprint(order), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				r := subscribe(t, f, &transport.SubscribeOptions{Concurrency: 2, Order: order},
					func(ctx context.Context, d *transport.Delivery) transport.Outcome {
						if d.Envelope.ID == "w" {
							return transport.WaitInLane(time.Hour)
						}
						time.Sleep(10 * time.Second)
						if ctx.Err() != nil {
							return transport.HandBack()
						}
						return transport.Done()
					})
				src := f.source(0)
				src.push(message("w", "w"))
				synctest.Wait()
				src.push(message("1", "k"), message("2", "k"), message("3", "l"), message("4", "l"))
				synctest.Wait()
				began := time.Now()
				if err := r.end(); err != nil {
					t.Errorf("a clean drain answers %v", err)
				}
				if took := time.Since(began); took > 11*time.Second {
					t.Errorf("drained in %v", took)
				}
				if order == transport.OrderNone {
					wantOutcomes(t, src, "w:back", "1:ack", "2:ack", "3:back", "4:back")
				} else {
					wantOutcomes(t, src, "w:back", "1:ack", "2:back", "3:ack", "4:back")
				}
			})
		})
	}
}

func TestDrainCancelsAfterItsTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		var cause error
		r := subscribe(t, f, &transport.SubscribeOptions{DrainTimeout: 2 * time.Second},
			func(ctx context.Context, _ *transport.Delivery) transport.Outcome {
				<-ctx.Done()
				cause = context.Cause(ctx)
				return transport.RedeliverAfter(time.Hour, 1)
			})
		f.source(0).push(message("1", ""))
		synctest.Wait()
		began := time.Now()
		err := r.end()
		if took := time.Since(began); !errors.Is(err, transport.ErrForced) || took != 2*time.Second {
			t.Errorf("answers %v after %v", err, took)
		}
		if !errors.Is(cause, transport.ErrDraining) {
			t.Errorf("cause %v", cause)
		}
		wantOutcomes(t, f.source(0), "1:back")
	})
}

func TestAHandlerThatNeverReturnsDoesNotHoldUpTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		hang := make(chan struct{})
		r := subscribe(t, f, &transport.SubscribeOptions{DrainTimeout: time.Second},
			func(context.Context, *transport.Delivery) transport.Outcome {
				<-hang
				return transport.Done()
			})
		f.source(0).push(message("1", ""))
		synctest.Wait()
		began := time.Now()
		if err := r.end(); !errors.Is(err, transport.ErrForced) {
			t.Errorf("answers %v", err)
		}
		if took := time.Since(began); took > 12*time.Second {
			t.Errorf("ended after %v", took)
		}
		close(hang)
		wantOutcomes(t, f.source(0))
	})
}

func TestAbortCancelsAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		var cause error
		r := subscribe(t, f, nil, func(ctx context.Context, _ *transport.Delivery) transport.Outcome {
			<-ctx.Done()
			cause = context.Cause(ctx)
			return transport.WaitInLane(time.Second)
		})
		f.source(0).push(message("1", ""))
		synctest.Wait()
		began := time.Now()
		r.wire.Abort()
		r.ended = true
		if err := <-r.result; !errors.Is(err, transport.ErrForced) || time.Since(began) > 0 {
			t.Errorf("answers %v after %v", err, time.Since(began))
		}
		if !errors.Is(cause, transport.ErrAborted) {
			t.Errorf("cause %v", cause)
		}
		wantOutcomes(t, f.source(0), "1:back")
		r.stop()
	})
}

func TestAFullLaneStopsItsShardAndSaysWhichKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		var broken atomic.Bool
		broken.Store(true)
		r := subscribe(t, f, &transport.SubscribeOptions{Order: transport.OrderKey, Window: 16, LaneLimit: 4},
			func(_ context.Context, d *transport.Delivery) transport.Outcome {
				if d.Envelope.Key == "bad" && broken.Load() {
					return transport.WaitInLane(time.Second)
				}
				return transport.Done()
			})
		src := f.source(0)
		for i := range 10 {
			src.push(message(strconv.Itoa(i), "bad"))
			synctest.Wait()
		}
		src.push(message("good", "good"))
		synctest.Wait()
		if h := r.wire.Health()[0]; h.State != transport.Blocked || !strings.Contains(h.Reason, `"bad"`) || h.InFlight > 5 {
			t.Errorf("health %+v", h)
		}
		broken.Store(false)
		pass(5 * time.Second)
		synctest.Wait()
		if h := r.wire.Health()[0]; h.State != transport.Running || h.InFlight != 0 {
			t.Errorf("health %+v", h)
		}
		if got := len(src.outcomes()); got != 11 {
			t.Errorf("%d settled, want 11", got)
		}
	})
}

func TestABrokerThatFailsIsAskedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		r := subscribe(t, f, nil, func(context.Context, *transport.Delivery) transport.Outcome { return transport.Done() })
		src := f.source(0)
		for range 3 {
			src.fail(errors.New("no answer"))
		}
		synctest.Wait()
		if h := r.wire.Health()[0]; h.State != transport.Waiting || h.Reason != "no answer" {
			t.Errorf("health %+v", h)
		}
		src.push(message("1", ""))
		pass(20 * time.Second)
		wantOutcomes(t, src, "1:ack")
		if h := r.wire.Health()[0]; h.State != transport.Running {
			t.Errorf("health %+v", h)
		}
	})
}

func TestASourceThatBreaksIsOpenedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		hold := make(chan struct{})
		r := subscribe(t, f, nil, func(ctx context.Context, d *transport.Delivery) transport.Outcome {
			if d.Envelope.ID == "1" {
				<-ctx.Done()
				<-hold
			}
			return transport.Done()
		})
		f.source(0).push(message("1", ""))
		synctest.Wait()
		f.source(0).fail(fmt.Errorf("connection: %w", driver.ErrClosed))
		f.source(1).push(message("2", ""))
		wantOutcomes(t, f.source(1), "2:ack")
		close(hold)
		wantOutcomes(t, f.source(0))
		if err := r.end(); err != nil {
			t.Errorf("answers %v", err)
		}
	})
}

func TestSubscribeAnswersAtOnceWhatWaitingCannotCure(t *testing.T) {
	t.Parallel()
	for _, final := range []error{driver.ErrNotFound, driver.ErrDenied, driver.ErrName} {
		t.Run(final.Error(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				f.subscribe = func(driver.Subscription) error { return fmt.Errorf("topic: %w", final) }
				err := transport.New(f, nil).Subscribe(t.Context(), "topic", nil, nil)
				if !errors.Is(err, final) || !strings.Contains(err.Error(), `"topic"`) {
					t.Errorf("answers %v", err)
				}
			})
		})
	}
}

func TestSubscribeTriesAgainWhatMayPass(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		tries := 0
		f.subscribe = func(driver.Subscription) error {
			if tries++; tries < 4 {
				return errors.New("no route")
			}
			return nil
		}
		subscribe(t, f, nil, func(context.Context, *transport.Delivery) transport.Outcome { return transport.Done() })
		f.source(0).push(message("1", ""))
		wantOutcomes(t, f.source(0), "1:ack")
	})
}

func TestAHandlerThatEndsItsGoroutineIsCalledAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		subscribe(t, f, &transport.SubscribeOptions{Concurrency: 1}, func(_ context.Context, d *transport.Delivery) transport.Outcome {
			if d.Runs == 0 {
				runtime.Goexit()
			}
			return transport.Done()
		})
		f.source(0).push(message("1", ""), message("2", ""))
		wantOutcomes(t, f.source(0), "1:ack", "2:ack")
	})
}

func TestARevokedShardStartsNothingMore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		subscribe(t, f, &transport.SubscribeOptions{Concurrency: 1}, func(context.Context, *transport.Delivery) transport.Outcome {
			time.Sleep(time.Second)
			return transport.Done()
		})
		revoked := make(chan struct{})
		var msgs []*driver.Message
		for _, id := range []string{"1", "2", "3"} {
			m := message(id, "")
			m.Revoked = revoked
			msgs = append(msgs, m)
		}
		f.source(0).push(msgs...)
		f.source(0).push(message("4", ""))
		synctest.Wait()
		close(revoked)
		pass(5 * time.Second)
		wantOutcomes(t, f.source(0), "1:ack", "2:back", "3:back", "4:ack")
	})
}

func TestUndecodableInputReachesTheHandler(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.caps.Headers = driver.HeaderStyle{Prefix: "ce_", ContentType: "content-type"}
		var got *transport.Delivery
		subscribe(t, f, &transport.SubscribeOptions{Order: transport.OrderKey}, func(_ context.Context, d *transport.Delivery) transport.Outcome {
			got = d
			return transport.Done()
		})
		f.source(0).push(&driver.Message{Token: "x", Body: []byte("?"), Headers: []driver.Header{{Name: "ce_id", Value: "1"}}})
		wantOutcomes(t, f.source(0), "x:ack")
		if got.Envelope != nil || !errors.Is(got.DecodeErr, envelope.Invalid) || string(got.Raw.Body) != "?" {
			t.Errorf("delivered %+v", got)
		}
	})
}

func TestOptionsThatTheTransportCannotKeepAreRefused(t *testing.T) {
	t.Parallel()
	f := newFake()
	f.caps = driver.Capabilities{}
	for name, o := range map[string]*transport.SubscribeOptions{
		"order": {Order: transport.OrderKey},
		"time":  {Start: driver.Start{At: driver.StartTime, Time: time.Now()}},
	} {
		if err := transport.New(f, nil).Subscribe(t.Context(), "topic", nil, o); !errors.Is(err, envelope.Unsupported) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhatABrokerStillOwesIsFetchedBeforeWorkersRunDry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		open := make(chan struct{})
		defer close(open)
		subscribe(t, f, &transport.SubscribeOptions{Concurrency: 2, Window: 16},
			func(context.Context, *transport.Delivery) transport.Outcome {
				<-open
				return transport.Done()
			})
		src := f.source(0)
		var msgs []*driver.Message
		for i := range 15 {
			msgs = append(msgs, message(strconv.Itoa(i), ""))
		}
		src.push(msgs...) // one slot is left, and the workers have plenty to do
		synctest.Wait()
		src.push(message("last", ""))
		synctest.Wait()
		if src.out != 16 {
			t.Errorf("%d in flight: what the broker sent last waits in its client", src.out)
		}
	})
}
