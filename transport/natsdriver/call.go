package natsdriver

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"

	"github.com/anywire/anywire/transport/driver"
)

// call is one Publish on its way. It is used again.
type call struct {
	topic *topic
	msgs  []*driver.Message
	slots []uint64 // the tokens of what was sent
	todo  []int    // the indexes that are sent again
	left  atomic.Int64
	done  chan struct{} // one signal when left is 0

	mu     sync.Mutex
	failed driver.BatchError
	absent []int // indexes that the server surely did not store, and may later
	full   error // why, if not for want of JetStream
}

// release counts one message, or the sender, as ended.
func (c *call) release() {
	if c.left.Add(-1) == 0 {
		c.done <- struct{}{}
	}
}

// reject notes why a message is not stored.
func (c *call) reject(i int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case errors.Is(err, errNoJetStream):
		c.absent = append(c.absent, i)
	case isFull(err):
		c.absent = append(c.absent, i)
		c.full = err
	default:
		c.fail(i, err)
	}
}

func (c *call) fail(i int, err error) {
	if c.failed == nil {
		c.failed = driver.BatchError{}
	}
	c.failed[i] = err
}

// failRest fails what was not sent, from the at-th of n on.
func (c *call) failRest(all bool, n, at int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for ; at < n; at++ {
		i := at
		if !all {
			i = c.todo[at]
		}
		c.fail(i, err)
	}
}

// unstored reports whether sending again could help.
func (c *call) unstored() bool { return len(c.absent) > 0 }

func (c *call) failUnstored(err error) {
	for _, i := range c.absent {
		c.fail(i, err)
	}
	c.absent = c.absent[:0]
}

// result is the outcome once nothing is on its way.
func (c *call) result(ctx context.Context) error {
	if c.unstored() {
		err := errNoJetStream
		if c.full != nil {
			err = fmt.Errorf("topic %q is full: %w", c.topic.name, c.full)
		}
		if ctx.Err() != nil {
			err = fmt.Errorf("%w: %w", err, ended(ctx))
		}
		c.failUnstored(err)
	}
	if len(c.msgs) == 1 && len(c.failed) == 1 {
		return c.failed[0]
	}
	return c.failed.Err()
}

// outgoing is what a message needs while it is written.
type outgoing struct {
	msg    nats.Msg
	values []string
}

// sizeOf is what MaxBody bounds.
func sizeOf(m *driver.Message) int {
	n := len(m.Key) + len(m.Body)
	for i := range m.Headers {
		n += len(m.Headers[i].Name) + len(m.Headers[i].Value)
	}
	return n
}
