package memory

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/anywire/anywire/transport/driver"
)

// DefaultLease is how long a delivery stays with its member where the
// subscription does not say.
const DefaultLease = 30 * time.Second

// source is one member of a group. The topic's mu guards it, except what never
// changes.
type source struct {
	group   *group
	shards  []int
	ordered bool
	lease   time.Duration
	wake    chan struct{} // looked at while idle

	ended  error // why Receive returns no more; nil: it does
	leases list
	turn   int // index in shards where the next Receive begins
	batch  []*driver.Message
}

func newSource(g *group, sub driver.Subscription, shards []int) *source {
	s := &source{group: g, shards: shards, ordered: sub.Ordered, lease: sub.Lease, wake: make(chan struct{}, 1)}
	if s.lease <= 0 {
		s.lease = DefaultLease
	}
	s.lease = min(s.lease, century)
	return s
}

func (s *source) reads(shard int) bool {
	return len(s.shards) == len(s.group.parts) || slices.Contains(s.shards, shard)
}

// stop ends the source; a Receive that waits returns.
func (s *source) stop(why error) {
	if s.ended == nil {
		s.ended = why
		s.group.awake(s)
		wake(s.wake)
	}
}

// Receive implements [driver.Source].
func (s *source) Receive(ctx context.Context, limit int) ([]*driver.Message, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	t := s.group.topic
	t.mu.Lock()
	defer t.mu.Unlock()
	for {
		if s.ended != nil {
			return nil, s.ended
		}
		if s.take(max(limit, 1)); len(s.batch) > 0 {
			s.group.wakeFor(s)
			return s.batch, nil
		}
		if err := s.wait(ctx); err != nil {
			s.group.wakeFor(s)
			return nil, err
		}
	}
}

// wait releases mu until something may be there.
func (s *source) wait(ctx context.Context) error {
	g := s.group
	select {
	case <-s.wake: // of an earlier wait
	default:
	}
	g.idle = append(g.idle, s)
	g.topic.mu.Unlock()
	var err error
	select {
	case <-s.wake:
	case <-ctx.Done():
		err = ctx.Err()
	}
	g.topic.mu.Lock()
	g.awake(s)
	if s.ended != nil {
		return s.ended
	}
	return err
}

// take fills the batch: first what is delivered again, of all shards, then what
// is new, each shard in its order.
func (s *source) take(limit int) {
	clear(s.batch)
	s.batch = s.batch[:0]
	g := s.group
	now := g.topic.broker.monotonic(time.Now())
	for i := 0; i < len(s.shards) && g.ready > 0; i++ {
		p := s.part(i)
		for len(p.ready.items) > 0 && len(s.batch) < limit {
			s.redeliver(g.takeReady(p), now)
		}
	}
	for i := 0; i < len(s.shards) && len(s.batch) < limit; i++ {
		s.takeNew(s.part(i), limit, now)
	}
	if len(s.batch) == 0 {
		return
	}
	s.turn = (s.turn + 1) % len(s.shards)
	g.topic.arm(now + int64(s.lease))
	if !s.ordered && g.topic.broker.paranoia.on {
		g.topic.broker.paranoia.shuffle(g.topic.hash, s.batch)
	}
}

// part is the i-th to read, beginning where it is the source's turn.
func (s *source) part(i int) *part {
	return &s.group.parts[s.shards[(s.turn+i)%len(s.shards)]]
}

func (s *source) takeNew(p *part, limit int, now int64) {
	g := s.group
	for p.waiting > 0 && p.hold == 0 && len(s.batch) < limit {
		if g.topic.broker.paranoia.on && s.heldBack(p, now) {
			continue
		}
		c, i := p.take(p.shard)
		s.deliver(c, i, 1, now)
	}
}

// deliver makes a delivery.
func (s *source) deliver(c *chunk, i int, count uint16, now int64) {
	d := &delivery{source: s, chunk: c, index: uint8(i), count: count, at: now + int64(s.lease)}
	d.fill(&c.entries[i], s.group.topic.broker.paranoia.on)
	s.leases.push(d)
	s.batch = append(s.batch, &d.msg)
}

// redeliver makes a delivery of one that was given back or has expired.
func (s *source) redeliver(d *delivery, now int64) {
	c, i, count := d.chunk, int(d.index), d.again()
	d.end()
	s.deliver(c, i, count, now)
}

// expire makes the deliveries available whose lease has ended.
func (s *source) expire(now int64) {
	for d := s.leases.first; d != nil && d.at <= now; d = s.leases.first {
		s.leases.remove(d)
		d.state = expired
		s.group.giveBack(d)
	}
	if s.leases.first != nil {
		s.group.topic.arm(s.leases.first.at)
	}
}

// Settle implements [driver.Source]. It never waits.
func (s *source) Settle(_ context.Context, batch []driver.Settlement) error {
	t := s.group.topic
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return errClosed()
	}
	var failed driver.BatchError
	for i := range batch {
		if err := s.settle(&batch[i]); err != nil {
			if failed == nil {
				failed = driver.BatchError{}
			}
			failed[i] = err
		}
	}
	t.wakePublisher()
	return failed.Err()
}

func (s *source) settle(one *driver.Settlement) error {
	d := s.holds(one.Token)
	if d == nil {
		return fmt.Errorf("topic %q: group %q: %w", s.group.topic.name, s.group.name, driver.ErrStale)
	}
	if one.Outcome > driver.HandBack {
		return fmt.Errorf("topic %q: group %q: outcome %d: use Ack, Nack or HandBack", s.group.topic.name, s.group.name, one.Outcome)
	}
	s.withdraw(d)
	switch {
	case one.Outcome == driver.Ack:
		s.group.done(d)
	case one.Outcome == driver.Nack && one.Delay > 0:
		s.group.delay(d, one.Delay)
	default:
		s.group.giveBack(d)
	}
	return nil
}

// holds returns the delivery that a token names, if it is still the source's.
func (s *source) holds(token driver.Token) *delivery {
	d, ok := token.(*delivery)
	if !ok || d == nil || d.source != s || s.ended != nil || !d.held() {
		return nil
	}
	return d
}

// withdraw takes a delivery that is held out of the list or queue that it is in.
func (s *source) withdraw(d *delivery) {
	if d.state == leased {
		s.leases.remove(d)
	} else {
		s.group.parts[d.chunk.shard.index].ready.remove(d)
		s.group.ready--
	}
	d.state = returned
}

// Extend implements [driver.Source]. It never waits.
func (s *source) Extend(_ context.Context, tokens []driver.Token) (lost []driver.Token, err error) {
	t := s.group.topic
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, errClosed()
	}
	until := t.due(s.lease)
	for _, token := range tokens {
		d := s.holds(token)
		if d == nil {
			lost = append(lost, token)
			continue
		}
		s.withdraw(d)
		d.state, d.at = leased, until
		s.leases.push(d)
		t.arm(until)
	}
	return lost, nil
}

// Close implements [driver.Source]. It never waits.
func (s *source) Close(context.Context) error {
	g := s.group
	g.topic.mu.Lock()
	defer g.topic.mu.Unlock()
	if s.ended != nil {
		return nil
	}
	g.remove(s, fmt.Errorf("topic %q: group %q: %w", g.topic.name, g.name, driver.ErrClosed))
	if g.ephemeral && len(g.sources) == 0 {
		g.topic.leave(g)
	}
	return nil
}
