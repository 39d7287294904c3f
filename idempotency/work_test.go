package idempotency_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/idempotency"
)

var errAgain = errors.New("again")

// value is a step's function that counts its runs.
func value(runs *int, v string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) {
		*runs++
		return v, nil
	}
}

func TestAStepRunsOnceForAMessage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newRemote()
		runs := 0
		for i := range 4 {
			err := attempt(t, store, func(ctx context.Context) error {
				got, err := idempotency.Step(ctx, "search", value(&runs, "found"))
				if got != "found" || err != nil {
					t.Errorf("attempt %d: %q, error %v", i, got, err)
				}
				return errAgain
			})
			if !errors.Is(err, errAgain) {
				t.Fatal(err)
			}
		}
		if runs != 1 {
			t.Errorf("the step ran %d times, want once", runs)
		}
		other := message("2")
		_, err := handle(t.Context(), store, other, func(ctx context.Context, _ *envelope.Envelope) ([]*envelope.Envelope, error) {
			_, err := idempotency.Step(ctx, "search", value(&runs, "found"))
			return nil, err
		})
		if err != nil || runs != 2 {
			t.Errorf("the step of another message: error %v, %d runs in all, want 2", err, runs)
		}
	})
}

func TestAStepSurvivesADeath(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newRemote()
		g := idempotency.NewGuard(store, nil)
		work, _, err := g.Begin(t.Context(), message("1"), false)
		if err != nil {
			t.Fatal(err)
		}
		runs := 0
		if _, err := idempotency.Step(idempotency.NewContext(t.Context(), work), "search", value(&runs, "found")); err != nil {
			t.Fatal(err)
		}
		<-time.After(lease) // and the process is gone
		err = attempt(t, store, func(ctx context.Context) error {
			got, err := idempotency.Step(ctx, "search", value(&runs, "other"))
			if got != "found" {
				t.Errorf("the step is %q, want what the dead attempt recorded", got)
			}
			return err
		})
		if err != nil || runs != 1 {
			t.Errorf("error %v, the step ran %d times, want once", err, runs)
		}
	})
}

func TestAStepsErrorIsNotKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newRemote()
		for _, fails := range []bool{true, true, false} {
			err := attempt(t, store, func(ctx context.Context) error {
				_, err := idempotency.Step(ctx, "search", func(context.Context) (int, error) {
					if fails {
						return 7, errAgain
					}
					return 8, nil
				})
				return err
			})
			if errors.Is(err, errAgain) != fails {
				t.Errorf("fails %v: error %v", fails, err)
			}
		}
	})
}

// The table of misuse.
func TestStepMisuse(t *testing.T) {
	const twice, late, outside, unrecorded = "is called twice in one attempt", "after the handler returned", "outside a handler", "idempotency: { store: auto }"
	fn := func(context.Context) (int, error) { return 1, nil }
	want := func(t *testing.T, err error, code envelope.Code, text string) {
		t.Helper()
		wantCode(t, err, code)
		if err == nil || !strings.Contains(err.Error(), text) || !strings.Contains(err.Error(), `"search"`) {
			t.Errorf("error %v, want one that names the step and says %q", err, text)
		}
	}
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newRemote()
		var kept context.Context //nolint:fatcontext // that is the mistake
		err := attempt(t, store, func(ctx context.Context) error {
			kept = ctx
			if _, err := idempotency.Step(ctx, "search", fn); err != nil {
				return err
			}
			_, err := idempotency.Step(ctx, "search", fn)
			want(t, err, envelope.Invalid, twice)
			_, err = idempotency.Step(ctx, "other", fn)
			return err
		})
		if err != nil {
			t.Error(err)
		}
		_, err = idempotency.Step(kept, "search", fn)
		want(t, err, envelope.Invalid, late)
		_, err = idempotency.Step(t.Context(), "search", fn)
		want(t, err, envelope.Invalid, outside)
		bare := idempotency.NewGuard(nil, nil).Bare(message("1"))
		_, err = idempotency.Step(idempotency.NewContext(t.Context(), bare), "search", fn)
		want(t, err, envelope.Unsupported, unrecorded)
	})
}

// A step whose result changed its type between two versions of a program.
func TestAStepOfAnotherTypeIsAnError(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newRemote()
		runs := 0
		_ = attempt(t, store, func(ctx context.Context) error {
			_, err := idempotency.Step(ctx, "search", value(&runs, "found"))
			return errors.Join(err, errAgain)
		})
		err := attempt(t, store, func(ctx context.Context) error {
			_, err := idempotency.Step(ctx, "search", func(context.Context) (int, error) { return 1, nil })
			return err
		})
		wantCode(t, err, envelope.Invalid)
		err = attempt(t, store, func(ctx context.Context) error {
			_, err := idempotency.Step(ctx, "channel", func(context.Context) (chan int, error) { return nil, nil })
			return err
		})
		wantCode(t, err, envelope.Invalid)
	})
}

func TestAStepOfALostAttemptSaysSo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newRemote()
		err := attempt(t, store, func(ctx context.Context) error {
			store.refuses(idempotency.Remember, idempotency.ErrFenced)
			_, err := idempotency.Step(ctx, "search", func(context.Context) (int, error) { return 1, nil })
			wantCode(t, err, envelope.LeaseLost)
			store.setDown(true)
			_, err = idempotency.Step(ctx, "other", func(context.Context) (int, error) { return 1, nil })
			if !errors.Is(err, errDown) {
				t.Errorf("error %v, want the store's", err)
			}
			store.setDown(false)
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}

func TestStepsOfSeveralGoroutines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newRemote()
		const n = 20
		for i := range 2 {
			var mu sync.Mutex
			runs := 0
			_ = attempt(t, store, func(ctx context.Context) error {
				var all sync.WaitGroup
				for k := range n {
					all.Go(func() {
						name := fmt.Sprint("step ", k)
						got, err := idempotency.Step(ctx, name, func(context.Context) (string, error) {
							mu.Lock()
							defer mu.Unlock()
							runs++
							return name, nil
						})
						if got != name || err != nil {
							t.Errorf("%s is %q, error %v", name, got, err)
						}
					})
				}
				all.Wait()
				return errAgain
			})
			if want := n - i*n; runs != want {
				t.Errorf("attempt %d ran %d steps, want %d", i, runs, want)
			}
		}
	})
}

// effectKey is what a handler of a group sees.
func effectKey(t *testing.T, store idempotency.Store, group string, in *envelope.Envelope, effect string) (key string) {
	t.Helper()
	m := idempotency.Middleware(store, &idempotency.Options{Group: group})
	_, err := m(func(ctx context.Context, _ *envelope.Envelope) ([]*envelope.Envelope, error) {
		key = idempotency.EffectKey(ctx, effect)
		return nil, errAgain
	})(t.Context(), in)
	if !errors.Is(err, errAgain) {
		t.Fatal(err)
	}
	return key
}

func TestEffectKeysAreOfTheMessage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newRemote()
		key := effectKey(t, store, "g", message("1"), "charge")
		if !regexp.MustCompile(`^[A-Z2-7]{52}$`).MatchString(key) {
			t.Errorf("the key is %q", key)
		}
		if again := effectKey(t, newRemote(), "g", message("1"), "charge"); again != key {
			t.Errorf("on another worker, with another store, the key is %q, want %q", again, key)
		}
		bare := idempotency.NewGuard(nil, &idempotency.Options{Group: "g"}).Bare(message("1"))
		if without := idempotency.EffectKey(idempotency.NewContext(t.Context(), bare), "charge"); without != key {
			t.Errorf("without a store the key is %q, want %q", without, key)
		}
		seen := map[string]string{"the first": key}
		named := message("1")
		named.IdempotencyKey = "1"
		for what, other := range map[string]string{
			"another effect":  effectKey(t, store, "g", message("1"), "refund"),
			"no name":         effectKey(t, store, "g", message("1"), ""),
			"another group":   effectKey(t, store, "h", message("1"), "charge"),
			"another message": effectKey(t, store, "g", message("2"), "charge"),
			"a key":           effectKey(t, store, "g", named, "charge"),
		} {
			for before, k := range seen {
				if k == other {
					t.Errorf("%s has the key of %s", what, before)
				}
			}
			seen[what] = other
		}
	})
}

func TestEffectKeyOutsideAHandlerPanics(t *testing.T) {
	t.Parallel()
	defer func() {
		if v := recover(); v == nil || !strings.Contains(fmt.Sprint(v), "outside a handler") {
			t.Errorf("recovered %v, want a panic that says why", v)
		}
	}()
	idempotency.EffectKey(t.Context(), "charge")
}

// transaction notes how it ended.
type transaction struct {
	ended string
	err   error
}

func (tx *transaction) Commit(_ context.Context, c *idempotency.Change) error {
	tx.ended += "commit " + c.Op.String()
	return tx.err
}

func (tx *transaction) Rollback(context.Context) error {
	tx.ended += "rollback"
	return tx.err
}

func TestATransactionEndsWithItsAttempt(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, c := range []struct {
		name           string
		result, tx     error
		ended, changes string
		want           error
	}{
		{name: "success", ended: "commit complete", changes: ""},
		{name: "failure", result: errAgain, ended: "rollback", changes: "release", want: errAgain},
		{name: "reject", result: envelope.Reject(errAgain), ended: "rollback", changes: "fail", want: envelope.Rejected},
		{name: "no commit", tx: broken, ended: "commit complete", changes: "release", want: broken},
		{name: "rolled back", tx: broken, ended: "commit complete", changes: "release", want: idempotency.ErrRolledBack},
		{name: "no rollback", result: errAgain, tx: broken, ended: "rollback", changes: "release", want: broken},
		{name: "fenced", tx: idempotency.ErrFenced, ended: "commit complete", changes: "", want: envelope.LeaseLost},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store := newRemote()
				tx, opened := &transaction{err: c.tx}, 0
				open := func() (idempotency.Committer, error) { opened++; return tx, nil }
				var work *idempotency.Work
				err := attempt(t, store, func(ctx context.Context) error {
					work = idempotency.WorkOf(ctx)
					if _, err := work.Join(func() (idempotency.Committer, error) { return nil, broken }); !errors.Is(err, broken) {
						t.Errorf("joining what does not open: %v", err)
					}
					for range 2 {
						if got, err := work.Join(open); got != idempotency.Committer(tx) || err != nil {
							t.Errorf("joined %v, error %v", got, err)
						}
					}
					return c.result
				})
				if (c.want == nil) != (err == nil) || c.want != nil && !errors.Is(err, c.want) {
					t.Errorf("error %v, want %v", err, c.want)
				}
				if tx.ended != c.ended || opened != 1 || store.did() != c.changes {
					t.Errorf("opened %d times, ended by %q, changes %s, want once, %q, %s", opened, tx.ended, store.did(), c.ended, c.changes)
				}
				_, err = work.Join(open)
				wantCode(t, err, envelope.Invalid)
			})
		})
	}
}

func TestWorkWithoutARecordChangesNothing(t *testing.T) {
	t.Parallel()
	w := idempotency.NewGuard(nil, nil).Bare(message("1"))
	ctx := t.Context()
	for what, err := range map[string]error{
		"Complete": w.Complete(ctx, nil), "Release": w.Release(ctx, true), "Fail": w.Fail(ctx, nil),
	} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if w.Store() != nil {
		t.Error("it has a store")
	}
}
