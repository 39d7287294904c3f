package idempotency_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/idempotency"
)

func ids(outs []*envelope.Envelope) string {
	var all []string
	for _, out := range outs {
		all = append(all, out.ID)
	}
	return strings.Join(all, " ")
}

func TestADuplicateGetsTheRecordedOutputs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newRemote()
		for _, h := range []envelope.Handler{answer("a", "b"), never(t), never(t)} {
			outs, err := handle(t.Context(), store, message("1"), h)
			if ids(outs) != "a b" || err != nil {
				t.Errorf("outputs %q, error %v", ids(outs), err)
			}
		}
		if outs, err := handle(t.Context(), store, message("2"), answer()); len(outs) > 0 || err != nil {
			t.Errorf("another message: outputs %q, error %v", ids(outs), err)
		}
		if outs, err := handle(t.Context(), store, message("2"), never(t)); len(outs) > 0 || err != nil {
			t.Errorf("its duplicate: outputs %q, error %v", ids(outs), err)
		}
	})
}

func TestADuplicateInProgressComesAgainLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newRemote()
		_, err := handle(t.Context(), store, message("1"), func(ctx context.Context, in *envelope.Envelope) ([]*envelope.Envelope, error) {
			_, err := handle(ctx, store, in, never(t))
			wantCode(t, err, envelope.Retry)
			var e *envelope.Error
			if !errors.As(err, &e) || e.After <= 0 || e.After > lease {
				t.Errorf("error %v, want one that asks for the rest of the lease", err)
			}
			return nil, nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}

func TestAFailedAttemptIsCountedAndRepeated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newRemote()
		broken := errors.New("broken")
		for range 2 {
			if err := attempt(t, store, func(context.Context) error { return broken }); !errors.Is(err, broken) {
				t.Errorf("error %v, want the handler's", err)
			}
		}
		g := idempotency.NewGuard(store, nil)
		if _, v, err := g.Begin(t.Context(), message("1"), false); err != nil || v.Attempts != 2 {
			t.Errorf("%d attempts, error %v, want 2", v.Attempts, err)
		}
	})
}

func TestARejectedMessageStaysFailed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newRemote()
		err := attempt(t, store, func(context.Context) error { return envelope.Reject(errors.New("no such order")) })
		wantCode(t, err, envelope.Rejected)
		_, err = handle(t.Context(), store, message("1"), never(t))
		wantCode(t, err, envelope.Rejected)
		if err == nil || !strings.Contains(err.Error(), "no such order") {
			t.Errorf("error %v, want the reason", err)
		}
	})
}

func TestAnotherBodyUnderTheSameKeyIsRejected(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newRemote()
		if _, err := handle(t.Context(), store, message("1"), answer("a")); err != nil {
			t.Fatal(err)
		}
		other := message("1")
		other.Data = []byte("other")
		_, err := handle(t.Context(), store, other, never(t))
		wantCode(t, err, envelope.Rejected)
		wantCode(t, err, envelope.KeyReused)
		for _, in := range []*envelope.Envelope{message("1"), other} {
			if sum := fmt.Sprintf("%x", in.Fingerprint()); !strings.Contains(err.Error(), sum[:32]) {
				t.Errorf("error %v, want both fingerprints in it", err)
			}
		}
	})
}

// unreadable is a store whose records are damaged.
type unreadable struct{ *remote }

func (unreadable) Begin(context.Context, []idempotency.Claim) ([]idempotency.Verdict, error) {
	return []idempotency.Verdict{{State: idempotency.Broken, Err: fmt.Errorf("version 9: %w", idempotency.ErrUnreadable)}}, nil
}

func TestADamagedRecordIsRejected(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newRemote()
		_, err := handle(t.Context(), unreadable{store}, message("1"), never(t))
		wantCode(t, err, envelope.Rejected)
		wantCode(t, err, envelope.BrokenRecord)
		if !errors.Is(err, idempotency.ErrUnreadable) {
			t.Errorf("error %v, want one that wraps ErrUnreadable", err)
		}
	})
}

// Keys that a message does not have are final: it would never have one.
func TestAMessageWithoutAKeyIsRejected(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newRemote()
		missing := errors.New("field order.id is missing")
		for name, key := range map[string]func(*envelope.Envelope) (string, error){
			"empty": func(*envelope.Envelope) (string, error) { return "", nil },
			"error": func(*envelope.Envelope) (string, error) { return "", missing },
		} {
			m := idempotency.Middleware(store, &idempotency.Options{Key: key})
			_, err := m(never(t))(t.Context(), message("1"))
			wantCode(t, err, envelope.Rejected)
			wantCode(t, err, envelope.Invalid)
			if name == "error" && !errors.Is(err, missing) {
				t.Errorf("error %v, want the one of Key", err)
			}
		}
		m := idempotency.Middleware(store, &idempotency.Options{Key: func(in *envelope.Envelope) (string, error) { return in.Subject, nil }})
		first, second := message("1"), message("1")
		first.Subject, second.Subject = "s", "s"
		second.ID = "2"
		if _, err := m(answer("a"))(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		if outs, err := m(never(t))(t.Context(), second); ids(outs) != "a" || err != nil {
			t.Errorf("another message of that key: outputs %q, error %v", ids(outs), err)
		}
	})
}

func TestAStoreThatIsDownStopsHandling(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newRemote()
		store.setDown(true)
		_, err := handle(t.Context(), store, message("1"), never(t))
		if !errors.Is(err, errDown) || errors.Is(err, envelope.Rejected) {
			t.Errorf("error %v, want the store's, to be tried again", err)
		}
		store.setDown(false)
		outs, err := handle(t.Context(), store, message("1"), func(context.Context, *envelope.Envelope) ([]*envelope.Envelope, error) {
			store.setDown(true)
			return []*envelope.Envelope{message("a")}, nil
		})
		if !errors.Is(err, errDown) || len(outs) > 0 {
			t.Errorf("down at the end: outputs %q, error %v, want the store's and nothing to publish", ids(outs), err)
		}
		store.setDown(false)
		_, err = handle(t.Context(), store, message("1"), never(t))
		wantCode(t, err, envelope.Retry)
		<-time.After(lease)
		if outs, err = handle(t.Context(), store, message("1"), answer("b")); ids(outs) != "b" || err != nil {
			t.Errorf("after the lease: outputs %q, error %v", ids(outs), err)
		}
	})
}

func TestOutputsThatDoNotFitAreAnError(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newRemote()
		store.limit = 1
		outs, err := handle(t.Context(), store, message("1"), answer("a"))
		wantCode(t, err, envelope.TooLarge)
		if len(outs) > 0 {
			t.Errorf("outputs %q are published without a record", ids(outs))
		}
		_, v, err := idempotency.NewGuard(store, nil).Begin(t.Context(), message("1"), false)
		if v.State != idempotency.Acquired || v.Attempts != 1 || err != nil {
			t.Errorf("the next delivery is %v after %d attempts, error %v, want acquired at once", v.State, v.Attempts, err)
		}
	})
}

// However a handler leaves, its record is released, as an attempt.
func TestAHandlerThatDoesNotReturnReleases(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]func(){
		"panic":  func() { panic("oh") },
		"goexit": runtime.Goexit,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store := newRemote()
				ended := make(chan any)
				go func() {
					var v any
					defer func() { ended <- v }()
					defer func() { v = recover() }()
					_ = attempt(t, store, func(context.Context) error { leave(); return nil })
				}()
				if v := <-ended; (v != nil) != (name == "panic") {
					t.Errorf("recovered %v", v)
				}
				_, v, err := idempotency.NewGuard(store, nil).Begin(t.Context(), message("1"), false)
				if err != nil || v.State != idempotency.Acquired || v.Attempts != 1 || v.Deaths != 0 {
					t.Errorf("%v after %d attempts and %d deaths, error %v, want acquired after 1", v.State, v.Attempts, v.Deaths, err)
				}
			})
		})
	}
}

func TestASlowHandlerKeepsItsLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newRemote()
		err := attempt(t, store, func(ctx context.Context) error {
			for range 20 {
				<-time.After(lease / 2)
				if _, err := handle(t.Context(), store, message("1"), never(t)); !errors.Is(err, envelope.Retry) {
					t.Errorf("a duplicate gets %v, want to wait", err)
				}
			}
			return ctx.Err()
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// A caller that gives up does not take the lease from a handler that tidies up.
func TestACancelledHandlerKeepsItsLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newRemote()
		ctx, cancel := context.WithCancel(t.Context())
		_, err := handle(ctx, store, message("1"), func(ctx context.Context, _ *envelope.Envelope) ([]*envelope.Envelope, error) {
			cancel()
			<-time.After(3 * lease)
			if cause := context.Cause(ctx); errors.Is(cause, envelope.LeaseLost) {
				t.Errorf("the cause is %v, want the caller's", cause)
			}
			_, err := handle(t.Context(), store, message("1"), never(t))
			wantCode(t, err, envelope.Retry)
			return nil, nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}

func TestALostLeaseEndsTheHandler(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(store *remote){
		"the store is down": func(store *remote) { store.setDown(true) },
		"taken over":        func(store *remote) { store.refuses(idempotency.Extend, idempotency.ErrFenced) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store := newRemote()
				begun := time.Now()
				outs, err := handle(t.Context(), store, message("1"), func(ctx context.Context, _ *envelope.Envelope) ([]*envelope.Envelope, error) {
					lose(store)
					<-ctx.Done()
					if cause := context.Cause(ctx); !errors.Is(cause, envelope.LeaseLost) {
						t.Errorf("the cause is %v, want LeaseLost", cause)
					}
					if took := time.Since(begun); took > lease {
						t.Errorf("it was told after %v, want before the lease of %v is over", took, lease)
					}
					store.setDown(false)
					store.refuses(idempotency.Complete, idempotency.ErrFenced)
					return []*envelope.Envelope{message("a")}, nil
				})
				wantCode(t, err, envelope.LeaseLost)
				if len(outs) > 0 {
					t.Errorf("outputs %q would be published", ids(outs))
				}
			})
		})
	}
}

// One missed beat is no loss.
func TestAShortOutageIsSurvived(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newRemote()
		err := attempt(t, store, func(ctx context.Context) error {
			store.setDown(true)
			<-time.After(lease / 2)
			store.setDown(false)
			<-time.After(2 * lease)
			return ctx.Err()
		})
		if err != nil {
			t.Error(err)
		}
	})
}

func TestMiddlewareWithoutAStorePanics(t *testing.T) {
	t.Parallel()
	defer func() {
		if v := recover(); v == nil || !strings.Contains(fmt.Sprint(v), "NewMemory") {
			t.Errorf("recovered %v, want a panic that says what to do", v)
		}
	}()
	idempotency.Middleware(nil, nil)
}

func TestRejectExplainsEveryVerdict(t *testing.T) {
	t.Parallel()
	in := message("1")
	for _, v := range []idempotency.Verdict{
		{State: idempotency.Failed},
		{State: idempotency.Failed, Failure: &idempotency.Failure{Reason: "quota", Message: "why"}},
		{State: idempotency.Mismatch},
		{State: idempotency.Broken},
		{State: 99},
	} {
		if err := v.Reject(in); err == nil || err.Error() == "" {
			t.Errorf("%v: error %v", v.State, err)
		}
	}
	quota := &idempotency.Verdict{State: idempotency.Failed, Failure: &idempotency.Failure{Reason: "quota"}}
	wantCode(t, quota.Reject(in), "quota")
}
