package memory

import "github.com/anywire/anywire/transport/driver"

// entry is a stored message. A million of them wait in a queue: what most
// messages lack is behind the pointer.
type entry struct {
	key       string
	local     any
	wire      *wire
	published int64  // Unix time in ns
	order     uint64 // of its coming, among all of the topic
}

// wire is what a message has that is not carried by reference.
type wire struct {
	headers   []driver.Header
	body      []byte
	deliverAt int64 // Unix time in ns; 0: none
}

// localSize stands for what is carried by reference.
const localSize = 1024

func (e *entry) size() int64 {
	n := len(e.key)
	if e.local != nil {
		n += localSize
	}
	if e.wire != nil {
		n += len(e.wire.body)
		for _, h := range e.wire.headers {
			n += len(h.Name) + len(h.Value)
		}
	}
	return int64(n)
}

// since is from when on a group that starts at a time gets the message.
func (e *entry) since() int64 {
	if e.wire != nil {
		return max(e.published, e.wire.deliverAt)
	}
	return e.published
}

const chunkSize = 64 // bits of a word

// chunk is a piece of a shard. It leaves the list when all of its messages are
// gone, so one that is never settled holds up 63 others at most.
type chunk struct {
	shard      *shard
	base       uint64 // Seq of entries[0]
	n          int    // entries that are used
	live       int    // of these, not gone
	gone       uint64 // bit i: entries[i] was dropped
	settled    uint64 // bit i: some group has settled entries[i]
	removed    uint64 // bit i: entries[i] is to go, whoever would keep it
	prev, next *chunk
	left       [chunkSize]int32 // how many readers have not settled it
	entries    [chunkSize]entry
}

func (c *chunk) isGone(i int) bool { return c.gone>>i&1 != 0 }

func (c *chunk) seq(i int) uint64 { return c.base + uint64(i) }

// shard is an endless list of messages with holes.
type shard struct {
	index       int
	next        uint64 // Seq of the next message; the first is 1
	first, last *chunk
	horizon     mark // where what is kept for its own sake begins
}

func (s *shard) append(e *entry, readers int32) (c *chunk, i int) {
	c = s.last
	if c == nil || c.n == chunkSize {
		c = s.grow()
	}
	i = c.n
	c.entries[i], c.left[i] = *e, readers
	c.n++
	c.live++
	s.next++
	return c, i
}

func (s *shard) grow() *chunk {
	c := &chunk{shard: s, base: s.next, prev: s.last}
	full := s.last
	s.last = c
	if full == nil {
		s.first = c
		return c
	}
	full.next = c
	if full.live == 0 {
		s.unlink(full)
	}
	return c
}

// drop forgets a message. The last chunk stays, since marks wait at its end.
func (s *shard) drop(c *chunk, i int) {
	c.entries[i] = entry{}
	c.gone |= 1 << i
	c.live--
	if c.live == 0 && c.n == chunkSize && c != s.last {
		s.unlink(c)
	}
}

// unlink leaves c.next: a mark that stands at c's end finds its way on. Nothing
// else may keep an unlinked chunk, since that keeps all that follow.
func (s *shard) unlink(c *chunk) {
	c.next.prev = c.prev
	if c.prev == nil {
		s.first = c.next
	} else {
		c.prev.next = c.next
	}
	c.prev = nil
}

func (s *shard) end() mark {
	if s.last == nil {
		return mark{}
	}
	return mark{s.last, s.last.n}
}

// mark is a place in a shard; the zero mark is its beginning.
type mark struct {
	chunk *chunk
	i     int
}

// live moves the mark to the next message that is not gone, if it is not at one.
func (m *mark) live(s *shard) bool {
	if m.chunk == nil {
		m.chunk = s.first
	}
	for c := m.chunk; c != nil; c = m.chunk {
		for m.i < c.n && c.isGone(m.i) {
			m.i++
		}
		if m.i < c.n {
			return true
		}
		if c.next == nil {
			return false
		}
		m.chunk, m.i = c.next, 0
	}
	return false
}

func (m *mark) entry() *entry { return &m.chunk.entries[m.i] }

// after reports whether the mark stands after a message.
func (m *mark) after(c *chunk, i int) bool {
	return m.chunk != nil && c.seq(i) < m.chunk.seq(m.i)
}

// cursor is how far a reader has come in a shard.
type cursor struct {
	mark    mark
	waiting int // messages from mark on
}

// take moves the cursor over the next message; waiting is positive.
func (c *cursor) take(s *shard) (at *chunk, i int) {
	c.mark.live(s)
	at, i = c.mark.chunk, c.mark.i
	c.mark.i++
	c.waiting--
	return at, i
}
