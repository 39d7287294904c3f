package kafkadriver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/anywire/anywire/transport/driver"
)

// settling is a call of Settle.
type settling struct {
	s      *source
	call   []driver.Settlement
	of     []*delivery // that the call names
	failed driver.BatchError
	marked []int // wait for a commit
	copies []int // go to the ladder first
	freed  bool  // something can be received again
}

// Settle ends deliveries. Done ones are committed together with all that others
// settle meanwhile; what is given back waits here, before what comes later, as
// long as the partition is ours; what is delayed is copied to the ladder, and is
// then done.
func (s *source) Settle(ctx context.Context, settlements []driver.Settlement) error {
	if len(settlements) == 0 {
		return nil
	}
	call := &settling{s: s, call: settlements, of: make([]*delivery, len(settlements)), failed: driver.BatchError{}}
	m := s.m
	m.mu.Lock()
	for i := range settlements {
		call.begin(i)
	}
	var r *round
	if len(call.marked) > 0 {
		r = m.joinRound()
	}
	m.mu.Unlock()
	if call.freed {
		s.wake()
	}
	if len(call.copies) > 0 {
		r = call.delay(ctx)
	}
	if r == nil {
		return call.failed.Err()
	}
	var ended error
	select {
	case <-r.over:
	case <-ctx.Done():
		ended = ctx.Err()
	}
	m.mu.Lock()
	for _, i := range call.marked {
		call.finish(i, ended)
	}
	m.mu.Unlock()
	s.wake() // there may be room above what was the oldest
	return call.failed.Err()
}

// begin does what needs no broker.
func (c *settling) begin(i int) {
	d, ok := c.call[i].Token.(*delivery)
	if !ok || d.src != c.s {
		c.failed[i] = fmt.Errorf("token %v is not of this source", c.call[i].Token)
		return
	}
	c.of[i] = d
	switch {
	case d.state == stateMarked:
		c.marked = append(c.marked, i) // done already, and to be confirmed
	case d.state != stateHeld, d.p.phase == phaseOver:
		c.failed[i] = d.p.gone()
	case c.call[i].Outcome == driver.Ack, d.copied:
		d.p.mark(d)
		c.marked = append(c.marked, i)
	case c.call[i].Outcome == driver.Nack && c.call[i].Delay > 0 && !c.s.sub.Ordered:
		c.copies = append(c.copies, i)
	default:
		d.p.giveBack(d.record)
		d.p.end(d, stateSettled)
		c.freed = true
	}
}

// finish ends what the broker has confirmed.
func (c *settling) finish(i int, ended error) {
	d := c.of[i]
	switch p := d.p; {
	case d.state == stateSettled:
	case d.mark <= p.confirmed && d.state == stateMarked:
		p.end(d, stateSettled)
	case p.phase == phaseOver || d.state == stateStale:
		p.end(d, stateStale)
		c.failed[i] = p.gone()
	case errors.Is(p.failure, driver.ErrStale), errors.Is(p.failure, driver.ErrClosed):
		p.end(d, stateStale)
		c.failed[i] = p.failure
	default:
		if c.failed[i] = errors.Join(ended, p.failure); c.failed[i] == nil {
			c.failed[i] = errUnanswered
		}
	}
}

// delay puts copies on the ladder. Those that are there are done here.
func (c *settling) delay(ctx context.Context) *round {
	inbox, err := c.s.openInbox(ctx)
	if err != nil {
		for _, i := range c.copies {
			c.failed[i] = err
		}
		return nil
	}
	m := c.s.m
	m.mu.Lock()
	now := time.Now()
	var copies []delayCopy
	var indexes []int
	for _, i := range c.copies {
		d := c.of[i]
		if d.state != stateHeld || d.p.phase == phaseOver {
			c.failed[i] = d.p.gone()
			continue
		}
		copies = append(copies, delayCopy{
			record: d.record, to: inbox, at: now.Add(c.call[i].Delay),
			attempts: c.call[i].Attempts, headers: c.call[i].Headers,
		})
		indexes = append(indexes, i)
	}
	m.mu.Unlock()
	errs := c.s.d.delayCopies(ctx, copies)
	m.mu.Lock()
	defer m.mu.Unlock()
	for k, i := range indexes {
		d := c.of[i]
		switch {
		case errs[k] != nil:
			c.failed[i] = errs[k]
		case d.state != stateHeld || d.p.phase == phaseOver:
			c.failed[i] = d.p.gone() // both the copy and the new owner's run it
		default:
			d.copied = true
			d.p.mark(d)
			c.marked = append(c.marked, i)
		}
	}
	if len(c.marked) == 0 {
		return nil
	}
	return m.joinRound()
}

// openInbox is where copies come back; it is made on the first use by ephemeral
// groups.
func (s *source) openInbox(ctx context.Context) (string, error) {
	s.m.mu.Lock()
	inbox := s.inbox
	s.m.mu.Unlock()
	if inbox != "" {
		return inbox, nil
	}
	inbox = inboxOf(s.sub)
	if err := s.d.ensure(ctx, inbox); err != nil {
		return "", fmt.Errorf("the inbox, where delayed messages come back: %w", err)
	}
	s.m.addInbox(s, inbox)
	return inbox, nil
}

// Extend renews nothing: a delivery is held for as long as the group counts the
// member in. It answers from the last heartbeat that the group's coordinator
// confirmed, which says for how long it is counted in at least. What was not renewed
// for a lease, [member.overdue] delivers again.
func (s *source) Extend(_ context.Context, tokens []driver.Token) (lost []driver.Token, err error) {
	m := s.m
	age, now := m.pulse.age(), time.Now()
	counted := age <= s.patience
	m.mu.Lock()
	kept := 0
	for _, token := range tokens {
		d, ok := token.(*delivery)
		switch {
		case !ok:
			lost = append(lost, token)
		case d.state == stateSettled:
		case d.state == stateStale, d.p.phase == phaseOver:
			lost = append(lost, token)
		default:
			kept++
			if counted {
				d.leased = now
			}
		}
	}
	m.mu.Unlock()
	if kept > 0 && !counted {
		return lost, fmt.Errorf("group %q has confirmed no heartbeat for %v", s.sub.Group, age.Round(time.Millisecond))
	}
	return lost, nil
}
