package watermillkafka

import (
	"context"
	"sync"

	"github.com/IBM/sarama"

	"github.com/anywire/anywire/transport/driver"
)

// claim is one partition for as long as this member has it. The adapter has one
// record of it in flight at a time.
type claim struct {
	sarama.ConsumerGroupClaim

	w         *watch
	partition int32
	messages  chan *sarama.ConsumerMessage
	revoked   chan struct{} // closed when the partition moves away
	over      chan struct{} // closed when the adapter has done with it

	mu       sync.Mutex
	expected map[int64]chan struct{} // closed when the offset is committed
	left     int64                   // the offset that must not be marked; -1: none
	current  int64                   // the offset that was marked last; -1: none
}

func newClaim(w *watch, from sarama.ConsumerGroupClaim) *claim {
	return &claim{
		ConsumerGroupClaim: from, w: w, partition: from.Partition(),
		messages: make(chan *sarama.ConsumerMessage), revoked: make(chan struct{}), over: make(chan struct{}),
		expected: map[int64]chan struct{}{}, left: -1, current: -1,
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

// expect is closed when the offset is committed.
func (c *claim) expect(offset int64) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	done, asked := c.expected[offset]
	if !asked {
		done = make(chan struct{})
		c.expected[offset] = done
	}
	return done
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
	c.current = offset
	return true
}

// marked reports whether there is anything to commit.
func (c *claim) marked() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current >= 0
}

// confirm tells who waits that the marked position is committed.
func (c *claim) confirm() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if done, asked := c.expected[c.current]; asked {
		close(done)
		delete(c.expected, c.current)
	}
}

// result is what became of an offset when the claim is over.
func (*claim) result(done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	default:
		return driver.ErrStale
	}
}
