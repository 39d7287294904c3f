package drivertest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/anywire/anywire/transport/driver"
)

func (c *conn) Subscribe(ctx context.Context, sub driver.Subscription) (driver.Source, error) {
	if err := c.maySubscribe(ctx, sub); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &source{conn: c, sub: sub, turn: make(chan struct{}, 1), ended: make(chan struct{}), seen: map[*entry]bool{}, lost: c.restarts}
	s.group = c.groupOf(sub)
	if c.breaks("subscribe/misses-nothing") && sub.Start.At == driver.StartNow {
		s.late = true
	}
	s.takeOver()
	s.group.members = append(s.group.members, s)
	c.sources = append(c.sources, s)
	s.group.rebalance(c.broker)
	c.changed()
	c.leak(ctx, s)
	return s, nil
}

func (c *conn) maySubscribe(ctx context.Context, sub driver.Subscription) error {
	if err := c.gone("subscribe/closed"); err != nil {
		return err
	}
	if c.breaks("subscribe/missing-topic") && strings.Contains(sub.Topic, "missing") {
		return errors.New("there is no such thing")
	}
	err := ctx.Err()
	if err != nil && c.breaks("subscribe/cancelled") {
		return errors.New("gave up")
	}
	return err
}

// leak applies the defects of what outlives a call.
func (c *conn) leak(ctx context.Context, s *source) {
	switch c.broken {
	case "close/leaves-no-goroutines":
		go func() { <-c.done }()
	case "subscribe/ctx-bounds-the-call":
		context.AfterFunc(ctx, func() { _ = s.Close(context.WithoutCancel(ctx)) })
	default:
	}
}

func (c *conn) groupOf(sub driver.Subscription) *group {
	t, name := c.at(sub.Topic, 1), c.groupName(sub.Group)
	if c.breaks("subscribe/one-group-on-two-topics") {
		if g := c.shared[name]; g != nil {
			return g
		}
	}
	g := t.groups[name]
	if g != nil && !c.forgets(g, sub) {
		return g
	}
	g = &group{topic: t, owners: map[int]*assignment{}}
	for _, m := range t.log[t.from(c.startOf(sub)):] {
		if c.breaks("subscribe/late-group") && t.doneByAll(m) {
			continue
		}
		g.entries = append(g.entries, &entry{stored: m, until: m.due})
	}
	t.groups[name], c.shared[name] = g, g
	return g
}

func (c *conn) groupName(name string) string {
	switch c.broken {
	case "subscribe/groups-are-apart":
		return "everyone"
	case "subscribe/group-names":
		return strings.NewReplacer(".", "_", "-", "_").Replace(strings.ToLower(name))
	default:
		return name
	}
}

func (c *conn) forgets(g *group, sub driver.Subscription) bool {
	return c.breaks("subscribe/resumes") && len(g.members) == 0 ||
		c.breaks("subscribe/start-now-resumes-too") && sub.Start.At == driver.StartNow
}

func (c *conn) startOf(sub driver.Subscription) driver.Start {
	switch c.broken {
	case "subscribe/starts-at-oldest":
		return driver.Start{At: driver.StartNow}
	case "subscribe/starts-now", "subscribe/starts-at-a-time":
		return driver.Start{}
	default:
		return sub.Start
	}
}

func (t *topic) doneByAll(m *stored) bool {
	for _, g := range t.groups {
		if slices.ContainsFunc(g.entries, func(e *entry) bool { return e.stored == m && !e.done }) {
			return false
		}
	}
	return len(t.groups) > 0
}

// takeOver gives a new reader of a shard what the old one had pending.
func (s *source) takeOver() {
	if !s.sub.Ordered || s.caps.OwnsShards || s.breaks("order/new-reader-beside-a-stalled-one") {
		return
	}
	for _, e := range s.group.entries {
		if e.owner != nil && s.reads(e) {
			e.release()
		}
	}
}

func (s *source) reads(e *entry) bool {
	if s.breaks("order/only-its-shard") {
		return true
	}
	return s.sub.Shards == nil || slices.Contains(s.sub.Shards, e.msg.Shard)
}

// rebalance spreads the shards over the members.
func (g *group) rebalance(b *broker) {
	if !b.caps.OwnsShards || len(g.members) == 0 {
		return
	}
	for shard := range g.topic.shards {
		to, old := g.members[shard%len(g.members)], g.owners[shard]
		if old != nil && old.to == to {
			continue
		}
		a := &assignment{to: to, revoked: make(chan struct{})}
		if old != nil {
			a.from = old.to
			if !b.breaks("assignment/revoked-is-closed") {
				close(old.revoked)
			}
		}
		g.owners[shard] = a
	}
}

// mine says whether the shard is this source's, and drained by who had it.
func (s *source) mine(e *entry) bool {
	if !s.caps.OwnsShards || s.breaks("assignment/one-owner") {
		return true
	}
	a := s.group.owners[e.msg.Shard]
	if a.to != s || slices.Contains(s.paused, e.msg.Shard) {
		return false
	}
	if s.breaks("assignment/others-flow") && s.drains() {
		return false
	}
	return a.from == nil || !slices.ContainsFunc(s.group.entries, func(o *entry) bool {
		return o.msg.Shard == e.msg.Shard && o.owner == a.from && !o.done
	})
}

// drains says whether a shard that moves away is not settled yet.
func (s *source) drains() bool {
	return slices.ContainsFunc(s.group.entries, func(e *entry) bool {
		return e.owner == s && !e.done && s.group.owners[e.msg.Shard].to != s
	})
}

// leave ends the membership. The lock is held.
func (s *source) leave() {
	g := s.group
	g.members = slices.DeleteFunc(g.members, func(m *source) bool { return m == s })
	if s.sub.Ephemeral && len(g.members) == 0 && !s.breaks("subscribe/ephemeral") {
		for name, other := range g.topic.groups {
			if other == g {
				delete(g.topic.groups, name)
			}
		}
	}
	g.rebalance(s.broker)
}

func (s *source) Close(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		if s.breaks("close/source-twice") || s.breaks("close/at-once") {
			return fmt.Errorf("reference: source: %w", driver.ErrClosed)
		}
		return nil
	}
	s.closed = true
	s.giveBack()
	s.leave()
	if s.breaks("close/one-source-of-two") {
		for _, other := range s.sources {
			other.closed = true
		}
	}
	if !s.breaks("receive/close-unblocks") {
		close(s.ended)
	}
	s.changed()
	return nil
}
