package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anywire/anywire"
	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/examples/charges/journal"
	"github.com/anywire/anywire/examples/charges/payments"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
)

const (
	// glance is how often the ledger is looked at.
	glance = 100 * time.Millisecond
	// again is the wait before dead letters are read anew after a failure.
	again = 500 * time.Millisecond
	// earlier is how far before the start dead letters are read, in case the
	// broker's clock is behind.
	earlier = time.Minute
)

// job publishes orders, and waits until each is in the ledger or a dead letter.
type job struct {
	in   string // the flags
	work bool
	lone bool // nobody else can reach the payment API

	ledger   string
	payments *payments.Client
	calls    atomic.Int64 // of the payment API, by this process
	terminal io.Writer
}

// app is what a job needs of *anywire.App.
type app interface {
	Publish(ctx context.Context, topic string, v anywire.Typed, o ...anywire.SendOption) error
	TransportOf(topic string) (*transport.Transport, error)
}

// run is the job, beside the agents. When it returns the app drains.
func (j *job) run(ctx context.Context, a app) error {
	if j.work && j.lone {
		return errors.New("a process that only works shares the payment API with others: say with PAYMENTS_URL where it is")
	}
	if j.work {
		<-ctx.Done()
		return nil
	}
	all, err := readOrders(j.in)
	if err != nil {
		return err
	}
	r := newRound(a, j, all)
	if err := r.finish(ctx); err != nil && ctx.Err() == nil {
		return err
	}
	return r.summary(context.WithoutCancel(ctx), j)
}

// round is one run of the job.
type round struct {
	app      app
	ledger   string
	terminal io.Writer
	began    time.Time
	lines    []line
	open     []line // those without an end
	paid     int
	dead     int

	mu      sync.Mutex // over letters, which followers fill
	letters map[string]string
}

// line is an order, and the id of the message that it is published as.
type line struct {
	Order

	message string
}

func newRound(a app, j *job, all []Order) *round {
	r := &round{app: a, ledger: j.ledger, terminal: j.terminal, began: time.Now(), letters: map[string]string{}}
	for _, o := range all {
		r.lines = append(r.lines, line{o, envelope.NewID()})
	}
	r.open = slices.Clone(r.lines)
	return r
}

// finish publishes the orders and waits for their ends.
func (r *round) finish(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	var beside sync.WaitGroup
	defer beside.Wait()
	defer stop(nil)
	for _, agent := range []string{charger, bookkeeper} {
		beside.Go(func() { stop(r.follow(ctx, agent)) })
	}
	for _, l := range r.lines {
		// In the order of the file, which holds for each customer. That an order
		// was published before does not matter: its id is the key of its record.
		if err := r.app.Publish(ctx, orders, l.Order, envelope.WithID(l.message), anywire.WithKey(l.Customer)); err != nil {
			return fmt.Errorf("publish order %s: %w", l.ID, err)
		}
	}
	return r.wait(ctx)
}

// follow reads an agent's dead letters until ctx ends, also those that other
// processes write. What keeps it from reading is tried again.
func (r *round) follow(ctx context.Context, agent string) error {
	topic := agent + ".dead"
	t, err := r.app.TransportOf(topic)
	if err != nil {
		return err
	}
	start := driver.Start{At: driver.StartTime, Time: r.began.Add(-earlier)}
	for {
		err := t.Browse(ctx, topic, start, true, func(d *transport.Delivery) bool {
			r.take(agent, d.Envelope)
			return ctx.Err() == nil
		})
		if errors.Is(err, anywire.Unsupported) {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(again):
		}
	}
}

// take notes a dead letter: what comes of an order correlates by the order's id.
func (r *round) take(agent string, letter *envelope.Envelope) {
	if letter == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.letters[letter.CorrelationID] = agent + ": " + letter.Reserved(envelope.AttrDeadLetterError)
}

// wait returns when every order has its end, or with the reason why ctx ended.
func (r *round) wait(ctx context.Context) error {
	for {
		if err := r.look(); err != nil || len(r.open) == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(glance):
		}
	}
}

// look takes out of open what has ended, and says so.
func (r *round) look() error {
	rows, err := journal.Read[Row](r.ledger)
	if err != nil {
		return err
	}
	receipts := make(map[Order]string, len(rows))
	for _, row := range rows {
		receipts[row.Order] = row.Receipt
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open = slices.DeleteFunc(r.open, func(l line) bool {
		receipt, booked := receipts[l.Order]
		letter, dead := r.letters[l.message]
		switch {
		case booked:
			r.paid++
			fmt.Fprintf(r.terminal, "%s: %s paid %d.%02d, receipt %s\n", l.ID, l.Customer, l.Cents/100, l.Cents%100, receipt)
		case dead:
			r.dead++
			fmt.Fprintf(r.terminal, "%s: dead letter of the %s\n", l.ID, letter)
		}
		return booked || dead
	})
	return nil
}

// summary prints the closing line: what the payment API says that it took for
// these orders, against what the ledger says.
func (r *round) summary(ctx context.Context, j *job) error {
	made, err := j.payments.Charges(ctx)
	if err != nil {
		return fmt.Errorf("list the charges: %w", err)
	}
	charges := map[string]int{} // by order
	for _, c := range made {
		charges[c.Order]++
	}
	seen, once, twice := map[string]bool{}, 0, 0
	for _, l := range r.lines {
		n := charges[l.ID]
		switch {
		case seen[l.ID] || n == 0:
		case n == 1:
			once++
		default:
			twice++
		}
		seen[l.ID] = true
	}
	if len(r.open) > 0 {
		fmt.Fprintf(r.terminal, "interrupted with %d orders left; the same command goes on with them\n", len(r.open))
	}
	_, err = fmt.Fprintf(r.terminal, "lines %d, paid %d, dead letters %d; orders charged %d, charged twice %d; payment calls %d, elapsed %s\n",
		len(r.lines), r.paid, r.dead, once+twice, twice, j.calls.Load(), time.Since(r.began).Round(10*time.Millisecond))
	return err
}
