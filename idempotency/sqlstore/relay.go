package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/idempotency"
	"github.com/anywire/anywire/internal/backoff"
)

// RelayOptions configure a relay. Zero values are the defaults.
type RelayOptions struct {
	// Interval is how often the relay looks for rows of other processes, and one
	// that does not lead for its turn. Default 500 ms.
	Interval time.Duration
	// Lease is how long a relay that says nothing leads. Default 15 s.
	Lease time.Duration
	// Batch is how many messages are published at once. Default 256.
	Batch int
	// MaxBackoff bounds the wait while nothing can be published. Default 30 s.
	MaxBackoff time.Duration
}

func (o *RelayOptions) filled() RelayOptions {
	var f RelayOptions
	if o != nil {
		f = *o
	}
	for _, d := range []struct {
		field  *time.Duration
		preset time.Duration
	}{{&f.Interval, 500 * time.Millisecond}, {&f.Lease, 15 * time.Second}, {&f.MaxBackoff, 30 * time.Second}} {
		if *d.field <= 0 {
			*d.field = d.preset
		}
	}
	if f.Batch <= 0 {
		f.Batch = 256
	}
	return f
}

// Relay publishes what [Store.Publish] put into the outbox, until ctx ends; then it
// lets another lead and returns nil. It is an error only where the store's options
// are wrong. Any number of processes may run it: one of them works at a time, by a
// lease that counts by the database's clock.
//
// publish sends messages, in order, and returns nil when the broker has all of them,
// or an [UnpublishedError]; any other error counts for all. It gets messages of several
// topics, each in its Topic. Rows are deleted when they are confirmed; a relay that
// dies in between, or stands still for longer than its lease in mid-publish, leaves
// duplicates, with the same ids. What fails stays, holds back its key and no other,
// and is tried again with growing waits; rows that can never be published are
// logged once.
//
// A Publish in this process wakes the relay, which then looks several times in quick
// succession, since it cannot see the commit. Rows of other processes are found
// within the interval.
func (s *Store) Relay(ctx context.Context, publish func(ctx context.Context, es []*envelope.Envelope) error, o *RelayOptions) error {
	if s.invalid != nil {
		return s.invalid
	}
	r := relay{
		store: s, options: o.filled(), publish: publish, token: idempotency.NewToken(),
		hopeless: map[int64]bool{}, logged: map[int64]bool{},
	}
	defer r.resign(ctx)
	for ctx.Err() == nil {
		worked, err := r.round(ctx)
		r.pause(ctx, worked, err)
	}
	return nil
}

// RunOutbox implements [idempotency.Outbox]: it is [Store.Relay] with its defaults.
func (s *Store) RunOutbox(ctx context.Context, publish func(ctx context.Context, es []*envelope.Envelope) error) error {
	return s.Relay(ctx, publish, nil)
}

// relay is one call of [Store.Relay].
type relay struct {
	store   *Store
	options RelayOptions
	publish func(ctx context.Context, es []*envelope.Envelope) error
	token   idempotency.Token

	leads    bool
	until    time.Time // when the lease is over, at the earliest
	failures int       // rounds in a row that failed
	failing  bool      // and it is logged
	single   bool      // a batch failed as a whole: find out which of it
	hurry    time.Duration
	hopeless map[int64]bool // rows that are left out until cleared
	cleared  time.Time
	logged   map[int64]bool // rows that cannot be published
}

// What a relay remembers of rows that cannot be published is bounded, and each is
// tried again from time to time: somebody may have corrected it.
const (
	maxHopeless   = 1000
	hopelessEvery = time.Minute
)

// round looks through the outbox once, if it is this relay's turn.
func (r *relay) round(ctx context.Context) (worked bool, err error) {
	if err := r.store.prepare(ctx); err != nil {
		return false, err
	}
	if err := r.renew(ctx); err != nil || !r.leads {
		return false, err
	}
	first, err := r.store.read(ctx, 0, r.options.Batch)
	if err != nil || len(first) == 0 {
		return false, r.storeFailed(err)
	}
	if time.Since(r.cleared) > hopelessEvery {
		clear(r.hopeless)
		r.cleared = time.Now()
	}
	ctx, stop := r.keep(ctx)
	defer stop()
	p := pass{relay: r, blocked: map[string]bool{}}
	for rows := first; ; {
		if err := p.send(ctx, rows); err != nil {
			return p.sent, err
		}
		if len(rows) < r.options.Batch {
			break
		}
		if rows, err = r.store.read(ctx, rows[len(rows)-1].id, r.options.Batch); err != nil {
			return p.sent, r.storeFailed(err)
		}
	}
	if p.failed == nil {
		r.single = false
	}
	return p.sent, p.failed
}

func (r *relay) storeFailed(err error) error {
	if err == nil {
		return nil
	}
	return r.store.failed("relay", err)
}

// renew takes the lease or makes it last longer.
func (r *relay) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.options.Lease/4)
	defer cancel()
	began := time.Now()
	leads, err := r.store.lead(ctx, r.token, r.options.Lease)
	if err != nil {
		return r.storeFailed(err)
	}
	if leads != r.leads {
		r.store.log.Info("outbox relay", "prefix", r.store.options.Prefix, "leads", leads)
	}
	r.leads, r.until = leads, began.Add(r.options.Lease)
	return nil
}

// keep renews the lease on a goroutine of its own until stop. The context ends
// where that does not succeed in time: another relay may lead then.
func (r *relay) keep(ctx context.Context) (kept context.Context, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended, closing := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		defer cancel()
		beat := time.NewTicker(r.options.Lease / 6)
		defer beat.Stop()
		for {
			select {
			case <-closing:
				return
			case <-beat.C:
			}
			if err := r.renew(ctx); err == nil && !r.leads || time.Until(r.until) < r.options.Lease/2 {
				return
			}
		}
	}()
	return ctx, func() {
		close(closing)
		cancel()
		<-ended
	}
}

// pause waits until there may be something to do.
func (r *relay) pause(ctx context.Context, worked bool, err error) {
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		if !r.failing {
			r.store.log.Warn("outbox relay cannot publish, and goes on trying", "prefix", r.store.options.Prefix, "error", err)
		}
		wait := backoff.Delay(min(100*time.Millisecond, r.options.MaxBackoff), r.options.MaxBackoff, r.failures)
		r.failing = true
		if r.failures++; worked {
			r.failures = 0
		}
		_ = sleep(ctx, wait)
		return
	}
	if r.failing {
		r.store.log.Info("outbox relay publishes again", "prefix", r.store.options.Prefix)
	}
	r.failures, r.failing = 0, false
	if worked {
		r.hurry = 0
	}
	wait := r.options.Interval
	if r.hurry > 0 && r.hurry < wait { // a transaction is about to commit
		wait = r.hurry
		r.hurry *= 2
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-r.store.wake:
		r.hurry = time.Millisecond
	}
}

// resign lets another relay lead at once.
func (r *relay) resign(ctx context.Context) {
	if !r.leads {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.options.Lease/3)
	defer cancel()
	if err := r.store.resign(ctx, r.token); err != nil {
		r.store.log.Warn("outbox relay keeps its lease until it is over", "prefix", r.store.options.Prefix, "error", err)
	}
}

// pass is one look through the outbox.
type pass struct {
	*relay

	blocked map[string]bool // keys of which a message failed
	failed  error           // one failure that may pass
	row     int             // such failures since the last success
	sent    bool
}

// maxRow is how many messages in a row may fail before the pass ends: the broker
// is away.
const maxRow = 3

// send publishes rows and deletes what is confirmed. Its error ends the pass.
func (p *pass) send(ctx context.Context, rows []waiting) error {
	size := len(rows)
	if p.single {
		size = 1
	}
	for len(rows) > 0 {
		part := rows[:min(size, len(rows))]
		rows = rows[len(part):]
		if err := p.some(ctx, part); err != nil {
			return err
		}
		if p.row >= maxRow {
			return p.failed
		}
	}
	return nil
}

// some publishes those of rows whose key is free.
func (p *pass) some(ctx context.Context, rows []waiting) error {
	var es []*envelope.Envelope
	var ids []waiting
	for _, w := range rows {
		switch {
		case w.key != "" && p.blocked[w.key]:
			continue
		case p.hopeless[w.id]:
			p.block(w)
			continue
		}
		e, err := w.envelope()
		if err != nil {
			p.fail(w, err)
			continue
		}
		es, ids = append(es, e), append(ids, w)
	}
	if len(es) == 0 {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	err := p.publish(ctx, es)
	var parts UnpublishedError
	if err != nil && !errors.As(err, &parts) {
		if len(es) > 1 {
			p.single = true
			return fmt.Errorf("publish %d messages of the outbox: %w", len(es), err)
		}
		parts = UnpublishedError{0: err}
	}
	var confirmed []int64
	for i, w := range ids {
		if err := parts[i]; err != nil {
			p.fail(w, err)
			continue
		}
		confirmed = append(confirmed, w.id)
	}
	if len(confirmed) > 0 {
		p.sent, p.row = true, 0
	}
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.options.Lease/3)
	defer cancel()
	return p.storeFailed(p.store.drop(clean, confirmed))
}

// block holds back what follows a row that stays.
func (p *pass) block(w waiting) {
	if w.key != "" {
		p.blocked[w.key] = true
	}
}

// fail notes a row that stays.
func (p *pass) fail(w waiting, err error) {
	p.block(w)
	if !isHopeless(err) {
		p.failed = fmt.Errorf("publish row %d of the outbox: %w", w.id, err)
		p.row++
		return
	}
	if len(p.hopeless) < maxHopeless {
		p.hopeless[w.id] = true
	}
	if !p.logged[w.id] && len(p.logged) < maxHopeless {
		p.logged[w.id] = true
		p.store.log.Error("outbox: a message can not be published, and holds back its key: correct or delete its row",
			"prefix", p.store.options.Prefix, "row", w.id, "key", w.key, "error", err)
	}
}
