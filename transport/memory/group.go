package memory

import (
	"fmt"
	"slices"
	"time"

	"github.com/anywire/anywire/transport/driver"
)

// group is one consumer group of a topic. The topic's mu guards it.
type group struct {
	topic     *topic
	name      string
	hash      uint64
	ephemeral bool
	parts     []part // one per shard
	unsettled int
	ready     int   // in the parts' queues
	delayed   queue // nacked with a delay, or held back by the paranoia

	sources []*source
	idle    []*source // wait in Receive, the longest first
	woken   []*source // taken out of idle, and not running yet
}

// part is a group's place in one shard.
type part struct {
	cursor

	shard  *shard
	ready  queue  // to be delivered again
	hold   int64  // paranoia: an ordered shard waits until this monotonic time
	passed uint64 // paranoia: this message has waited
}

func (p *part) available() bool { return len(p.ready.items) > 0 || p.waiting > 0 && p.hold == 0 }

func (t *topic) group(name string) *group {
	for _, g := range t.groups {
		if g.name == name {
			return g
		}
	}
	return nil
}

// join makes a group that begins at start.
func (t *topic) join(sub driver.Subscription) *group {
	t.trim(time.Now().UnixNano())
	g := &group{
		topic: t, name: sub.Group, ephemeral: sub.Ephemeral,
		hash:  hashName(t.hash, sub.Group),
		parts: make([]part, len(t.shards)), delayed: queue{byTime: true},
	}
	for i := range t.shards {
		p := &g.parts[i]
		p.shard, p.cursor = &t.shards[i], attach(&t.shards[i], sub.Start)
		g.unsettled += p.waiting
	}
	t.groups = append(t.groups, g)
	if len(t.groups) == 1 {
		t.stopKeeping()
	}
	return g
}

// attach makes a cursor: the messages from start on need one reader more.
func attach(s *shard, start driver.Start) cursor {
	c := cursor{mark: s.end()}
	if start.At == driver.StartNow {
		return c
	}
	m := mark{}
	for m.live(s) {
		if c.waiting > 0 || start.At == driver.StartOldest || !time.Unix(0, m.entry().since()).Before(start.Time) {
			if c.waiting == 0 {
				c.mark = m
			}
			m.chunk.left[m.i]++
			c.waiting++
		}
		m.i++
	}
	return c
}

// detach undoes attach for what the cursor has not passed.
func (t *topic) detach(s *shard, c *cursor) {
	for c.waiting > 0 {
		t.release(c.take(s))
	}
}

// release takes one reader of a message away.
func (t *topic) release(c *chunk, i int) {
	c.left[i]--
	if c.left[i] == 0 {
		t.unread(c, i)
	}
}

// leave removes an ephemeral group without members.
func (t *topic) leave(g *group) {
	t.groups = slices.DeleteFunc(t.groups, func(other *group) bool { return other == g })
	t.keepAnew()
	pending := g.delayed.items
	for i := range g.parts {
		t.detach(g.parts[i].shard, &g.parts[i].cursor)
		pending = append(pending, g.parts[i].ready.items...)
	}
	for _, d := range pending {
		t.release(d.chunk, int(d.index))
		d.end()
	}
	t.trim(time.Now().UnixNano())
	t.wakePublisher()
}

// subscribe adds a member to a group. It takes mu.
func (t *topic) subscribe(sub driver.Subscription) (*source, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, errClosed()
	}
	shards, err := t.shardsOf(sub)
	if err != nil {
		return nil, err
	}
	g := t.group(sub.Group)
	if g == nil {
		g = t.join(sub)
	}
	s := newSource(g, sub, shards)
	if s.ordered {
		g.takeOver(shards)
	}
	g.sources = append(g.sources, s)
	return s, nil
}

// shardsOf lists the shards that a subscription reads.
func (t *topic) shardsOf(sub driver.Subscription) ([]int, error) {
	n := len(t.shards)
	for _, shard := range sub.Shards {
		if shard < 0 || shard >= n {
			return nil, fmt.Errorf("topic %q has no shard %d: it has %d, counted from 0", t.name, shard, n)
		}
	}
	if sub.Shards != nil {
		return slices.Clone(sub.Shards), nil
	}
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all, nil
}

// takeOver ends the ordered sources that read one of the shards: the new reader
// begins with what they hold.
func (g *group) takeOver(shards []int) {
	for _, s := range slices.Clone(g.sources) {
		if s.ordered && slices.ContainsFunc(shards, s.reads) {
			g.remove(s, fmt.Errorf("topic %q: group %q: another member reads the shard: %w", g.topic.name, g.name, driver.ErrStale))
		}
	}
}

// remove ends a source, and gives back what it holds.
func (g *group) remove(s *source, why error) {
	s.stop(why)
	g.sources = slices.DeleteFunc(g.sources, func(other *source) bool { return other == s })
	for d := s.leases.first; d != nil; d = s.leases.first {
		s.leases.remove(d)
		g.giveBack(d)
	}
	g.wakeFor(s)
}

// arrived counts a new message of a shard.
func (g *group) arrived(s *shard) {
	g.unsettled++
	p := &g.parts[s.index]
	p.waiting++
	if len(g.idle) > 0 && p.hold == 0 {
		g.wake(s.index)
	}
}

// giveBack makes a delivery available to any member.
func (g *group) giveBack(d *delivery) {
	if d.state != expired {
		d.state = returned
	}
	shard := d.chunk.shard.index
	g.parts[shard].ready.push(d)
	g.ready++
	g.wake(shard)
}

// done settles a delivery for good.
func (g *group) done(d *delivery) {
	c, i := d.chunk, int(d.index)
	d.end()
	g.unsettled--
	c.settled |= 1 << i
	g.topic.release(c, i)
}

// delay makes a delivery available later.
func (g *group) delay(d *delivery, wait time.Duration) {
	d.at = g.topic.due(wait)
	g.delayed.push(d)
	g.topic.arm(d.at)
}

// takeReady takes a delivery that waits to be made again.
func (g *group) takeReady(p *part) *delivery {
	g.ready--
	return p.ready.pop()
}

// wake lets one idle source look for messages of a shard, unless one that was
// woken before will do. It wakes the next itself if it leaves any.
func (g *group) wake(shard int) {
	reads := func(s *source) bool { return s.reads(shard) }
	if len(g.idle) == 0 || len(g.woken) > 0 && slices.ContainsFunc(g.woken, reads) {
		return
	}
	if i := slices.IndexFunc(g.idle, reads); i >= 0 {
		s := g.idle[i]
		g.idle = slices.Delete(g.idle, i, i+1)
		g.woken = append(g.woken, s)
		wake(s.wake)
	}
}

// wakeFor passes on what s leaves.
func (g *group) wakeFor(s *source) {
	if len(g.idle) == 0 {
		return
	}
	for _, shard := range s.shards {
		if g.parts[shard].available() {
			g.wake(shard)
		}
	}
}

// awake takes s out of the lists of those that wait.
func (g *group) awake(s *source) {
	is := func(other *source) bool { return other == s }
	g.idle = slices.DeleteFunc(g.idle, is)
	g.woken = slices.DeleteFunc(g.woken, is)
}

// tick gives back what is due, and sets the alarm for what is not.
func (g *group) tick(now int64) {
	for _, s := range g.sources {
		s.expire(now)
	}
	for len(g.delayed.items) > 0 && g.delayed.items[0].at <= now {
		g.giveBack(g.delayed.pop())
	}
	if len(g.delayed.items) > 0 {
		g.topic.arm(g.delayed.items[0].at)
	}
	for i := range g.parts {
		g.tickHold(i, now)
	}
}

func (g *group) tickHold(shard int, now int64) {
	p := &g.parts[shard]
	switch {
	case p.hold == 0:
	case p.hold <= now:
		p.hold = 0
		g.wake(shard)
	default:
		g.topic.arm(p.hold)
	}
}
