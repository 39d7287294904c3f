package drivertest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/anywire/anywire/transport/driver"
)

// release makes the entry available at once.
func (e *entry) release() { e.owner, e.token, e.until = nil, nil, time.Time{} }

func (s *source) Settle(ctx context.Context, all []driver.Settlement) error {
	if s.oneAtATime() {
		select {
		case s.turn <- struct{}{}:
			defer func() { <-s.turn }()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := s.cutOff(ctx); err != nil {
		return err
	}
	if err := s.maySettle(ctx, all); err != nil {
		return err
	}
	if s.breaks("settle/cancelled") && ctx.Err() != nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.changed()
	failed := driver.BatchError{}
	for i, one := range s.altered(all) {
		if err := s.settle(one, i); err != nil {
			failed[i] = err
		}
	}
	if len(failed) > 0 && s.breaks("stale/batch-names-it") {
		for i := range all {
			failed[i] = fmt.Errorf("delivery: %w", driver.ErrStale)
		}
	}
	return failed.Err()
}

func (s *source) maySettle(ctx context.Context, all []driver.Settlement) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.breaks("settle/cancelled"):
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case s.closed && s.breaks("settle/of-a-closed-source"):
		return nil
	case s.closed, s.dead:
		return driver.ErrClosed
	case len(all) == 0 && s.breaks("settle/empty-batch"):
		return errors.New("nothing to settle")
	default:
		return nil
	}
}

// altered applies the defects of a whole call.
func (s *source) altered(all []driver.Settlement) []driver.Settlement {
	switch s.broken {
	case "settle/mixed-batch":
		var same []driver.Settlement
		for _, one := range all {
			same = append(same, driver.Settlement{Token: one.Token, Outcome: all[0].Outcome})
		}
		return same
	case "settle/large-batch":
		return all[:min(len(all), 512)]
	default:
		return all
	}
}

func (s *source) settle(one driver.Settlement, nth int) error {
	t := one.Token.(*token)
	e := t.e
	if s.closed && s.breaks("settle/of-a-closed-source") {
		return nil
	}
	if e.done && s.breaks("settle/ack-is-final") && one.Outcome != driver.Ack {
		e.done = false
		e.release()
		return nil
	}
	if e.token != t || e.done {
		return s.stale(e)
	}
	if one.Outcome == driver.Ack {
		s.ack(e)
		return nil
	}
	s.back(one, e, nth)
	return nil
}

// stale answers for a delivery of another, or of nobody.
func (s *source) stale(e *entry) error {
	switch s.broken {
	case "settle/twice":
		return errors.New("unknown delivery")
	case "stale/ack", "stall/settle":
		e.done = true
		return nil
	case "stale/nack", "stale/hand-back":
		e.until = time.Time{}
		return nil
	default:
		return fmt.Errorf("delivery: %w", driver.ErrStale)
	}
}

func (s *source) ack(e *entry) {
	switch {
	case s.breaks("settle/ack"), s.breaks("copy/acknowledged") && e.isCopy:
		e.release()
		return
	case s.breaks("assignment/drained-hand-over") && s.group.owners[e.msg.Shard].to != s:
		e.release()
		return
	case s.breaks("settle/any-order"):
		for _, other := range s.group.entries {
			if other.msg.Seq < e.msg.Seq {
				other.done = true
			}
		}
	case s.breaks("lease/survives-a-slow-neighbour"):
		s.releaseOwn()
	default:
	}
	e.done = true
}

func (s *source) releaseOwn() {
	for _, e := range s.group.entries {
		if e.owner == s {
			e.release()
		}
	}
}

// back makes a delivery available again.
func (s *source) back(one driver.Settlement, e *entry, nth int) {
	delay := one.Delay
	switch s.broken {
	case "settle/nack", "settle/hand-back":
		return
	case "settle/nack-delay":
		delay = 0
	case "settle/nack-delay-beyond-lease":
		delay = min(delay, s.sub.Lease)
	case "settle/nack-delay-holds-nobody-up":
		for _, other := range s.group.entries {
			other.until = time.Now().Add(delay)
		}
	case "settle/nack-delays-differ":
		if delay > 0 {
			delay = time.Second
		}
	case "order/redelivered-before-later", "order/new-reader-after-hand-back":
		delay = time.Second
	case "order/redelivered-in-order":
		delay = time.Duration(nth) * time.Second
	default:
	}
	if delay > 0 && s.caps.DelaysByCopy {
		s.copyOf(e, one)
		return
	}
	e.release()
	if delay > 0 {
		e.until = time.Now().Add(delay)
	}
}

// copyOf publishes a copy for this group, and settles the original.
func (s *source) copyOf(e *entry, one driver.Settlement) {
	m := *e.msg
	m.Position += "-copy"
	extra := append([]driver.Header{{Name: "ce_attempt", Value: strconv.Itoa(one.Attempts)}}, one.Headers...)
	switch s.broken {
	case "copy/content":
		extra = nil
	case "copy/again":
	default:
		m.Headers = slices.DeleteFunc(slices.Clone(m.Headers), func(h driver.Header) bool {
			return slices.ContainsFunc(extra, func(x driver.Header) bool { return x.Name == h.Name })
		})
	}
	m.Headers = slices.Concat(m.Headers, extra)
	due := time.Now().Add(one.Delay)
	for _, g := range s.group.topic.groups {
		if g == s.group || s.breaks("copy/of-this-group-alone") {
			g.entries = append(g.entries, &entry{stored: &stored{msg: &m}, until: due, isCopy: true})
		}
	}
	if s.breaks("copy/settles-the-original") {
		return
	}
	e.done = true
	if s.breaks("copy/to-any-member") {
		s.group.entries[len(s.group.entries)-1].done = true
	}
}

// giveBack is what Close does with unsettled deliveries. The lock is held.
func (s *source) giveBack() {
	for i, e := range s.group.entries {
		if s.keepsAtClose(i, e) || e.owner != s && !s.breaks("takeover/close-disturbs-nobody") {
			continue
		}
		e.release()
		switch s.broken {
		case "order/new-reader-after-close":
			e.until = time.Now().Add(time.Second)
		case "order/acks-out-of-order":
			if string(e.msg.Body) == "2" {
				e.until = time.Now().Add(time.Second)
			}
		default:
		}
	}
}

func (s *source) keepsAtClose(i int, e *entry) bool {
	switch s.broken {
	case "takeover/close-gives-back":
		e.done = e.done || e.owner == s
	case "takeover/resubscribe":
		if e.owner == s {
			e.until = time.Now().Add(time.Hour)
			return true
		}
	case "takeover/close-returns-what-was-fetched":
		e.done = e.done || i < 10
	default:
	}
	return false
}

func (s *source) Extend(ctx context.Context, tokens []driver.Token) (lost []driver.Token, err error) {
	if err := s.cutOff(ctx); err != nil && !s.breaks("stall/extend-knows-nothing") {
		return nil, err
	} else if err != nil {
		return nil, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(tokens) == 0 && s.breaks("settle/empty-batch") {
		return nil, errors.New("nothing to extend")
	}
	for _, one := range tokens {
		t := one.(*token)
		if !s.renew(t) {
			lost = append(lost, one)
		}
	}
	switch s.broken {
	case "stale/extend-tells", "stall/extend-tells":
		return nil, nil
	case "stale/extend-names-only-the-lost":
		if len(lost) > 0 {
			return tokens, nil
		}
	case "lease/outlives-the-lease-with-extend-and-owners":
		return tokens, nil
	default:
	}
	return lost, nil
}

func (s *source) renew(t *token) bool {
	e, end := t.e, time.Now().Add(s.sub.Lease)
	switch s.broken {
	case "lease/extended":
		return true
	case "lease/extended-each-for-itself":
		for _, other := range s.group.entries {
			if other.owner == s {
				other.until = end
			}
		}
	case "settle/extend-after-ack":
		e.done = false
	case "stale/extend-takes-nothing-back":
		e.owner, e.token = s, t
	case "stale/extend-holds-nothing":
		e.until = end
	default:
	}
	if e.token != t || time.Now().After(e.until) {
		return false
	}
	e.until = end
	return true
}
