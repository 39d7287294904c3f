package redisdriver

import (
	"time"

	"github.com/anywire/anywire/internal/redisconn"
)

// call is a part of one Publish on its way. It is used again, unless its caller
// left before the end.
type call struct {
	commands []*xadd // those in use
	spare    []*xadd
	indexes  []int // of the commands' messages
	bytes    int
	ordered  bool // all or nothing
	keys     map[string]struct{}

	done  chan struct{} // one signal at the end
	timer *time.Timer

	// Under the publisher's lock.
	queued    bool // nobody has begun to send it
	abandoned bool // the caller left: drop it at the end
}

func newCall() *call {
	c := &call{done: make(chan struct{}, 1), keys: map[string]struct{}{}, timer: time.NewTimer(time.Hour)}
	c.timer.Stop()
	return c
}

// add takes a command for message i.
func (c *call) add(i int) *xadd {
	var x *xadd
	if n := len(c.spare); n > 0 {
		x, c.spare = c.spare[n-1], c.spare[:n-1]
	} else {
		x = newXadd()
	}
	c.commands, c.indexes = append(c.commands, x), append(c.indexes, i)
	return x
}

// reset makes the call ready for another use.
func (c *call) reset() {
	for _, x := range c.commands {
		x.release()
		c.spare = append(c.spare, x)
	}
	clear(c.commands)
	c.commands, c.indexes, c.bytes, c.ordered = c.commands[:0], c.indexes[:0], 0, false
	c.queued, c.abandoned = false, false
}

// fail ends every command that has no end yet.
func (c *call) fail(err error) {
	for _, x := range c.commands {
		if x.err == nil {
			x.err = err
		}
	}
}

// untouched reports whether the server cannot have stored any of it, and may
// later: nothing was written, or it answered that it cannot now.
func (c *call) untouched() bool {
	for _, x := range c.commands {
		if x.stored() || x.sent && !redisconn.IsPassing(x.Err()) || !x.sent && redisconn.IsFinal(x.Err()) {
			return false
		}
	}
	return true
}

// settle notes what became of each command.
func (c *call) settle() {
	for _, x := range c.commands {
		if x.stored() {
			continue
		}
		x.err = unconfirmed(x)
	}
}
