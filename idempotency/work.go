package idempotency

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/anywire/anywire/envelope"
)

// Work is one attempt at a message, as its record sees it. Handlers reach it
// through their context, by [EffectKey] and [Step]; store packages by [WorkOf].
type Work struct {
	guard *Guard
	key   Key
	token Token // zero: there is no record
	began time.Time

	mu     sync.Mutex
	steps  map[string][]byte // results of earlier attempts; shared
	called map[string]bool   // steps of this attempt
	tx     Committer
	over   bool
}

// WorkKey is the key under which a context holds the [Work] of its attempt:
// ctx.Value(idempotency.WorkKey{}). It is exported for those who make contexts of
// their own, as the router does.
type WorkKey struct{}

// WorkOf is the work of the attempt that ctx belongs to; nil outside a handler.
func WorkOf(ctx context.Context) *Work {
	w, _ := ctx.Value(WorkKey{}).(*Work)
	return w
}

// NewContext returns a context that belongs to the attempt of w.
func NewContext(ctx context.Context, w *Work) context.Context {
	return context.WithValue(ctx, WorkKey{}, w)
}

// Store is where the work's record is; nil: there is none.
func (w *Work) Store() Store {
	if w.token == (Token{}) {
		return nil
	}
	return w.guard.store
}

// Key is the record's.
func (w *Work) Key() Key { return w.key }

// Token is the acquisition's.
func (w *Work) Token() Token { return w.token }

// Join makes tx end with the attempt: [Work.Complete] commits it, every other end
// rolls it back. open is called once, by the first who joins; later calls get
// what it returned. After the attempt has ended, Join is an error.
func (w *Work) Join(open func() (Committer, error)) (Committer, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return nil, &envelope.Error{Code: envelope.Invalid, Message: "a transaction after the handler returned: wait for what the handler starts"}
	}
	if w.tx != nil {
		return w.tx, nil
	}
	tx, err := open()
	if err != nil {
		return nil, err
	}
	w.tx = tx
	return tx, nil
}

// Complete records that the attempt succeeded, with its outputs. Only when it
// returned nil may they be published. [ErrFenced] says that another attempt has
// the message; [ErrRolledBack] that the transaction which the attempt joined was
// not committed, so that it has failed; [envelope.TooLarge] that its outputs
// cannot be recorded. After any other error Complete may be called again.
func (w *Work) Complete(ctx context.Context, outputs []*envelope.Envelope) error {
	c := w.change(Complete)
	c.Outputs, c.Took = outputs, time.Since(w.began)
	if tx := w.end(); tx != nil {
		err := tx.Commit(ctx, &c)
		if err == nil || errors.Is(err, ErrFenced) {
			return err
		}
		return fmt.Errorf("%w: %w", ErrRolledBack, err)
	}
	return w.update(ctx, &c)
}

// Release gives the record back after an attempt that did not succeed; counted
// says that it was one. A record that is gone or another's is released already.
func (w *Work) Release(ctx context.Context, counted bool) error {
	c := w.change(Release)
	c.Counted = counted
	return w.finish(ctx, &c)
}

// Fail records that the message failed for good.
func (w *Work) Fail(ctx context.Context, f *Failure) error {
	c := w.change(Fail)
	c.Failure = f
	return w.finish(ctx, &c)
}

func (w *Work) finish(ctx context.Context, c *Change) error {
	var rolled error
	if tx := w.end(); tx != nil {
		rolled = tx.Rollback(ctx)
	}
	err := w.update(ctx, c)
	if c.Op == Release && errors.Is(err, ErrFenced) {
		err = nil
	}
	return errors.Join(err, rolled)
}

// end lets nobody join any more and returns what has.
func (w *Work) end() Committer {
	w.mu.Lock()
	defer w.mu.Unlock()
	tx := w.tx
	w.over, w.tx = true, nil
	return tx
}

func (w *Work) change(op Op) Change {
	return Change{Key: w.key, Token: w.token, Op: op, Lease: w.guard.options.Lease, TTL: w.guard.options.TTL}
}

func (w *Work) update(ctx context.Context, c *Change) error {
	if w.token == (Token{}) {
		return nil
	}
	return w.guard.update(ctx, c)
}

// EffectKey is the idempotency key of an effect in another system: the same for
// every attempt at one message, on every worker, and another for each message,
// consumer group and effect. Pass it to services that take one, so that a handler
// that starts twice charges once:
//
//	receipt, err := pay(ctx, order.Cents, idempotency.EffectKey(ctx, "charge"))
//
// effect names what is done where a handler does more than one thing. It is 52
// characters of A-Z and 2-7, and needs no store. Outside a handler it panics: an
// empty key would charge twice.
func EffectKey(ctx context.Context, effect string) string {
	w := WorkOf(ctx)
	if w == nil {
		panic("idempotency: EffectKey outside a handler: use the context that the handler was given")
	}
	return w.key.effect(effect)
}

// Step runs fn once for a message and remembers its result: a later attempt gets
// it without running fn. It is for parts of a handler that are slow or cost money,
// such as calls of a model. The result is kept as JSON with the message's record,
// for the record's life; an error of fn is not kept.
//
// name is unique within an attempt. A crash between the end of fn and the record
// runs it once more, so what must not happen twice needs an [EffectKey] as well.
// Without a store Step is an error that names the setting. It may be called by
// several goroutines of one handler.
func Step[T any](ctx context.Context, name string, fn func(ctx context.Context) (T, error)) (T, error) {
	var result T
	w := WorkOf(ctx)
	if err := w.beginStep(name); err != nil {
		return result, err
	}
	if kept, ok := w.step(name); ok {
		if err := json.Unmarshal(kept, &result); err != nil {
			return result, &envelope.Error{
				Code: envelope.Invalid, Message: fmt.Sprintf("step %q: what was recorded is no %T", name, result), Err: err,
			}
		}
		return result, nil
	}
	result, err := fn(ctx)
	if err != nil {
		return result, err
	}
	value, err := json.Marshal(result)
	if err != nil {
		return result, &envelope.Error{Code: envelope.Invalid, Message: fmt.Sprintf("step %q: its result cannot be recorded", name), Err: err}
	}
	return result, w.record(ctx, name, value)
}

func (w *Work) beginStep(name string) error {
	switch {
	case w == nil:
		return &envelope.Error{Code: envelope.Invalid, Message: fmt.Sprintf(
			"step %q outside a handler: use the context that the handler was given", name)}
	case w.Store() == nil:
		return &envelope.Error{Code: envelope.Unsupported, Message: fmt.Sprintf(
			"step %q needs a store to remember its result: set `idempotency: { store: auto }`, or name a store", name)}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.over:
		return &envelope.Error{Code: envelope.Invalid, Message: fmt.Sprintf("step %q after the handler returned", name)}
	case w.called[name]:
		return &envelope.Error{Code: envelope.Invalid, Message: fmt.Sprintf(
			"step %q is called twice in one attempt: give each its own name", name)}
	}
	if tx, ok := w.tx.(StepRefuser); ok {
		if err := tx.RefuseStep(); err != nil {
			return &envelope.Error{Code: envelope.Unsupported, Message: fmt.Sprintf("step %q", name), Err: err}
		}
	}
	if w.called == nil {
		w.called = map[string]bool{}
	}
	w.called[name] = true
	return nil
}

func (w *Work) step(name string) (value []byte, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	value, ok = w.steps[name]
	return value, ok
}

// record keeps the result of a step.
func (w *Work) record(ctx context.Context, name string, value []byte) error {
	c := w.change(Remember)
	c.Step, c.Value = name, value
	err := w.update(ctx, &c)
	if errors.Is(err, ErrFenced) {
		return &envelope.Error{Code: envelope.LeaseLost, Message: fmt.Sprintf("step %q", name), Err: err}
	}
	return err
}
