package idempotency

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// double answers each number with twice itself, after a round trip, and notes
// the sizes of batches.
type double struct {
	mu    sync.Mutex
	sizes []int
	at    atomic.Int32 // calls under way
	err   error
}

func (d *double) call(_ context.Context, items []int) ([]int, error) {
	if d.at.Add(1) > 1 {
		panic("two calls at once")
	}
	defer d.at.Add(-1)
	<-time.After(time.Millisecond)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sizes = append(d.sizes, len(items))
	answers := make([]int, len(items))
	for i, n := range items {
		answers[i] = 2 * n
	}
	return answers, d.err
}

// The one who comes alone goes at once; all who come meanwhile go together.
func TestBatchesGrowWithTheLoad(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &double{}
		b := &batches[int, int]{call: d.call}
		var all sync.WaitGroup
		begun := time.Now()
		ask := func(n int) {
			all.Go(func() {
				if got, err := b.do(t.Context(), n); got != 2*n || err != nil {
					t.Errorf("%d is answered with %d, %v", n, got, err)
				}
			})
			synctest.Wait()
		}
		for n := range 1 + maxBatch + 10 {
			ask(n)
		}
		all.Wait()
		if want := []int{1, maxBatch, 10}; !slices.Equal(d.sizes, want) {
			t.Errorf("batches of %v, want %v", d.sizes, want)
		}
		if took := time.Since(begun); took != 3*time.Millisecond {
			t.Errorf("three round trips took %v", took)
		}
		ask(7)
		all.Wait()
		if b.led || len(b.waiting) > 0 {
			t.Errorf("somebody leads: %v, %d wait, and nobody is there", b.led, len(b.waiting))
		}
	})
}

// Many who ask again and again: each gets its own answer, and nobody sleeps on.
func TestBatchesLoseNoWakeUp(t *testing.T) {
	t.Parallel()
	const callers, rounds = 100, 200
	var calls atomic.Int64
	b := &batches[int, int]{call: func(_ context.Context, items []int) ([]int, error) {
		calls.Add(1)
		answers := make([]int, len(items))
		for i, n := range items {
			answers[i] = 2 * n
		}
		return answers, nil
	}}
	var all sync.WaitGroup
	for caller := range callers {
		all.Go(func() {
			for round := range rounds {
				n := caller*rounds + round
				if got, err := b.do(t.Context(), n); got != 2*n || err != nil {
					t.Errorf("%d is answered with %d, %v", n, got, err)
					return
				}
			}
		})
	}
	all.Wait()
	t.Logf("%d items in %d calls", callers*rounds, calls.Load())
}

func TestBatchesGiveAnErrorToAll(t *testing.T) {
	t.Parallel()
	down := errors.New("down")
	calls := map[string]func(context.Context, []int) ([]int, error){
		"the store is down": (&double{err: down}).call,
		"too few answers": func(_ context.Context, items []int) ([]int, error) {
			<-time.After(time.Millisecond)
			return make([]int, len(items)-1), nil
		},
		"no answer in time": func(ctx context.Context, _ []int) ([]int, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := &batches[int, int]{call: call}
				var all sync.WaitGroup
				var failed atomic.Int32
				begun := time.Now()
				for n := range 10 {
					all.Go(func() {
						if got, err := b.do(t.Context(), n); err != nil && got == 0 {
							failed.Add(1)
						}
					})
				}
				all.Wait()
				if took := time.Since(begun); took > 2*storeTimeout {
					t.Errorf("it took %v, want at most %v for each of two calls", took, storeTimeout)
				}
				if failed.Load() != 10 {
					t.Errorf("%d of 10 got an error", failed.Load())
				}
			})
		})
	}
}

// A caller whose context has ended still waits: the answer would leave a record
// that nobody holds.
func TestBatchesOutliveTheirCallersContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		b := &batches[int, int]{call: func(ctx context.Context, items []int) ([]int, error) { return items, ctx.Err() }}
		if got, err := b.do(ctx, 3); got != 3 || err != nil {
			t.Errorf("answered with %d, %v", got, err)
		}
	})
}

// A store that panics takes its leader down, and nobody else hangs.
func TestBatchesSurviveAPanic(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		first := true
		b := &batches[int, int]{call: func(_ context.Context, items []int) ([]int, error) {
			<-time.After(time.Millisecond)
			if len(items) > 1 && first {
				first = false
				panic("store")
			}
			return items, nil
		}}
		var all sync.WaitGroup
		var panicked, failed, answered atomic.Int32
		for n := range 10 {
			all.Go(func() {
				defer func() {
					if v := recover(); v != nil {
						panicked.Add(1)
					}
				}()
				if _, err := b.do(t.Context(), n); err != nil {
					failed.Add(1)
				} else {
					answered.Add(1)
				}
			})
			synctest.Wait()
		}
		all.Wait()
		if got := fmt.Sprint(panicked.Load(), failed.Load(), answered.Load()); got != "1 8 1" {
			t.Errorf("panicked, failed, answered: %s, want 1 8 1", got)
		}
		if _, err := b.do(t.Context(), 1); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}
