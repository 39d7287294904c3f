package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/anywire/anywire"
	"github.com/anywire/anywire/all"
	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/examples/charges/payments"
	"github.com/anywire/anywire/idempotency"
)

// The places at which the program kills itself.
const (
	inScore      = "while it asks for the score"
	beforeCharge = "before the charge"
	inCharge     = "while the charge is made" // by the bank
	afterCharge  = "after the charge and before the record"
	afterRecord  = "after the record and before publishing"
	afterPublish = "after publishing and before the acknowledgement"
	beforeRow    = "before the row"
	afterRow     = "after the row and before the record"
	afterBooking = "after the row's record and before the acknowledgement"
	afterOrder   = "after an order was published"
)

// crasher kills this process when it comes by a place for the nth time.
type crasher struct {
	place string
	left  atomic.Int64
}

// at kills the process if this is the place. It never returns then.
func (c *crasher) at(place string) {
	if place != c.place || c.left.Add(-1) != 0 {
		return
	}
	if self, err := os.FindProcess(os.Getpid()); err == nil {
		_ = self.Kill()
	}
	select {} // until it takes effect
}

// playProgram is the program, which kills itself at a place, given as
// "nth place". Nothing in the program knows of that: its seams are the shop, the
// store, and the middleware around publishing.
func playProgram(place string) {
	c := &crasher{}
	if place != "" {
		n := int64(0)
		if _, err := fmt.Sscanf(place, "%d ", &n); err != nil {
			panic(err)
		}
		c.left.Store(n)
		_, c.place, _ = strings.Cut(place, " ")
	}
	if os.Getenv(scores) == "" { // nobody wants to see inside
		main()
		os.Exit(0)
	}
	o := all.Options()
	o.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	for i, k := range o.Kinds {
		if stores, ok := k.(idempotency.Kind); ok {
			o.Kinds[i] = crashingKind{stores, c}
		}
	}
	app, s, err := build(o, os.Getenv("CHARGES_DATA"), os.Getenv("PAYMENTS_URL"))
	if err != nil {
		panic(err)
	}
	s.crash(c)
	app.UsePublish(c.publishing)
	if os.Getenv(untilQuiet) != "" {
		app.Beside(func(ctx context.Context) error { return quiet(ctx, app) })
	}
	app.Main()
}

// untilQuiet in the environment has the program end when all is acknowledged, on
// its own.
const untilQuiet = "CHARGES_TEST_UNTIL_QUIET"

// quiet returns when no message is left, also none that a dead process had.
func quiet(ctx context.Context, app *anywire.App) error {
	t, err := app.Transport("")
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		left := int64(0)
		for topic, group := range map[string]string{orders: charger, charged: bookkeeper} {
			lag, err := t.Lag(ctx, topic, group)
			if err != nil {
				return err
			}
			left += lag.Waiting + lag.Pending
		}
		if left == 0 {
			return nil
		}
		time.Sleep(20 * time.Millisecond) // a program, not a test
	}
	return nil
}

func (s *shop) crash(c *crasher) {
	s.score = func(_ context.Context, o Order) (float64, error) {
		noteScore(o)
		c.at(inScore)
		return 0, nil
	}
	pay, book := s.pay, s.book
	s.pay = func(ctx context.Context, r payments.Request, key string) (string, error) {
		c.at(beforeCharge)
		receipt, err := pay(ctx, r, key)
		c.at(afterCharge)
		return receipt, err
	}
	s.book = func(row Row) error {
		c.at(beforeRow)
		err := book(row)
		c.at(afterRow)
		return err
	}
}

func (c *crasher) publishing(next envelope.PublishFunc) envelope.PublishFunc {
	return func(ctx context.Context, e *envelope.Envelope) error {
		err := next(ctx, e)
		switch {
		case err != nil:
		case e.Type == "charges.order":
			c.at(afterOrder)
		case e.Type == "charges.charged":
			c.at(afterPublish)
		}
		return err
	}
}

// scores in the environment is the file that notes who was scored.
const scores = "CHARGES_TEST_SCORES"

func noteScore(o Order) {
	file, err := os.OpenFile(os.Getenv(scores), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	_, _ = file.WriteString(o.ID + "\n")
	_ = file.Close()
}

// crashingKind opens stores at whose calls the program kills itself.
type crashingKind struct {
	idempotency.Kind

	crash *crasher
}

func (k crashingKind) OpenOn(ctx context.Context, client any, s idempotency.Shared) (idempotency.Store, error) {
	store, err := k.Kind.OpenOn(ctx, client, s)
	if store == nil {
		return nil, err
	}
	return &crashingStore{store, k.crash}, err
}

type crashingStore struct {
	idempotency.Store

	crash *crasher
}

// Update crashes after the outcome of the charger, which has an output, and of
// the bookkeeper, which has none.
func (s *crashingStore) Update(ctx context.Context, changes []idempotency.Change) ([]error, error) {
	errs, err := s.Store.Update(ctx, changes)
	for i := range changes {
		switch {
		case err != nil || changes[i].Op != idempotency.Complete:
		case len(changes[i].Outputs) > 0:
			s.crash.at(afterRecord)
		default:
			s.crash.at(afterBooking)
		}
	}
	return errs, err
}

func (s *crashingStore) Close(ctx context.Context) error {
	if c, ok := s.Store.(idempotency.Closer); ok {
		return c.Close(ctx)
	}
	return nil
}

var _ anywire.Kind = crashingKind{}
