package memory

import "time"

// retains reports whether the topic has a retention of its own.
func (t *topic) retains() bool { return t.age != 0 || t.bytes != 0 }

// rings reports whether the topic is a ring of its newest messages.
func (t *topic) rings() bool { return len(t.groups) == 0 && !t.dead && !t.retains() }

// keeps reports whether messages behind the horizons stay for their own sake.
func (t *topic) keeps() bool { return t.retains() || t.rings() }

// unread is called when no reader needs a message any more.
func (t *topic) unread(c *chunk, i int) {
	switch {
	case c.removed>>i&1 != 0:
		if t.keeps() && !c.shard.horizon.after(c, i) {
			t.kept--
			t.keptBytes -= c.entries[i].size()
		}
	case t.keeps():
		if !c.shard.horizon.after(c, i) {
			return
		}
	case t.dead:
		if c.settled>>i&1 == 0 {
			return
		}
	}
	t.drop(c, i)
}

func (t *topic) drop(c *chunk, i int) {
	c.shard.drop(c, i)
	t.live--
}

// trim moves the horizons over what is beyond the ring or the retention.
func (t *topic) trim(now int64) {
	if !t.keeps() {
		return
	}
	for t.kept > 0 {
		s := t.oldestKept()
		if !t.beyond(s.horizon.entry(), now) {
			t.armTrim(s.horizon.entry(), now)
			return
		}
		t.pass(s)
	}
}

// oldestKept is the shard with the oldest message behind its horizon. There is
// one: kept is positive.
func (t *topic) oldestKept() *shard {
	var oldest *shard
	for i := range t.shards {
		s := &t.shards[i]
		if s.horizon.live(s) && (oldest == nil || s.horizon.entry().order < oldest.horizon.entry().order) {
			oldest = s
		}
	}
	return oldest
}

func (t *topic) beyond(e *entry, now int64) bool {
	if !t.retains() {
		return t.kept > RingSize
	}
	return t.bytes > 0 && t.keptBytes > t.bytes || t.age > 0 && e.since() <= now-int64(t.age)
}

// pass moves the horizon of s over one message.
func (t *topic) pass(s *shard) {
	c, i := s.horizon.chunk, s.horizon.i
	t.kept--
	t.keptBytes -= c.entries[i].size()
	if t.rings() {
		t.fell()
	}
	s.horizon.i++
	if c.left[i] == 0 {
		t.drop(c, i)
	}
}

// fell counts a message that nobody has read.
func (t *topic) fell() {
	t.tell = t.tell || t.dropped == 0
	t.dropped++
}

// armTrim wakes the topic when its oldest message is over age. It is not
// punctual: whoever looks at the topic trims it first.
func (t *topic) armTrim(oldest *entry, now int64) {
	if t.age <= 0 {
		return
	}
	wait := max(time.Duration(oldest.since()-now)+t.age, t.age/16, time.Millisecond)
	t.armIn(wait)
}

// keepAnew sets the horizons to the beginning, after the last group has left:
// what is there becomes the ring.
func (t *topic) keepAnew() {
	if !t.rings() {
		return
	}
	t.kept, t.keptBytes = t.live, 0
	for i := range t.shards {
		s := &t.shards[i]
		s.horizon = mark{chunk: s.first}
		for c := s.first; c != nil; c = c.next {
			for j := range c.n {
				t.keptBytes += c.entries[j].size()
			}
		}
	}
}

// stopKeeping forgets the ring, after the first group has come: it holds only
// what a reader needs.
func (t *topic) stopKeeping() {
	if t.retains() || t.dead {
		return
	}
	t.kept, t.keptBytes = 0, 0
	for i := range t.shards {
		s := &t.shards[i]
		s.horizon = mark{}
		for c := s.first; c != nil; c = c.next {
			for j := range c.n {
				if !c.isGone(j) && c.left[j] == 0 {
					t.drop(c, j)
				}
			}
		}
	}
}
