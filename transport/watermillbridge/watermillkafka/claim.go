package watermillkafka

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/anywire/anywire/transport/driver"
)

// claim is one partition for as long as this member has it. The adapter has one
// record of it in flight at a time.
type claim struct {
	sarama.ConsumerGroupClaim

	w         *watch
	session   sarama.ConsumerGroupSession
	partition int32
	messages  chan *sarama.ConsumerMessage
	revoked   chan struct{} // closed when the partition moves away
	over      chan struct{} // closed when the adapter has done with it

	mu      sync.Mutex
	acks    map[int64]*ack // that are not committed, by offset
	changed chan struct{}  // closed and replaced when one is gone
	left    int64          // the offset that must not be marked; -1: none

	committing sync.Mutex // one after the other: a position never goes back
	committed  int64      // the position; under committing
}

// ack is an acknowledgement on its way.
type ack struct{ marked chan struct{} }

func newClaim(w *watch, s sarama.ConsumerGroupSession, from sarama.ConsumerGroupClaim) *claim {
	return &claim{
		ConsumerGroupClaim: from, w: w, session: s, partition: from.Partition(),
		messages: make(chan *sarama.ConsumerMessage), revoked: make(chan struct{}), over: make(chan struct{}),
		acks: map[int64]*ack{}, changed: make(chan struct{}), left: -1,
	}
}

// Messages are those that come before the partition moves away.
func (c *claim) Messages() <-chan *sarama.ConsumerMessage { return c.messages }

// forward ends when the session does.
func (c *claim) forward(session context.Context) {
	defer close(c.messages)
	defer close(c.revoked)
	for {
		select {
		case m, ok := <-c.ConsumerGroupClaim.Messages():
			if !ok {
				<-session.Done()
				return
			}
			select {
			case c.messages <- m:
			case <-session.Done():
				return
			case <-c.over:
				return
			}
		case <-session.Done():
			return
		case <-c.over:
			return
		}
	}
}

// expect notes an acknowledgement.
func (c *claim) expect(offset int64) *ack {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.acks[offset]
	if a == nil {
		a = &ack{marked: make(chan struct{})}
		c.acks[offset] = a
	}
	return a
}

// forget ends an acknowledgement.
func (c *claim) forget(offset int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.acks, offset)
	close(c.changed)
	c.changed = make(chan struct{})
}

// settled waits for a while until no acknowledgement is on its way: afterwards the
// brokers take none of this claim any more.
func (c *claim) settled(patience time.Duration) {
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		c.mu.Lock()
		left, changed := len(c.acks), c.changed
		c.mu.Unlock()
		if left == 0 {
			return
		}
		select {
		case <-changed:
		case <-late.C:
			return
		case <-c.w.gone:
			return
		}
	}
}

// leave keeps an offset from being marked.
func (c *claim) leave(offset int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left = offset
}

// marks notes that the adapter has done with a record, and reports whether its
// position counts.
func (c *claim) marks(offset int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left >= 0 && offset >= c.left {
		return false
	}
	if a := c.acks[offset]; a != nil {
		close(a.marked)
	}
	return true
}

// confirm waits until the adapter has done with an acknowledged record, and commits
// the position after it. It may be called again after a failure.
func (c *claim) confirm(ctx context.Context, a *ack, offset int64) error {
	select {
	case <-a.marked:
	case <-c.over:
		return c.end(offset, driver.ErrStale)
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-c.w.gone:
		return c.end(offset, driver.ErrStale)
	default:
	}
	if c.w.d.o.CommitInterval > 0 {
		return c.end(offset, nil) // sarama does it, some time
	}
	done := make(chan error, 1)
	go func() { done <- c.commit(offset + 1) }()
	select {
	case err := <-done:
		if errors.Is(err, driver.ErrNotFound) {
			c.w.lose()
			err = driver.ErrStale
		}
		return c.end(offset, err)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// end forgets the acknowledgement unless it has to be repeated.
func (c *claim) end(offset int64, err error) error {
	if err == nil || errors.Is(err, driver.ErrStale) {
		c.forget(offset)
	}
	return err
}

// commit writes the position. The connection that fetches does it only between two
// fetches, which wait for messages; this is another one, and it hears the answer.
func (c *claim) commit(position int64) error {
	c.committing.Lock()
	defer c.committing.Unlock()
	if c.committed >= position {
		return nil
	}
	err := c.w.d.commit(c.session, c.w.sub, c.partition, position)
	if err == nil {
		c.committed = position
	}
	return err
}
