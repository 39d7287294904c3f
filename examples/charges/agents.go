package main

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"sync/atomic"
	"time"

	"github.com/anywire/anywire"
	"github.com/anywire/anywire/examples/charges/payments"
	"github.com/anywire/anywire/idempotency"
)

// The agents, as the configuration files name them. What fails in one lies in
// its dead letters.
const (
	charger    = "charger"
	bookkeeper = "bookkeeper"
)

// The topics, which the files name too.
const (
	orders  = "orders"
	charged = "charged"
)

// tooRisky is the score from which an order is refused.
const tooRisky = 0.9

// shop is what the agents work with.
type shop struct {
	score func(context.Context, Order) (float64, error)
	pay   func(ctx context.Context, r payments.Request, key string) (receipt string, err error)
	book  func(Row) error
}

// newCharges makes the app: two agents and, beside them, the job that feeds them
// and waits for the end of each order. The flags may still be unset: nothing
// reads j before the app runs.
func newCharges(o *anywire.Options, s *shop, j *job) *anywire.App {
	app := anywire.New(o)
	anywire.Handle(app, charger, s.charge)
	anywire.Consume(app, bookkeeper, s.keep)
	app.Beside(func(ctx context.Context) error { return j.run(ctx, app) })
	return app
}

// charge takes the money for an order. It may start more than once for one
// order: after a crash, or when the payment API fails. What must not happen twice
// is named, so that it does not.
func (s *shop) charge(ctx context.Context, o Order) (Charged, error) {
	if err := o.check(); err != nil {
		return Charged{}, anywire.Reject(err)
	}
	// Slow, and the same for every attempt: asked once, remembered with the
	// order's record.
	risk, err := idempotency.Step(ctx, "risk", func(ctx context.Context) (float64, error) { return s.score(ctx, o) })
	if err != nil {
		return Charged{}, err
	}
	if risk >= tooRisky {
		return Charged{}, anywire.Reject(fmt.Errorf("the order is too risky: %.2f", risk))
	}
	// The key is the same for every attempt: whichever of them reaches the API
	// first has the charge made, the others get its receipt.
	receipt, err := s.pay(ctx, payments.Request{Customer: o.Customer, Order: o.ID, Cents: o.Cents},
		idempotency.EffectKey(ctx, "charge"))
	if err != nil {
		return Charged{}, whatNext(err)
	}
	return Charged{Order: o, Receipt: receipt}, nil
}

// whatNext says what becomes of an order whose charge failed. An answer that was
// lost is no reason to give up, nor to charge under another key: the next attempt
// asks for the same.
func whatNext(err error) error {
	if busy, ok := errors.AsType[*payments.BusyError](err); ok {
		return anywire.RetryAfter(busy.After, err)
	}
	if _, ok := errors.AsType[*payments.RefusedError](err); ok {
		return anywire.Reject(err)
	}
	return err // again, as the agent's retry policy says
}

// keep writes the row of a charge into the ledger. The row's key is the same for
// every attempt, and the ledger takes it once.
func (s *shop) keep(ctx context.Context, c Charged) error {
	return s.book(Row{Key: idempotency.EffectKey(ctx, "row"), Charged: c})
}

// guessRisk stands for a model that takes its time.
func guessRisk(ctx context.Context, o Order) (float64, error) {
	select {
	case <-time.After(300 * time.Millisecond):
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(o.Customer)) // never fails
	return min(1, float64(o.Cents)/1_000_000+float64(hash.Sum32()%100)/1000), nil
}

// counted is a payment that counts how often it is asked for.
func counted(calls *atomic.Int64, client *payments.Client) func(context.Context, payments.Request, string) (string, error) {
	return func(ctx context.Context, r payments.Request, key string) (string, error) {
		calls.Add(1)
		return client.Charge(ctx, r, key)
	}
}
