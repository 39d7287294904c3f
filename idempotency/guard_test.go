package idempotency_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/idempotency"
)

// stores are one that is reached by batches and one that is not.
func stores() map[string]func() idempotency.Store {
	return map[string]func() idempotency.Store{
		"batches": func() idempotency.Store { return newRemote() },
		"single":  func() idempotency.Store { return idempotency.NewMemory(nil) },
	}
}

func TestGuardTakesMessagesThroughTheirRecords(t *testing.T) {
	t.Parallel()
	for name, open := range stores() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, ctx := idempotency.NewGuard(open(), nil), t.Context()
			work, v, err := g.Begin(ctx, message("1"), false)
			if err != nil || work == nil || v.State != idempotency.Acquired || work.Store() != g.Store() {
				t.Fatalf("%v, %v, error %v", work, v.State, err)
			}
			if second, v, err := g.Begin(ctx, message("1"), false); second != nil || v.State != idempotency.Busy || err != nil {
				t.Errorf("a duplicate gets %v, %v, error %v", second, v.State, err)
			}
			if err := work.Complete(ctx, []*envelope.Envelope{message("a")}); err != nil {
				t.Error(err)
			}
			if _, v, _ := g.Begin(ctx, message("1"), false); v.State != idempotency.Done || ids(v.Outputs) != "a" {
				t.Errorf("afterwards: %v, outputs %q", v.State, ids(v.Outputs))
			}
			key, err := g.Key(message("1"))
			if err != nil || key != work.Key() || g.Immediate() != (name == "single") {
				t.Errorf("the key is %v, error %v, want %v; immediate: %v", key, err, work.Key(), g.Immediate())
			}
			if err := g.Settle(ctx, key); err != nil {
				t.Error(err)
			}
			if _, v, _ := g.Begin(ctx, message("1"), false); v.State != idempotency.Done || len(v.Outputs) > 0 {
				t.Errorf("settled: %v, outputs %q", v.State, ids(v.Outputs))
			}
			if err := work.Release(ctx, true); err != nil {
				t.Errorf("releasing what is another's: %v, want no error", err)
			}
			if err := work.Fail(ctx, &idempotency.Failure{}); !errors.Is(err, idempotency.ErrFenced) {
				t.Errorf("failing what is done: %v, want ErrFenced", err)
			}
		})
	}
}

func TestRenewSaysWhatIsLost(t *testing.T) {
	t.Parallel()
	for name, open := range stores() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, ctx := idempotency.NewGuard(open(), nil), t.Context()
			var works []*idempotency.Work
			for _, id := range []string{"1", "2", "3"} {
				work, _, err := g.Begin(ctx, message(id), false)
				if err != nil {
					t.Fatal(err)
				}
				works = append(works, work)
			}
			if lost, err := g.Renew(ctx, works); len(lost) > 0 || err != nil {
				t.Errorf("lost %v, error %v, want none", lost, err)
			}
			if err := works[1].Release(ctx, false); err != nil {
				t.Fatal(err)
			}
			if lost, err := g.Renew(ctx, works); len(lost) != 1 || lost[0] != works[1] || err != nil {
				t.Errorf("lost %v, error %v, want the second", lost, err)
			}
			if lost, err := g.Renew(ctx, nil); len(lost) > 0 || err != nil {
				t.Errorf("of none: lost %v, error %v", lost, err)
			}
		})
	}
}

func TestRenewSaysThatTheStoreIsDown(t *testing.T) {
	t.Parallel()
	store := newRemote()
	g := idempotency.NewGuard(store, nil)
	work, _, err := g.Begin(t.Context(), message("1"), false)
	if err != nil {
		t.Fatal(err)
	}
	store.setDown(true)
	if err := g.Settle(t.Context(), work.Key()); !errors.Is(err, errDown) {
		t.Errorf("Settle: error %v, want the store's", err)
	}
	if lost, err := g.Renew(t.Context(), []*idempotency.Work{work}); len(lost) > 0 || !errors.Is(err, errDown) {
		t.Errorf("lost %v, error %v, want the store's", lost, err)
	}
}

// Of a hundred deliveries of one message at once one is handled.
func TestConcurrentDuplicatesAreHandledOnce(t *testing.T) {
	t.Parallel()
	for name, open := range stores() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := open()
			var all sync.WaitGroup
			var runs, handled, waiting atomic.Int32
			for range 100 {
				all.Go(func() {
					outs, err := handle(t.Context(), store, message("1"), func(ctx context.Context, in *envelope.Envelope) ([]*envelope.Envelope, error) {
						runs.Add(1)
						return answer("a")(ctx, in)
					})
					switch {
					case err == nil && ids(outs) == "a":
						handled.Add(1)
					case errors.Is(err, envelope.Retry):
						waiting.Add(1)
					default:
						t.Errorf("outputs %q, error %v", ids(outs), err)
					}
				})
			}
			all.Wait()
			if runs.Load() != 1 || handled.Load() == 0 || handled.Load()+waiting.Load() != 100 {
				t.Errorf("the handler ran %d times, want once; %d have its outputs, %d wait", runs.Load(), handled.Load(), waiting.Load())
			}
		})
	}
}
