package transport_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/memory"
)

var errNoAnswer = errors.New("no answer")

// unruly is a member's connection to a memory broker on which calls fail, are
// slow, lose their confirmation, and leases are lost. It tells the model what it
// sees.
type unruly struct {
	*memory.Broker

	model *model
	mu    sync.Mutex
	rng   *rand.Rand
	calm  bool
	open  map[*unrulySource]struct{}
	most  int // deliveries of open sources at once
}

func newUnruly(b *memory.Broker, m *model, seed, id uint64) *unruly {
	return &unruly{Broker: b, model: m, rng: rand.New(rand.NewPCG(seed, id)), open: map[*unrulySource]struct{}{}}
}

// chance is true once in n calls, until the connection is calm.
func (u *unruly) chance(n int) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return !u.calm && u.rng.IntN(n) == 0
}

func (u *unruly) calmDown() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.calm = true
}

// lag lets a call take its time.
func (u *unruly) lag(ctx context.Context) {
	u.mu.Lock()
	d := time.Duration(u.rng.IntN(3)) * time.Millisecond
	if !u.calm && u.rng.IntN(50) == 0 {
		d = time.Duration(u.rng.IntN(4000)) * time.Millisecond
	}
	u.mu.Unlock()
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

func (u *unruly) Subscribe(ctx context.Context, sub driver.Subscription) (driver.Source, error) {
	u.lag(ctx)
	if u.chance(5) {
		return nil, errNoAnswer
	}
	inner, err := u.Broker.Subscribe(ctx, sub)
	if err != nil {
		return nil, err
	}
	s := &unrulySource{Source: inner, u: u, ids: map[driver.Token]string{}, lost: map[driver.Token]time.Time{}}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.open[s] = struct{}{}
	return s, nil
}

func (u *unruly) Acquire(ctx context.Context, scope, name, holder string, ttl time.Duration) (driver.Lease, error) {
	u.lag(ctx)
	if u.chance(10) {
		return driver.Lease{}, errNoAnswer
	}
	return u.Broker.Acquire(ctx, scope, name, holder, ttl)
}

func (u *unruly) Leases(ctx context.Context, scope string) ([]driver.Lease, error) {
	if u.chance(10) {
		return nil, errNoAnswer
	}
	return u.Broker.Leases(ctx, scope)
}

func (u *unruly) Renew(ctx context.Context, leases []driver.Lease) ([]driver.Lease, error) {
	u.lag(ctx)
	if u.chance(4) {
		return nil, errNoAnswer
	}
	for _, l := range leases {
		if u.chance(40) {
			_ = u.Release(ctx, l)
		}
	}
	return u.Broker.Renew(ctx, leases)
}

// unrulySource knows what it delivered and what it said was lost.
type unrulySource struct {
	driver.Source

	u    *unruly
	mu   sync.Mutex
	ids  map[driver.Token]string
	lost map[driver.Token]time.Time
}

func (s *unrulySource) Receive(ctx context.Context, most int) ([]*driver.Message, error) {
	if s.u.chance(40) {
		return nil, errNoAnswer
	}
	if s.u.chance(400) {
		return nil, fmt.Errorf("connection: %w", driver.ErrClosed)
	}
	msgs, err := s.Source.Receive(ctx, most)
	s.mu.Lock()
	for _, m := range msgs {
		s.ids[m.Token] = idOf(m)
	}
	s.mu.Unlock()
	s.u.count()
	return msgs, err
}

func idOf(m *driver.Message) string {
	if e, ok := m.Local.(*envelope.Envelope); ok {
		return e.ID
	}
	for _, h := range m.Headers {
		if h.Name == "ce-id" {
			return h.Value
		}
	}
	return "?"
}

// count notes how much is in flight.
func (u *unruly) count() {
	u.mu.Lock()
	defer u.mu.Unlock()
	n := 0
	for s := range u.open {
		s.mu.Lock()
		n += len(s.ids)
		s.mu.Unlock()
	}
	u.most = max(u.most, n)
}

func (s *unrulySource) Settle(ctx context.Context, batch []driver.Settlement) error {
	s.check(batch)
	s.u.lag(ctx)
	if ctx.Err() != nil || s.u.chance(10) {
		return errNoAnswer
	}
	if s.u.chance(10) { // the confirmation is lost
		_ = s.Source.Settle(ctx, batch)
		return errNoAnswer
	}
	n := len(batch)
	if s.u.chance(10) {
		n = len(batch) / 2
	}
	failed := driver.BatchError{}
	if some, ok := errors.AsType[driver.BatchError](s.Source.Settle(ctx, batch[:n])); ok {
		failed = some
	}
	for i := n; i < len(batch); i++ {
		failed[i] = errNoAnswer
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, one := range batch {
		if err := failed[i]; err == nil || errors.Is(err, driver.ErrStale) {
			delete(s.ids, one.Token)
		}
	}
	return failed.Err()
}

// check holds a batch against the model.
func (s *unrulySource) check(batch []driver.Settlement) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := map[driver.Token]bool{}
	for _, one := range batch {
		id, known := s.ids[one.Token]
		at, lost := s.lost[one.Token]
		switch {
		case seen[one.Token], !known && !lost:
			s.u.model.failf("%q is settled twice, or was never delivered", id)
		case lost && time.Now().After(at):
			s.u.model.failf("a delivery is settled (%v) %v after it was lost", one.Outcome, time.Since(at))
		case lost:
			continue // at the same time
		}
		seen[one.Token] = true
		if one.Outcome == driver.Ack && !s.u.model.isDone(id) {
			s.u.model.failf("%s is acknowledged, and no handler was done with it", id)
		}
	}
}

func (s *unrulySource) Extend(ctx context.Context, tokens []driver.Token) ([]driver.Token, error) {
	s.u.lag(ctx)
	if ctx.Err() != nil || s.u.chance(4) {
		return nil, errNoAnswer
	}
	for _, token := range tokens {
		if s.u.chance(300) { // somebody took it
			_ = s.Source.Settle(ctx, []driver.Settlement{{Token: token, Outcome: driver.HandBack}})
		}
	}
	lost, err := s.Source.Extend(ctx, tokens)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, token := range lost {
		s.lost[token] = time.Now()
		delete(s.ids, token)
	}
	return lost, err
}

func (s *unrulySource) Close(ctx context.Context) error {
	s.u.lag(ctx)
	s.u.mu.Lock()
	delete(s.u.open, s)
	s.u.mu.Unlock()
	err := s.Source.Close(ctx)
	if s.u.chance(5) {
		return errNoAnswer
	}
	return err
}
