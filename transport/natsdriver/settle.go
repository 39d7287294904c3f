package natsdriver

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/anywire/anywire/transport/driver"
)

// confirmTimeout bounds the wait for the server's word on a batch.
const confirmTimeout = 2 * time.Second

var progress = []byte("+WPI") //nolint:gochecknoglobals // a constant

// action is one word about a delivery to the server.
type action struct {
	index int
	d     *delivery
	reply string
	word  []byte
}

// Settle tells the server and waits until it has dealt with all: it answers the
// last, and handles them in their order. What it did not answer is told once
// more, one by one.
func (s *source) Settle(ctx context.Context, list []driver.Settlement) error {
	if err := s.recall(ctx); err != nil {
		return err
	}
	actions, failed := s.settlements(list)
	if len(actions) == 0 {
		return failed.Err()
	}
	for _, a := range s.tell(ctx, actions) {
		if failed == nil {
			failed = driver.BatchError{}
		}
		failed[a.index] = a.err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range actions {
		if a.d.heardOfEnd() {
			delete(failed, a.index)
		}
		s.settled(a.d, list[a.index], failed[a.index] == nil)
	}
	return failed.Err()
}

// settlements sorts out what is not ours any more.
func (s *source) settlements(list []driver.Settlement) (actions []action, failed driver.BatchError) {
	now := time.Now()
	actions = make([]action, 0, len(list))
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range list {
		d, mine := list[i].Token.(*delivery)
		if mine && d.src == s && d.heardOfEnd() {
			continue
		}
		if !mine || d.src != s || !s.holds(d, now) {
			if failed == nil {
				failed = driver.BatchError{}
			}
			failed[i] = errStale
			continue
		}
		if d.acked = list[i].Outcome == driver.Ack; !d.acked {
			s.returning(d, &list[i]) // it may come again before this call returns
		}
		actions = append(actions, action{i, d, d.reply, word(&list[i])})
	}
	return actions, failed
}

var errStale = fmt.Errorf("its lease ended: %w", driver.ErrStale)

// holds reports whether a delivery is surely still ours, and forgets it if not.
func (s *source) holds(d *delivery, now time.Time) bool {
	if s.out[d.seq] != d {
		return false
	}
	if now.Before(d.deadline) {
		return true
	}
	s.forget(d)
	return false
}

// forget drops what the server will deliver again, after what follows it here.
func (s *source) forget(d *delivery) {
	delete(s.out, d.seq)
	if s.shard >= 0 {
		s.disorder.Store(true)
	}
}

// word is what the server is told: nothing is an acknowledgement.
func word(o *driver.Settlement) []byte {
	switch {
	case o.Outcome == driver.Ack:
		return nil
	case o.Outcome == driver.Nack && o.Delay > 0:
		return append(strconv.AppendInt([]byte(`-NAK {"delay":`), int64(o.Delay), 10), '}')
	default:
		return []byte("-NAK")
	}
}

// returning expects a delivery anew.
func (s *source) returning(d *delivery, o *driver.Settlement) {
	delete(s.out, d.seq)
	d.returning = true
	if o.Delay == 0 {
		s.d.gave.Store(true)
	}
	if s.shard < 0 {
		return
	}
	s.disorder.Store(true) // it must come before what follows it
	if o.Outcome == driver.Nack && o.Delay > 0 {
		if s.delayed == nil {
			s.delayed = map[uint64]time.Time{}
		}
		s.delayed[d.seq] = time.Now().Add(o.Delay)
	}
}

// settled forgets a delivery that the server confirmed the end of, or takes it
// back to be settled again.
func (s *source) settled(d *delivery, o driver.Settlement, confirmed bool) {
	d.returning = false
	switch {
	case confirmed && s.out[d.seq] == d:
		s.finish(d)
	case !confirmed && o.Outcome != driver.Ack && s.out[d.seq] == nil:
		s.out[d.seq] = d
		delete(s.delayed, d.seq)
	}
}

// finish ends a delivery that the server knows to be done.
func (s *source) finish(d *delivery) {
	delete(s.out, d.seq)
	s.finished++
}

// heardOfEnd reports, once, that the server knows a delivery to be done.
func (d *delivery) heardOfEnd() bool {
	known := d.finished
	d.finished = false
	return known
}

// Extend renews leases that our own clock still grants, and moves it when the
// server has confirmed. JetStream does not tell whose a delivery is: what was not
// extended in time is lost.
func (s *source) Extend(ctx context.Context, tokens []driver.Token) (lost []driver.Token, err error) {
	start := time.Now()
	actions := make([]action, 0, len(tokens))
	s.mu.Lock()
	for _, t := range tokens {
		d, mine := t.(*delivery)
		switch {
		case mine && d.src == s && (d.returning || d.finished):
			continue // its end is being told, or known
		case !mine || d.src != s || !s.holds(d, start):
			lost = append(lost, t)
			continue
		}
		actions = append(actions, action{d: d, reply: d.reply, word: progress})
	}
	actions = s.withQueued(actions, start)
	s.mu.Unlock()
	if len(actions) == 0 {
		return lost, nil
	}
	ctx, cancel := context.WithTimeout(ctx, max(confirmTimeout, s.lease/4))
	defer cancel()
	if err := s.tellTogether(ctx, actions); err != nil {
		return nil, fmt.Errorf("extend leases of group %q: %w", s.sub.Group, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range actions {
		if s.out[a.d.seq] == a.d {
			a.d.deadline = start.Add(s.lease)
		}
	}
	return lost, nil
}

// withQueued adds what an ordered source holds back.
func (s *source) withQueued(actions []action, now time.Time) []action {
	if s.shard < 0 {
		return actions
	}
	for _, d := range s.out {
		if d.queued && now.Before(d.deadline) {
			actions = append(actions, action{d: d, reply: d.reply, word: progress})
		}
	}
	return actions
}
