package memory

import (
	"context"

	"github.com/anywire/anywire/transport/driver"
)

var _ driver.Remover = (*Broker)(nil)

// Remove implements [driver.Remover]. A group that has not got a message does not
// get it any more; what a member holds goes when it is settled. It never waits.
func (b *Broker) Remove(_ context.Context, topic string, msgs []*driver.Message) error {
	t, err := b.existing(topic)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return errClosed()
	}
	for _, m := range msgs {
		t.remove(m.Shard, m.Seq)
	}
	t.wakePublisher()
	return nil
}

// remove takes one message from every reader that has not come to it.
func (t *topic) remove(shard int, seq uint64) {
	if shard < 0 || shard >= len(t.shards) {
		return
	}
	s := &t.shards[shard]
	c, i, ok := s.find(seq)
	if !ok {
		return
	}
	for _, g := range t.groups {
		if g.parts[shard].forget(c, i) {
			g.unsettled--
		}
	}
	for _, b := range t.browsers {
		b.cursors[shard].forget(c, i)
	}
	c.removed |= 1 << i // it goes with its last reader
	if c.left[i] == 0 {
		t.unread(c, i)
	}
}

// forget has a cursor that has not come to a message pass it over.
func (c *cursor) forget(at *chunk, i int) bool {
	if c.waiting == 0 || c.mark.after(at, i) {
		return false
	}
	c.waiting--
	at.left[i]--
	return true
}

// find is where a message is.
func (s *shard) find(seq uint64) (c *chunk, i int, ok bool) {
	for c := s.first; c != nil && c.base <= seq; c = c.next {
		if seq < c.base+uint64(c.n) {
			i := int(seq - c.base)
			return c, i, !c.isGone(i)
		}
	}
	return nil, 0, false
}
