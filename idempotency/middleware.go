package idempotency

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/anywire/anywire/envelope"
)

// Middleware makes a handler run once for each message, for those who use
// handlers without the router: a duplicate of a message that succeeded is
// answered with the outputs that were recorded, a duplicate of one that is being
// handled is asked to come again ([envelope.RetryAfter]).
//
// It covers the handler and what it returns. It cannot know whether the caller
// has published that, nor whether the message was acknowledged: publish before
// you acknowledge, and publish what a duplicate returns again; its ids are the
// same. While a handler runs its lease is renewed; when it is lost, the handler's
// context ends with cause [envelope.LeaseLost]. When the store does not answer,
// nothing is handled and the error says so. A nil store panics.
func Middleware(store Store, o *Options) envelope.Middleware {
	if store == nil {
		panic("idempotency: Middleware without a store: NewMemory makes one")
	}
	g := NewGuard(store, o)
	return func(next envelope.Handler) envelope.Handler {
		return func(ctx context.Context, in *envelope.Envelope) ([]*envelope.Envelope, error) {
			work, v, err := g.Begin(ctx, in, false)
			if errors.Is(err, envelope.Invalid) {
				return nil, envelope.Reject(err)
			}
			if err != nil {
				return nil, err
			}
			if work == nil {
				return v.answer(in)
			}
			return work.run(ctx, in, next)
		}
	}
}

// answer is what a message gets that is not to be handled.
func (v *Verdict) answer(in *envelope.Envelope) ([]*envelope.Envelope, error) {
	switch v.State {
	case Done:
		return v.Outputs, nil
	case Busy:
		return nil, envelope.RetryAfter(v.Until, errors.New("another attempt is handling this message"))
	default:
		return nil, envelope.Reject(v.Reject(in))
	}
}

// Reject is the error of a message that is not to be handled at all: one whose
// verdict is [Failed], [Mismatch] or [Broken].
func (v *Verdict) Reject(in *envelope.Envelope) error {
	switch v.State {
	case Failed:
		if v.Failure == nil {
			return &envelope.Error{Code: envelope.Rejected, Message: "it failed before, and why was not recorded"}
		}
		return &envelope.Error{Code: v.Failure.Reason, Message: v.Failure.Message}
	case Mismatch:
		own := in.Fingerprint()
		return &envelope.Error{Code: envelope.KeyReused, Message: fmt.Sprintf( // stores may keep no more than these bytes
			"its idempotency key belongs to a message with another body: fingerprint %x, this one has %x", v.Fingerprint[:16], own[:16])}
	case Broken:
		return &envelope.Error{Code: envelope.BrokenRecord, Message: "its idempotency record", Err: v.Err}
	default:
		return &envelope.Error{Code: envelope.Invalid, Message: "the store's verdict is " + v.State.String()}
	}
}

// run makes one attempt and ends its record.
func (w *Work) run(ctx context.Context, in *envelope.Envelope, next envelope.Handler) (outs []*envelope.Envelope, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := w.keep(ctx, cancel)
	returned := false
	defer func() {
		stop()
		if !returned { // a panic, or runtime.Goexit
			_ = w.Release(context.WithoutCancel(ctx), true) // the lease ends by itself where this fails
		}
	}()
	outs, err = next(NewContext(ctx, w), in)
	returned = true
	settle := context.WithoutCancel(ctx)
	switch {
	case err == nil:
		return w.completed(settle, outs)
	case errors.Is(err, envelope.Rejected):
		return nil, errors.Join(err, w.Fail(settle, &Failure{Reason: envelope.Rejected, Message: err.Error()}))
	default:
		return nil, errors.Join(err, w.Release(settle, true))
	}
}

// completed is the end of an attempt that succeeded, if it can be recorded.
func (w *Work) completed(ctx context.Context, outs []*envelope.Envelope) ([]*envelope.Envelope, error) {
	err := w.Complete(ctx, outs)
	switch {
	case err == nil:
		return outs, nil
	case errors.Is(err, ErrFenced):
		return nil, &envelope.Error{Code: envelope.LeaseLost, Err: err}
	case errors.Is(err, ErrRolledBack), errors.Is(err, envelope.TooLarge):
		return nil, errors.Join(err, w.Release(ctx, true)) // to wait for the lease would change nothing
	default:
		return nil, err
	}
}

// keep renews the lease until stop is called. It starts nothing for handlers that
// are quicker than a third of the lease.
func (w *Work) keep(ctx context.Context, cancel context.CancelCauseFunc) (stop func()) {
	k := &keeper{work: w, ctx: ctx, cancel: cancel, renewed: time.Now()}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.timer = time.AfterFunc(w.guard.options.Lease/3, k.beat)
	return k.stop
}

// keeper renews one lease.
type keeper struct {
	work   *Work
	ctx    context.Context //nolint:containedctx // this object is one call
	cancel context.CancelCauseFunc

	mu      sync.Mutex // held while the lease is renewed, so that stop waits for that
	timer   *time.Timer
	renewed time.Time
	ended   bool
}

func (k *keeper) beat() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ended {
		return
	}
	lease := k.work.guard.options.Lease
	ctx, end := context.WithTimeout(context.WithoutCancel(k.ctx), lease/3) // a handler may take its time to end
	defer end()
	began := time.Now()
	lost, err := k.work.guard.Renew(ctx, []*Work{k.work})
	if err == nil {
		k.renewed = began
	}
	if len(lost) > 0 || time.Since(k.renewed) >= lease-lease/6 {
		k.cancel(envelope.LeaseLost)
		return
	}
	k.timer.Reset(lease / 3)
}

func (k *keeper) stop() {
	k.timer.Stop()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ended = true
}
