package kafkadriver

import (
	"slices"
	"sync"
	"time"

	"github.com/anywire/anywire/transport/driver"
)

// groups are the members that this driver has in consumer groups. A member is one
// client; sources of one group on different topics share it, so that a topic that
// comes or goes is one change for the group. A second source on the same topic is
// another member: the group divides partitions among members.
type groups struct {
	mu      sync.Mutex
	members map[string][]*member
}

// terms are what a member's client says when it joins, or learns.
type terms struct {
	group   string
	classic bool
	session time.Duration // how long the group keeps the partitions of a silent member
	beat    time.Duration // between heartbeats
	drain   time.Duration // for which a revoked partition is waited for
}

// fits reports whether a source that needs other terms can share a member of
// these.
func (t terms) fits(other terms) bool {
	return t.classic == other.classic && t.session >= other.session && t.drain >= other.drain
}

// join finds the source a member, or makes one.
func (d *Driver) join(s *source, t terms) error {
	g := &d.groups
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, m := range g.members[t.group] {
		if m.fits(t) && m.attach(s) {
			return nil
		}
	}
	m, err := d.newMember(s, t)
	if err != nil {
		return err
	}
	if g.members == nil {
		g.members = map[string][]*member{}
	}
	g.members[t.group] = append(g.members[t.group], m)
	return nil
}

// forget removes a member that ends.
func (g *groups) forget(m *member) {
	g.mu.Lock()
	defer g.mu.Unlock()
	rest := slices.DeleteFunc(g.members[m.group], func(other *member) bool { return other == m })
	if len(rest) == 0 {
		delete(g.members, m.group)
	} else {
		g.members[m.group] = rest
	}
}

// inboxOf is where copies of delayed deliveries come back to: nowhere for ordered
// subscriptions, which delay nothing at the broker.
func inboxOf(sub driver.Subscription) string {
	switch {
	case sub.Ordered:
		return ""
	case sub.Inbox != "":
		return sub.Inbox
	}
	return sub.Group + ".inbox"
}
