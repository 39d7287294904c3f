// Package lazyctx is a context for one call whose cost is paid only by those
// who look: context.WithTimeout takes five allocations and a timer for every
// message, and most handlers never ask for Done.
//
// A [Context] is embedded by value in the object that is the call. The standard
// context that does the work is made on the first Done; until then Deadline,
// Err and Value are answered from what is known. The standard library finds the
// inner context by Value, so context.Cause works and deriving from a Context
// starts no goroutine.
package lazyctx

import (
	"context"
	"sync"
	"time"
)

// Context is a context with a deadline and a cause. Init makes it usable; it
// must not be copied afterwards, and it serves one call: those who kept it see
// it cancelled for ever. It is safe for concurrent use.
type Context struct {
	parent   context.Context //nolint:containedctx // this object is one call
	deadline time.Time

	mu     sync.Mutex
	inner  context.Context //nolint:containedctx // what the outside sees once it looks
	cancel context.CancelCauseFunc
	stop   context.CancelFunc // frees the timer
	ended  bool
	cause  error
}

var _ context.Context = (*Context)(nil)

// Init prepares c to end with parent, at deadline (zero: none of its own) or by
// Cancel, whichever is first. It allocates nothing.
func (c *Context) Init(parent context.Context, deadline time.Time) {
	c.parent, c.deadline = parent, deadline
}

// Cancel ends c with cause; nil means context.Canceled. It must be called when
// the call is over, to free the timer if there is one. The first end wins.
func (c *Context) Cancel(cause error) {
	c.mu.Lock()
	if !c.ended {
		c.ended, c.cause = true, cause
	}
	cancel, stop := c.cancel, c.stop
	c.mu.Unlock()
	if cancel != nil {
		cancel(cause)
	}
	if stop != nil {
		stop()
	}
}

// Deadline is the earlier of the parent's and c's own.
func (c *Context) Deadline() (time.Time, bool) {
	at, ok := c.parent.Deadline()
	switch {
	case c.deadline.IsZero():
		return at, ok
	case ok && at.Before(c.deadline):
		return at, true
	default:
		return c.deadline, true
	}
}

// Done makes the inner context.
func (c *Context) Done() <-chan struct{} { return c.look().Done() }

// Err says whether c has ended, without making the inner context while it has
// not. Once it answers an error it answers the same one for ever.
func (c *Context) Err() error {
	c.mu.Lock()
	inner, ended := c.inner, c.ended
	c.mu.Unlock()
	if inner == nil && !ended && !c.overdue() && c.parent.Err() == nil {
		return nil
	}
	return c.look().Err()
}

// Value asks the inner context where there is one: that is how the standard
// library finds what it has to hook into.
func (c *Context) Value(key any) any {
	c.mu.Lock()
	inner, ended := c.inner, c.ended
	c.mu.Unlock()
	switch {
	case inner != nil:
		return inner.Value(key)
	case ended:
		return c.look().Value(key)
	default:
		return c.parent.Value(key)
	}
}

func (c *Context) overdue() bool {
	return !c.deadline.IsZero() && !time.Now().Before(c.deadline)
}

// look returns the inner context and makes it first if need be.
func (c *Context) look() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner != nil {
		return c.inner
	}
	inner, cancel := context.WithCancelCause(c.parent)
	if c.ended {
		cancel(c.cause)
	}
	c.inner, c.cancel = inner, cancel
	if !c.ended && !c.deadline.IsZero() {
		c.inner, c.stop = context.WithDeadline(inner, c.deadline)
	}
	return c.inner
}
