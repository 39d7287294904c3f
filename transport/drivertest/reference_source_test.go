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

const millisecond = time.Millisecond

// source is a member.
type source struct {
	*conn

	sub    driver.Subscription
	group  *group
	closed bool
	got    bool          // it has received
	late   bool          // the group is to begin at the first Receive
	lost   int           // restarts that Receive has reported
	turn   chan struct{} // held by what the defects put in a row
	ended  chan struct{} // closed by Close
	paused []int
	buffer []*driver.Message
	slot   driver.Message
	seen   map[*entry]bool
}

var (
	_ driver.Source      = (*source)(nil)
	_ driver.ShardPauser = (*source)(nil)
)

func (s *source) PauseShards(shards []int) {
	if s.breaks("assignment/pause") {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paused = slices.Clone(shards)
	s.changed()
}

func (s *source) Receive(ctx context.Context, limit int) ([]*driver.Message, error) {
	if s.oneAtATime() {
		s.turn <- struct{}{}
		defer func() { <-s.turn }()
	}
	for {
		if err := s.cutOff(ctx); err != nil {
			return nil, err
		}
		msgs, wake, next, err := s.try(limit)
		if err != nil {
			return nil, err
		}
		if len(msgs) > 0 || s.breaks("receive/blocks") {
			return s.handOver(ctx, msgs)
		}
		if err := s.wait(ctx, wake, next); err != nil {
			return nil, err
		}
	}
}

// oneAtATime are the defects by which Settle waits for Receive.
func (s *source) oneAtATime() bool {
	return s.breaks("receive/beside-settle") || s.breaks("settle/beside-blocked-receive")
}

func (s *source) wait(ctx context.Context, wake <-chan struct{}, next time.Time) error {
	timer := time.NewTimer(time.Hour)
	if !next.IsZero() {
		timer.Reset(time.Until(next))
	}
	defer timer.Stop()
	select {
	case <-wake:
		return nil
	case <-timer.C:
		return nil
	case <-s.ended:
		return nil
	case <-ctx.Done():
		if s.breaks("receive/ctx-ends") {
			return errors.New("timed out")
		}
		return ctx.Err()
	}
}

// try takes what there is, or says when there may be some.
func (s *source) try(limit int) (msgs []*driver.Message, wake <-chan struct{}, next time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.state(); err != nil {
		return nil, nil, next, err
	}
	s.got = true
	if s.late {
		s.late, s.group.entries = false, nil
	}
	if n := s.ahead(); n > 0 {
		more, _ := s.fetch(n)
		s.buffer = append(s.buffer, more...)
		n = min(limit, len(s.buffer))
		msgs, s.buffer = s.buffer[:n], s.buffer[n:]
		return msgs, s.wake, next, nil
	}
	if s.breaks("receive/max") {
		limit *= 2
	}
	msgs, next = s.fetch(limit)
	return msgs, s.wake, next, nil
}

func (s *source) state() error {
	switch {
	case s.closed && s.breaks("receive/close-unblocks") && !s.dead:
		return nil
	case s.closed && s.breaks("receive/closed"):
		return context.Canceled
	case s.closed, s.dead:
		return fmt.Errorf("reference: source: %w", driver.ErrClosed)
	case s.lost < s.restarts && s.breaks("restart/source-goes-on"):
		return driver.ErrClosed
	case s.lost < s.restarts:
		s.lost = s.restarts
		return errOutage
	default:
		return nil
	}
}

// ahead is how many messages the defects fetch before they are asked for.
func (s *source) ahead() int {
	switch s.broken {
	case "lease/fresh-when-received":
		return s.sub.Window - len(s.buffer)
	case "flow/window-is-not-hoarded":
		return 100
	default:
		return 0
	}
}

// handOver applies the defects that come after the fetch.
func (s *source) handOver(ctx context.Context, msgs []*driver.Message) ([]*driver.Message, error) {
	switch s.broken {
	case "receive/ctx-loses-nothing":
		pass(3 * millisecond)
		if ctx.Err() == nil {
			break
		}
		s.each(msgs, func(e *entry) { e.done = true })
		return nil, ctx.Err()
	case "receive/ctx-is-not-the-lease":
		context.AfterFunc(ctx, func() { s.each(msgs, (*entry).release) })
	default:
	}
	return msgs, nil
}

func (s *source) each(msgs []*driver.Message, do func(*entry)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range msgs {
		do(m.Token.(*token).e)
	}
	s.changed()
}

// fetch leases up to limit messages; next is when one becomes available.
func (s *source) fetch(limit int) (msgs []*driver.Message, next time.Time) {
	limit = s.bound(limit)
	now := time.Now()
	if s.breaks("flow/shards-take-turns") {
		slices.SortStableFunc(s.group.entries, func(a, b *entry) int { return a.msg.Shard - b.msg.Shard })
	}
	for _, e := range s.group.entries {
		if e.done || !s.reads(e) || !s.mine(e) || !s.wants(e) {
			continue
		}
		if now.Before(e.until) && !s.breaks("subscribe/members-share") {
			if next.IsZero() || e.until.Before(next) {
				next = e.until
			}
			if s.breaks("delay/overtaken") && e.owner == nil {
				break
			}
			continue
		}
		if len(msgs) < limit {
			msgs = append(msgs, s.deliver(e, len(msgs)))
		}
	}
	if s.breaks("receive/wakes-for-each") && len(msgs) == 1 {
		for _, e := range s.group.entries {
			e.release()
		}
		return nil, next
	}
	return msgs, next
}

// bound is what the source may still take.
func (s *source) bound(limit int) int {
	held, theirs := 0, 0
	for _, e := range s.group.entries {
		switch {
		case e.done || e.owner == nil:
		case e.owner == s:
			held++
		default:
			theirs++
		}
	}
	if s.breaks("flow/held-deliveries-hold-nobody-up") {
		return min(limit, max(0, 20-held))
	}
	if s.breaks("order/shards-beside-each-other") && theirs > 0 {
		return 0
	}
	if most := s.caps.MaxInFlight; most > 0 && !s.breaks("flow/max-in-flight") && !s.breaks("capabilities/constant") {
		return min(limit, most-held)
	}
	return limit
}

// wants applies the defects that keep a member from a message.
func (s *source) wants(e *entry) bool {
	switch s.broken {
	case "lease/ends-for-its-own-member":
		return e.owner != s
	case "settle/gives-back-to-any-member":
		return e.first == nil || s.seen[e]
	case "subscribe/members-share":
		return !s.seen[e]
	default:
		return true
	}
}

// deliver makes a delivery.
func (s *source) deliver(e *entry, nth int) *driver.Message {
	e.owner, e.until = s, s.leaseEnd(nth)
	e.deliveries++
	e.token = &token{e: e}
	s.seen[e] = true
	m := *e.msg
	m.Token, m.Deliveries = e.token, e.deliveries
	if s.caps.OwnsShards && !s.breaks("assignment/revoked-is-set") {
		m.Revoked = s.group.owners[m.Shard].revoked
	}
	again := e.first != nil
	if !again {
		e.first = &m
	}
	return s.garble(e, &m, again)
}

func (s *source) leaseEnd(nth int) time.Time {
	now := time.Now()
	switch {
	case s.caps.OwnsShards, s.breaks("lease/ends"):
		return now.Add(time.Hour)
	case s.breaks("lease/whole-batch") && nth > 0:
		return now
	default:
		return now.Add(s.sub.Lease)
	}
}

// garble applies the defects of a delivery's content.
func (s *source) garble(e *entry, m *driver.Message, again bool) *driver.Message {
	switch s.broken {
	case "receive/messages-are-the-callers":
		s.slot = *m
		return &s.slot
	case "receive/copies-per-group":
		e.msg.Token = m.Token
		return e.msg
	case "receive/seq-rises":
		m.Seq = 7
	case "receive/position-stays":
		m.Position += "-" + strconv.Itoa(e.deliveries)
	case "receive/published":
		m.Published = time.Time{}
	case "receive/deliveries":
		m.Deliveries = 1
	case "receive/tokens":
		m.Token = []string{m.Position}
	case "lease/content-comes-again":
		if again {
			m.Headers = nil
		}
	case "assignment/fixed":
		m.Revoked = make(chan struct{})
	case "flow/redelivers-without-bound":
		e.done = e.deliveries >= 10
	default:
	}
	return m
}
