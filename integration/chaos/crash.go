package chaos

import (
	"context"
	"math/rand/v2"
	"os"
	"syscall"
	"time"

	"github.com/anywire/anywire"
	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/idempotency"
)

// crashPoints are the places at which workers end themselves: every window of the
// way from a delivery to its acknowledgement.
var crashPoints = []string{
	beforeBegin, afterBegin, beforeEffect, afterEffect, beforeComplete, afterComplete, midPublish, afterPublish,
}

const (
	beforeBegin    = "before begin"
	afterBegin     = "after begin"
	beforeEffect   = "before the effect"
	afterEffect    = "after the effect"
	beforeComplete = "before complete"
	afterComplete  = "after complete"
	midPublish     = "in mid-publish"
	afterPublish   = "after publish"
)

// crasher ends this process at crash points, by chance.
type crasher struct {
	journal *journal
	odds    float64 // at each point that is passed
}

func (c *crasher) at(point string) {
	if c.odds <= 0 || rand.Float64() >= c.odds {
		return
	}
	c.journal.note(Event{What: crashed, Detail: point})
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // until it takes effect
}

// kind opens stores that crash, and those that a negative control breaks.
type kind struct {
	idempotency.Kind

	worker *worker
}

func (k kind) OpenStore(ctx context.Context, options any, s idempotency.Shared) (idempotency.Store, error) {
	store, err := k.Kind.OpenStore(ctx, options, s)
	return k.wrap(store), err
}

func (k kind) OpenOn(ctx context.Context, client any, s idempotency.Shared) (idempotency.Store, error) {
	store, err := k.Kind.OpenOn(ctx, client, s)
	return k.wrap(store), err
}

func (k kind) wrap(s idempotency.Store) idempotency.Store {
	if s == nil {
		return nil
	}
	return &brittleStore{Store: s, worker: k.worker}
}

// brittleStore is a store at whose calls the worker may end itself.
type brittleStore struct {
	idempotency.Store

	worker *worker
}

func (b *brittleStore) Begin(ctx context.Context, claims []idempotency.Claim) ([]idempotency.Verdict, error) {
	b.worker.crash.at(beforeBegin)
	verdicts, err := b.Store.Begin(ctx, claims)
	b.worker.crash.at(afterBegin)
	if err == nil && b.worker.role.Break == markFirst {
		b.markFirst(ctx, claims, verdicts)
	}
	return verdicts, err
}

func (b *brittleStore) Update(ctx context.Context, changes []idempotency.Change) ([]error, error) {
	completes := anyOf(changes, idempotency.Complete)
	if completes {
		b.worker.crash.at(beforeComplete)
	}
	errs, err := b.Store.Update(ctx, changes)
	if err == nil {
		b.note(changes, errs)
	}
	if completes {
		b.worker.crash.at(afterComplete)
	}
	if b.worker.role.Break == noTokens && err == nil {
		errs = make([]error, len(changes)) // whoever comes may go on
	}
	return errs, err
}

func (b *brittleStore) Close(ctx context.Context) error {
	if c, ok := b.Store.(idempotency.Closer); ok {
		return c.Close(ctx)
	}
	return nil
}

func (b *brittleStore) note(changes []idempotency.Change, errs []error) {
	for i := range changes {
		if changes[i].Op == idempotency.Complete && (len(errs) == 0 || errs[i] == nil) {
			b.worker.journal.note(Event{What: committed, ID: changes[i].Key.String(), Detail: changes[i].Token.String()})
		}
	}
}

// markFirst is what a broken library does: it notes a message as done before it is
// handled.
func (b *brittleStore) markFirst(ctx context.Context, claims []idempotency.Claim, verdicts []idempotency.Verdict) {
	var changes []idempotency.Change
	for i := range claims {
		if verdicts[i].State == idempotency.Acquired {
			changes = append(changes, idempotency.Change{
				Key: claims[i].Key, Token: claims[i].Token, Op: idempotency.Complete, TTL: claims[i].TTL,
			})
		}
	}
	if len(changes) > 0 {
		_, _ = b.Store.Update(ctx, changes)
	}
}

func anyOf(changes []idempotency.Change, op idempotency.Op) bool {
	for i := range changes {
		if changes[i].Op == op {
			return true
		}
	}
	return false
}

// publishing crashes between the outputs of a message, and behind them.
func (c *crasher) publishing(next envelope.PublishFunc) envelope.PublishFunc {
	return func(ctx context.Context, e *envelope.Envelope) error {
		if e.Extensions["part"] == parts[1] {
			c.at(midPublish)
		}
		err := next(ctx, e)
		if err == nil && e.Extensions["part"] != parts[0] {
			c.at(afterPublish)
		}
		return err
	}
}

// wrapped are the kinds of transports and stores that a worker links.
func wrapped(kinds []anywire.Kind, w *worker) []anywire.Kind {
	list := make([]anywire.Kind, 0, len(kinds))
	for _, k := range kinds {
		if s, ok := k.(idempotency.Kind); ok {
			k = kind{s, w}
		}
		list = append(list, k)
	}
	return list
}

// pause waits, unless ctx ends first.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
