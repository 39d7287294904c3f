package router

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/idempotency"
	"github.com/anywire/anywire/internal/lazyctx"
)

// attempt is one call of a handler, and the context that the handler gets: one
// allocation, and no timer unless the handler asks for Done.
type attempt struct {
	lazyctx.Context

	emitter  emitter
	in       *envelope.Envelope
	began    time.Time
	deadline time.Time // zero: none
	stack    string    // fingerprint of a panic
	told     bool      // that it was given up; of the router's watch alone

	guard   *idempotency.Guard
	work    *idempotency.Work // nil: there is no record
	renewed time.Time         // the last time its record was; of the agent's beat alone
	fenced  atomic.Bool       // its record is another's, or may be

	mu      sync.Mutex
	outputs []*envelope.Envelope // emitted so far
	refused error                // the first error of Emit
	over    bool                 // the handler has returned
	bare    *idempotency.Work    // where there is no record
}

// emitter completes what an attempt emits.
type emitter interface {
	complete(in, out *envelope.Envelope, slot int) error
	emittedLate(in *envelope.Envelope)
}

type attemptKey struct{}

// Value finds the attempt itself, its work, and what its parents hold.
func (t *attempt) Value(key any) any {
	switch key {
	case attemptKey{}:
		return t
	case idempotency.WorkKey{}:
		return t.itsWork()
	default:
		return t.Context.Value(key)
	}
}

// itsWork is made on demand where there is no record, for EffectKey.
func (t *attempt) itsWork() *idempotency.Work {
	if t.work != nil || t.guard == nil {
		return t.work
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.bare == nil {
		t.bare = t.guard.Bare(t.in)
	}
	return t.bare
}

func attemptOf(ctx context.Context) *attempt {
	t, _ := ctx.Value(attemptKey{}).(*attempt)
	return t
}

// Input is the message that a handler with this context handles; nil outside a
// handler. It is read-only.
func Input(ctx context.Context) *envelope.Envelope {
	if t := attemptOf(ctx); t != nil {
		return t.in
	}
	return nil
}

// Emit adds one more output to the attempt that ctx belongs to: it is published
// when the handler has returned without an error. Emit takes e over and
// completes it: id, source, causation, and the key and correlation of the input
// where e has none. An error that the handler ignores fails the attempt all the
// same. Outside a handler, and after it returned, Emit is an error.
func Emit(ctx context.Context, e *envelope.Envelope) error {
	t := attemptOf(ctx)
	if t == nil {
		return &envelope.Error{Code: envelope.Invalid, Message: "emit outside a handler: use the context that the handler was given, or publish"}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		t.emitter.emittedLate(t.in)
		return &envelope.Error{Code: envelope.Invalid, Message: "emit after the handler returned: wait for what the handler starts"}
	}
	if err := t.emitter.complete(t.in, e, len(t.outputs)); err != nil {
		t.refuse(err)
		return err
	}
	t.outputs = append(t.outputs, e)
	return nil
}

// Refuse makes the attempt of ctx fail with err, as an output that could not be
// emitted does. It returns err.
func Refuse(ctx context.Context, err error) error {
	if t := attemptOf(ctx); t != nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.refuse(err)
	}
	return err
}

func (t *attempt) refuse(err error) {
	if t.refused == nil {
		t.refused = err
	}
}

// end lets nothing more be emitted and returns what was, or why that failed.
func (t *attempt) end() ([]*envelope.Envelope, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
	return t.outputs, t.refused
}

// givenUp reports whether the attempt's time is over for good.
func (t *attempt) givenUp(now time.Time) bool {
	return !t.deadline.IsZero() && now.After(t.deadline.Add(Grace))
}

// call runs the handler and makes an error of a panic. A handler that ends its
// goroutine (runtime.Goexit) takes this one with it: lost is called on its way
// out, since nothing is returned any more.
func (t *attempt) call(h envelope.Handler, lost func(error)) (outs []*envelope.Envelope, err error) {
	returned := false
	defer func() {
		if returned {
			return
		}
		if v := recover(); v != nil {
			t.stack, err = fingerprint(), panicked(v)
			return
		}
		lost(&envelope.Error{Code: envelope.Panicked, Message: "the handler ended its goroutine (runtime.Goexit)"})
	}()
	outs, err = h(t, t.in)
	returned = true
	return outs, err
}

// panicked is the error of a recovered panic, with its stack.
func panicked(v any) error {
	stack := make([]byte, 8<<10)
	stack = stack[:runtime.Stack(stack, false)]
	return &envelope.Error{Code: envelope.Panicked, Message: "panic", Err: &recovered{v, string(stack)}}
}

// recovered is what a handler panicked with, and where.
type recovered struct {
	value any
	stack string
}

func (r *recovered) Error() string { return fmt.Sprint(r.value) }

func (r *recovered) Unwrap() error {
	err, _ := r.value.(error)
	return err
}

// loggedError is an error in a log: always its text, whatever it is besides.
type loggedError struct{ error }

func (e loggedError) LogValue() slog.Value { return slog.StringValue(e.Error()) }

// withStack adds the stack of the panic in err's chain, where there is one, to
// what is logged.
func withStack(err error, attrs ...any) []any {
	if r, ok := errors.AsType[*recovered](err); ok {
		return append(attrs, "stack", r.stack)
	}
	return attrs
}
