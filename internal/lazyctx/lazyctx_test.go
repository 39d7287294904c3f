package lazyctx_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/anywire/anywire/internal/lazyctx"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errWhy = errors.New("why")

type key struct{}

func start(parent context.Context, deadline time.Time) *lazyctx.Context {
	c := new(lazyctx.Context)
	c.Init(parent, deadline)
	return c
}

func TestNothingIsMadeForThoseWhoDoNotLook(t *testing.T) {
	parent := context.WithValue(t.Context(), key{}, "v")
	deadline := time.Now().Add(time.Hour)
	allocs := testing.AllocsPerRun(100, func() {
		var c lazyctx.Context
		c.Init(parent, deadline)
		if _, ok := c.Deadline(); !ok || c.Err() != nil || c.Value(key{}) != "v" {
			t.Error("a fresh context must have its deadline and value, and no error")
		}
		c.Cancel(nil)
	})
	if allocs > 1 { // the context itself
		t.Errorf("%v allocations, want at most 1", allocs)
	}
}

func TestEnds(t *testing.T) {
	t.Parallel()
	for _, look := range []bool{true, false} {
		for name, test := range map[string]struct {
			end       func(c *lazyctx.Context, cancelParent context.CancelCauseFunc)
			err, want error
		}{
			"own cancel":    {func(c *lazyctx.Context, _ context.CancelCauseFunc) { c.Cancel(errWhy) }, context.Canceled, errWhy},
			"nil cause":     {func(c *lazyctx.Context, _ context.CancelCauseFunc) { c.Cancel(nil) }, context.Canceled, context.Canceled},
			"parent cancel": {func(_ *lazyctx.Context, cancel context.CancelCauseFunc) { cancel(errWhy) }, context.Canceled, errWhy},
			"deadline": {
				func(_ *lazyctx.Context, _ context.CancelCauseFunc) { time.Sleep(time.Minute) },
				context.DeadlineExceeded, context.DeadlineExceeded,
			},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					parent, cancel := context.WithCancelCause(t.Context())
					defer cancel(nil)
					c := start(parent, time.Now().Add(time.Second))
					defer c.Cancel(nil)
					if look {
						_ = c.Done()
					}
					test.end(c, cancel)
					synctest.Wait()
					if got := context.Cause(c); !errors.Is(got, test.want) {
						t.Errorf("cause %v, want %v", got, test.want)
					}
					if got := c.Err(); !errors.Is(got, test.err) {
						t.Errorf("error %v, want %v", got, test.err)
					}
					select {
					case <-c.Done():
					default:
						t.Error("Done is open")
					}
					c.Cancel(errors.New("later"))
					if got := context.Cause(c); !errors.Is(got, test.want) {
						t.Errorf("cause %v after a second end, want %v", got, test.want)
					}
				})
			})
		}
	}
}

func TestDoneWakesAtTheDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		c := start(t.Context(), begin.Add(3*time.Second))
		defer c.Cancel(nil)
		<-c.Done()
		if got := time.Since(begin); got != 3*time.Second {
			t.Errorf("done after %v", got)
		}
	})
}

func TestDeadlineIsTheEarlier(t *testing.T) {
	t.Parallel()
	now := time.Now()
	parent, cancel := context.WithDeadline(t.Context(), now.Add(time.Minute))
	defer cancel()
	for name, test := range map[string]struct{ own, want time.Time }{
		"none": {time.Time{}, now.Add(time.Minute)},
		"own":  {now.Add(time.Second), now.Add(time.Second)},
		"late": {now.Add(time.Hour), now.Add(time.Minute)},
	} {
		if got, ok := start(parent, test.own).Deadline(); !ok || !got.Equal(test.want) {
			t.Errorf("%s: deadline %v, want %v", name, got, test.want)
		}
	}
	if _, ok := start(t.Context(), time.Time{}).Deadline(); ok {
		t.Error("a deadline out of nothing")
	}
}

// derived wraps a Context as the router's attempt does: the standard library
// must still find the inner context.
type derived struct{ lazyctx.Context }

func (d *derived) Value(k any) any {
	if k == (key{}) {
		return d
	}
	return d.Context.Value(k)
}

func TestDerivingFollowsWithItsCause(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var lease, attempt derived
		lease.Init(t.Context(), time.Time{})
		attempt.Init(&lease, time.Now().Add(time.Hour))
		child, cancel := context.WithCancel(&attempt)
		defer cancel()
		defer attempt.Cancel(nil)
		lease.Cancel(errWhy)
		<-child.Done()
		if got := context.Cause(child); !errors.Is(got, errWhy) {
			t.Errorf("cause %v", got)
		}
		if child.Value(key{}) != &attempt {
			t.Error("the value of the nearest is not found")
		}
	})
}
