package router_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/router"
	"github.com/anywire/anywire/transport"
)

var errBoom = errors.New("boom")

// failing returns a handler that fails with err, and what it has seen.
func failing(err error) (envelope.Handler, *[]time.Time) {
	var calls []time.Time
	return func(context.Context, *envelope.Envelope) ([]*envelope.Envelope, error) {
		calls = append(calls, time.Now())
		return nil, err
	}, &calls
}

func TestRetriesInPlaceThenDelayedThenDeadLetter(t *testing.T) {
	t.Parallel()
	for name, order := range map[string]transport.Order{"unordered": transport.OrderNone, "by key": transport.OrderKey} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				h, calls := failing(errBoom)
				w.handle(h)
				w.agent.Subscription.Order = order
				w.start()
				w.publish(message(envelope.WithKey("k")))
				w.pass(time.Hour)

				if len(*calls) != 6 {
					w.Fatalf("%d attempts, want 1 + 2 in place + 3 delayed", len(*calls))
				}
				for i, want := range []time.Duration{0, 0, time.Second, 2 * time.Second, 4 * time.Second} {
					got := (*calls)[i+1].Sub((*calls)[i])
					if got < want || got > want+want/5+50*time.Millisecond {
						w.Errorf("wait %d is %v, want %v and up to a fifth more", i, got, want)
					}
				}
				dead := w.only("agent.dead")
				if got := dead.Reserved(envelope.AttrDeadLetterReason); got != string(envelope.Exhausted) {
					w.Errorf("reason %q", got)
				}
				if got := dead.Reserved(envelope.AttrDeadLetterAttempts); got != "6" {
					w.Errorf("attempts %q", got)
				}
				if h := w.health(); h.Retried != 3 || h.DeadLettered != 1 || h.InFlight != 0 {
					w.Errorf("health %+v", h)
				}
			})
		})
	}
}

func TestAttemptNumbers(t *testing.T) {
	t.Parallel()
	for name, order := range map[string]transport.Order{"unordered": transport.OrderNone, "by key": transport.OrderKey} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				var numbers []int
				w.handle(func(_ context.Context, in *envelope.Envelope) ([]*envelope.Envelope, error) {
					numbers = append(numbers, in.Attempt)
					return nil, errBoom
				})
				w.agent.Subscription.Order = order
				w.start()
				w.publish(message())
				w.pass(time.Hour)
				for i, n := range numbers {
					if n != i+1 {
						w.Fatalf("attempts are numbered %v", numbers)
					}
				}
			})
		})
	}
}

func TestReject(t *testing.T) {
	inWorld(t, func(w *world) {
		h, calls := failing(envelope.Reject(errBoom))
		w.handle(h)
		w.start()
		in := message(envelope.WithKey("k"), envelope.WithExtension("tenant", "acme"))
		w.publish(in)
		w.pass(time.Hour)
		if len(*calls) != 1 {
			w.Errorf("%d attempts of a rejected message", len(*calls))
		}
		dead := w.only("agent.dead")
		if dead.ID != in.ID || dead.Source != in.Source || dead.Key != "k" || string(dead.Data) != `{"n":1}` || dead.Extensions["tenant"] != "acme" {
			w.Errorf("dead letter %v is not the original", dead)
		}
		for attr, want := range map[string]string{
			envelope.AttrDeadLetterReason: "rejected", envelope.AttrDeadLetterError: "rejected: boom",
			envelope.AttrDeadLetterAgent: "agent", envelope.AttrDeadLetterAttempts: "1",
			envelope.AttrDeadLetterHost: "host", envelope.AttrDeadLetterTopic: "in",
		} {
			if got := dead.Reserved(attr); got != want {
				w.Errorf("%s is %q, want %q", attr, got, want)
			}
		}
		for _, attr := range []string{envelope.AttrDeadLetterID, envelope.AttrDeadLetterFirst, envelope.AttrDeadLetterLast} {
			if dead.Reserved(attr) == "" {
				w.Errorf("%s is missing", attr)
			}
		}
	})
}

func TestRetryAfterNamesTheWaitAndCounts(t *testing.T) {
	t.Parallel()
	for name, order := range map[string]transport.Order{"unordered": transport.OrderNone, "strict": transport.OrderStrict} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				h, calls := failing(envelope.RetryAfter(7*time.Second, errBoom))
				w.handle(h)
				w.agent.Policy.Immediate = 0
				w.agent.Subscription.Order = order
				w.start()
				w.publish(message())
				w.pass(time.Hour)
				if len(*calls) != 4 {
					w.Fatalf("%d attempts, want 1 + 3", len(*calls))
				}
				if got := (*calls)[1].Sub((*calls)[0]); got < 7*time.Second || got > 8*time.Second {
					w.Errorf("waited %v, want 7s", got)
				}
				if got := w.only("agent.dead").Reserved(envelope.AttrDeadLetterReason); got != string(envelope.Exhausted) {
					w.Errorf("reason %q", got)
				}
			})
		})
	}
}

func TestOwnCodeIsTheReason(t *testing.T) {
	inWorld(t, func(w *world) {
		h, _ := failing(&envelope.Error{Code: "quota", Message: "42 of 42 calls used"})
		w.handle(h)
		w.start()
		w.publish(message())
		w.pass(time.Hour)
		dead := w.only("agent.dead")
		if dead.Reserved(envelope.AttrDeadLetterReason) != "quota" || dead.Reserved(envelope.AttrDeadLetterAttempts) != "6" {
			w.Errorf("dead letter %v", dead.Extensions)
		}
	})
}

func TestPanic(t *testing.T) {
	inWorld(t, func(w *world) {
		w.handle(func(context.Context, *envelope.Envelope) ([]*envelope.Envelope, error) { panic("at the disco") })
		w.agent.Policy.Immediate, w.agent.Policy.Delayed = 0, 0
		w.start()
		w.publish(message(), message())
		w.pass(time.Minute)
		dead := w.on("agent.dead")
		if len(dead) != 2 {
			w.Fatalf("%d dead letters", len(dead))
		}
		if got := dead[0].Reserved(envelope.AttrDeadLetterReason); got != string(envelope.Panicked) {
			w.Errorf("reason %q", got)
		}
		if got := dead[0].Reserved(envelope.AttrDeadLetterError); !strings.Contains(got, "at the disco") {
			w.Errorf("error %q", got)
		}
		if a, b := dead[0].Reserved(envelope.AttrDeadLetterStack), dead[1].Reserved(envelope.AttrDeadLetterStack); a == "" || a != b {
			w.Errorf("one panic has the fingerprints %q and %q", a, b)
		}
	})
}

func TestGoexitIsAFailedAttempt(t *testing.T) {
	inWorld(t, func(w *world) {
		calls := 0
		w.handle(func(context.Context, *envelope.Envelope) ([]*envelope.Envelope, error) {
			calls++
			runtime.Goexit()
			return nil, nil
		})
		w.start()
		w.publish(message())
		w.pass(time.Hour)
		if calls != 6 {
			w.Errorf("%d attempts", calls)
		}
		if got := w.only("agent.dead").Reserved(envelope.AttrDeadLetterReason); got != string(envelope.Panicked) {
			w.Errorf("reason %q", got)
		}
		if h := w.health(); h.Running != 0 || h.Abandoned != 0 {
			w.Errorf("health %+v", h)
		}
	})
}

func TestTimeout(t *testing.T) {
	inWorld(t, func(w *world) {
		w.agent.Policy = router.Policy{Timeout: 3 * time.Second}
		w.handle(func(ctx context.Context, _ *envelope.Envelope) ([]*envelope.Envelope, error) {
			if at, ok := ctx.Deadline(); !ok || time.Until(at) != 3*time.Second {
				w.Errorf("deadline %v %v", at, ok)
			}
			<-ctx.Done()
			return nil, ctx.Err()
		})
		w.start()
		w.publish(message())
		w.pass(time.Minute)
		if got := w.only("agent.dead").Reserved(envelope.AttrDeadLetterReason); got != string(envelope.Timeout) {
			w.Errorf("reason %q", got)
		}
	})
}

func TestRejectAfterTheTimeoutIsStillOne(t *testing.T) {
	inWorld(t, func(w *world) {
		w.agent.Policy.Timeout = time.Second
		w.handle(func(context.Context, *envelope.Envelope) ([]*envelope.Envelope, error) {
			time.Sleep(2 * time.Second)
			return nil, envelope.Reject(errBoom)
		})
		w.start()
		w.publish(message())
		w.pass(time.Hour)
		if got := w.only("agent.dead").Reserved(envelope.AttrDeadLetterReason); got != string(envelope.Rejected) {
			w.Errorf("reason %q", got)
		}
	})
}

func TestAbandonedHandlers(t *testing.T) {
	inWorld(t, func(w *world) {
		release := make(chan struct{})
		w.agent.Policy = router.Policy{Timeout: time.Second}
		w.agent.Subscription.Concurrency = 4
		w.handle(func(context.Context, *envelope.Envelope) ([]*envelope.Envelope, error) {
			<-release
			return nil, nil
		})
		w.start()
		w.publish(message())
		w.pass(time.Second + router.Grace + time.Millisecond)
		h := w.health()
		if live, _ := h.Live(); h.Abandoned != 1 || !live {
			w.Errorf("one of four abandoned: %+v", h)
		}
		w.publish(message())
		w.pass(time.Second + router.Grace + time.Millisecond)
		h = w.health()
		if live, reason := h.Live(); h.Abandoned != 2 || live || !strings.Contains(reason, "2 of 4") {
			w.Errorf("two of four abandoned: live %v, %q, %+v", live, reason, h)
		}
		close(release)
		w.pass(time.Minute)
		if h := w.health(); h.Abandoned != 0 || h.DeadLettered != 2 || h.Handled != 0 {
			w.Errorf("late returns must count as failed by timeout: %+v", h)
		}
	})
}

func TestAHealthyMessageIsNotBuriedByDrain(t *testing.T) {
	inWorld(t, func(w *world) {
		w.agent.Policy = router.Policy{}
		w.agent.Subscription.DrainTimeout = time.Second
		w.handle(func(ctx context.Context, _ *envelope.Envelope) ([]*envelope.Envelope, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		w.start()
		w.publish(message())
		w.pass(time.Minute)
		if err := w.stop(); !errors.Is(err, transport.ErrForced) {
			w.Errorf("drain returned %v, want ErrForced", err)
		}
		w.stop = nil
		if dead := w.on("agent.dead"); len(dead) != 0 {
			w.Errorf("dead letters %v", dead)
		}
		lag, err := w.transport.Lag(w.Context(), "in", "agent")
		if err != nil || lag.Waiting+lag.Pending != 1 {
			w.Errorf("the message is not at the broker: %+v, %v", lag, err)
		}
	})
}

func TestTheCountBuriesOnlyAfterAnAttemptHere(t *testing.T) {
	inBubble(t, false, func(w *world) {
		w.publish(message())
		ctx, cancel := context.WithCancel(w.Context())
		defer cancel()
		handedBack := 0
		err := w.transport.Subscribe(ctx, "in", func(context.Context, *transport.Delivery) transport.Outcome {
			if handedBack++; handedBack == 20 {
				cancel()
			}
			return transport.HandBack()
		}, &transport.SubscribeOptions{Group: "agent"})
		if err != nil {
			w.Fatal(err)
		}
		var attempt int
		w.handle(func(_ context.Context, in *envelope.Envelope) ([]*envelope.Envelope, error) {
			attempt = in.Attempt
			return nil, nil
		})
		w.start()
		w.pass(time.Minute)
		if h := w.health(); h.Handled != 1 || h.DeadLettered != 0 {
			w.Errorf("a healthy message with many deliveries: %+v", h)
		}
		if attempt < 1+2+20 {
			w.Errorf("attempt %d is no upper bound", attempt)
		}
	})
}
