package watermillbridge

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/anywire/anywire/transport/driver"
)

// source is one member of a group for the engine, and one or more subscriptions
// for the Pub/Sub. The mutex guards what follows it, and nobody waits while
// holding it.
type source struct {
	d    *Driver
	sub  driver.Subscription
	wake chan struct{} // something came for Receive; one signal is kept
	over chan struct{} // closed when the source is

	mu        sync.Mutex
	consumers []*consumer
	queue     []*delivery // not returned by Receive yet
	held      map[driver.Token]*delivery
	last      uint64 // the last token
	broken    error  // a subscription ended by itself
	passing   error  // what keeps a subscription from fetching, to be told once
	closing   bool
	leaving   sync.Once
	left      chan struct{} // closed when every subscription is gone
	leftErr   error
}

var _ driver.Source = (*source)(nil)

// token names a delivery to its source.
type token uint64

// delivery is one message that the Pub/Sub delivered and nobody settled.
type delivery struct {
	driver.Message

	from      *consumer
	w         *message.Message
	lease     *time.Timer // nil: it does not end
	confirmed func(ctx context.Context) error
}

func newSource(d *Driver, sub driver.Subscription) *source {
	return &source{
		d: d, sub: sub,
		wake: make(chan struct{}, 1), over: make(chan struct{}), left: make(chan struct{}),
		held: map[driver.Token]*delivery{},
	}
}

// Receive waits for deliveries. It returns [driver.ErrStale] when the Pub/Sub
// ended a subscription by itself: the engine then opens another source.
func (s *source) Receive(ctx context.Context, most int) ([]*driver.Message, error) {
	for {
		msgs, err := s.take(most)
		if len(msgs) > 0 || err != nil {
			return msgs, err
		}
		s.want(true)
		select {
		case <-s.wake:
		case <-s.over:
		case <-ctx.Done():
			err = ctx.Err()
		}
		s.want(false)
		if err != nil {
			return nil, err
		}
	}
}

// want tells subscribers that fetch on demand whether somebody waits.
func (s *source) want(wanted bool) {
	s.mu.Lock()
	consumers := s.consumers
	s.mu.Unlock()
	for _, c := range consumers {
		if c.fetch != nil {
			c.fetch.Want(wanted)
		}
	}
}

func (s *source) take(most int) ([]*driver.Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch n := min(most, len(s.queue)); {
	case s.closing:
		return nil, s.closedError()
	case n > 0:
		msgs := make([]*driver.Message, n)
		for i, d := range s.queue[:n] {
			msgs[i] = &d.Message
		}
		s.queue = slices.Delete(s.queue, 0, n)
		if len(s.queue) > 0 {
			signal(s.wake)
		}
		return msgs, nil
	case s.broken != nil:
		return nil, s.broken
	}
	err := s.passing
	s.passing = nil
	return nil, err
}

// trouble notes why a subscription cannot fetch just now.
func (s *source) trouble(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.passing = s.d.o.Wrap(err)
	signal(s.wake)
}

func (s *source) closedError() error {
	return fmt.Errorf("source of %q for group %q: %w", s.sub.Topic, s.sub.Group, driver.ErrClosed)
}

// admit takes a message that a subscription delivered. It is false where nobody
// may have it: what comes while the source closes stays where it is, neither
// acknowledged nor refused, since a subscriber that is being closed gives it back
// by itself; what comes of a shard that moves away is left to its new owner.
func (s *source) admit(c *consumer, w *message.Message) bool {
	d := &delivery{from: c, w: w, Message: *s.d.toDriver(w)}
	if c.ack != nil {
		c.ack.Describe(w, &d.Message)
	}
	if d.revoked() {
		d.leave()
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return false
	}
	s.last++
	d.Token = token(s.last)
	if lease := s.d.o.MaxLease; lease > 0 {
		d.lease = time.AfterFunc(lease, func() { s.expire(d) })
	}
	s.held[d.Token] = d
	s.queue = append(s.queue, d)
	if c.fetch != nil {
		c.fetch.Taken(w)
	}
	signal(s.wake)
	return true
}

// expire gives up a delivery that the Pub/Sub may give to another member.
func (s *source) expire(d *delivery) {
	s.mu.Lock()
	if s.closing || s.held[d.Token] != d || d.confirmed != nil {
		s.mu.Unlock()
		return
	}
	s.forget(d)
	s.mu.Unlock()
	d.leave()
}

// forget ends a delivery as far as the source is concerned, and makes room. The
// caller holds the lock.
func (s *source) forget(d *delivery) {
	delete(s.held, d.Token)
	s.queue = slices.DeleteFunc(s.queue, func(q *delivery) bool { return q == d })
	if d.lease != nil {
		d.lease.Stop()
	}
	<-d.from.slots
}

// leave ends the delivery without an acknowledgement.
func (d *delivery) leave() {
	if d.from.ack != nil {
		d.from.ack.Leave(d.w)
		return
	}
	d.w.Nack()
}

// revoked reports whether the delivery's shard has moved away.
func (d *delivery) revoked() bool {
	select {
	case <-d.Revoked: // nil: it does not move
		return true
	default:
		return false
	}
}

// fail notes that a subscription ended by itself.
func (s *source) fail(c *consumer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing || s.broken != nil {
		return
	}
	s.broken = fmt.Errorf("the Pub/Sub ended the subscription of %q for group %q by itself: %w",
		s.sub.Topic, s.sub.Group, driver.ErrStale)
	for _, d := range s.held {
		if d.from == c && d.confirmed == nil {
			s.forget(d)
		}
	}
	signal(s.wake)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
