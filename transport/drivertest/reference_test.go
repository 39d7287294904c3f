package drivertest_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/drivertest"
)

// broker is a small one, right in everything except in what the case named
// broken proves: each case has its defect, here or in the other files of the
// reference.
type broker struct {
	broken string
	caps   driver.Capabilities
	limit  int // of unsettled messages of a topic; zero: none

	mu       sync.Mutex
	wake     chan struct{} // closed at every change
	topics   map[string]*topic
	leases   map[leaseKey]*heldLease
	epoch    uint64
	shared   map[string]*group // of the defect that mixes topics up
	busy     int
	restarts int
	stored   int
}

type topic struct {
	shards int
	log    []*stored
	seq    []uint64
	groups map[string]*group
	ids    map[string]bool
	round  int
}

// stored is a message at its place.
type stored struct {
	msg *driver.Message
	due time.Time
}

// group is one group's view of a topic.
type group struct {
	topic   *topic
	entries []*entry
	members []*source
	owners  map[int]*assignment
}

// entry is a message for a group. It may be delivered when until has passed:
// the end of its owner's lease, or the earliest time of the next delivery.
type entry struct {
	*stored

	done       bool
	isCopy     bool // of a delivery that was delayed
	owner      *source
	token      *token
	until      time.Time
	deliveries int
	first      *driver.Message
}

// token is one delivery.
type token struct{ e *entry }

// assignment is a shard in the hands of a member.
type assignment struct {
	to, from *source
	revoked  chan struct{}
}

const maxBody = 64 << 10

func newBroker(broken string, caps driver.Capabilities) *broker {
	return &broker{
		broken: broken, caps: caps, wake: make(chan struct{}), topics: map[string]*topic{},
		leases: map[leaseKey]*heldLease{}, shared: map[string]*group{},
	}
}

// capsFor are the reference's, bent to what the case needs.
func capsFor(c drivertest.Case) driver.Capabilities {
	caps := driver.Capabilities{
		Durable: true, Order: true, OrderedPublish: true, DelayedNack: true, DelayedPublish: true, Counts: true,
		Browse: true, Lag: true, Dedup: true, StartTime: true, MaxBody: maxBody,
		Headers: driver.HeaderStyle{Prefix: "ce_", ContentType: "content-type"},
	}
	caps.InProcess = slices.Contains(c.Needs, "InProcess")
	caps.Durable = !caps.InProcess
	caps.OwnsShards = slices.Contains(c.Needs, "OwnsShards")
	caps.DelaysByCopy = slices.Contains(c.Needs, "DelaysByCopy")
	if slices.Contains(c.Needs, "MaxInFlight") {
		caps.MaxInFlight = 8
	}
	return caps
}

func (b *broker) breaks(name string) bool { return b.broken == name }

// changed wakes everyone who waits. The lock is held.
func (b *broker) changed() {
	close(b.wake)
	b.wake = make(chan struct{})
}

// pass lets some of the bubble's time go by.
func pass(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	<-t.C
}

// conn is a driver: one process's connection to the broker.
type conn struct {
	*broker

	dead    bool
	closed  bool
	stalled chan struct{} // closed when it goes on; nil: it does
	sources []*source
	lost    int // restarts of the broker that Publish has reported
	done    chan struct{}
}

var (
	_ driver.Driver  = (*conn)(nil)
	_ driver.Admin   = (*conn)(nil)
	_ driver.Browser = (*conn)(nil)
	_ driver.Remover = (*conn)(nil)
	_ driver.Lagger  = (*conn)(nil)
	_ driver.Pinger  = (*conn)(nil)
	_ driver.Leaser  = (*conn)(nil)
)

var errOutage = errors.New("the connection was lost")

func (c *conn) Capabilities() driver.Capabilities {
	c.mu.Lock()
	defer c.mu.Unlock()
	caps := c.caps
	switch c.broken {
	case "capabilities/constant":
		caps.MaxInFlight = c.stored
	case "capabilities/in-process-is-not-durable":
		caps.Durable = true
	case "capabilities/header-style":
		caps.Headers.ContentType = ""
	default:
	}
	return caps
}

func (c *conn) Ping(context.Context) error {
	if c.breaks("capabilities/ping") {
		return errOutage
	}
	return c.gone("capabilities/ping-closed")
}

// gone is ErrClosed after Close, unless this case is to see otherwise.
func (c *conn) gone(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed && !c.dead {
		return nil
	}
	if c.breaks(name) {
		return errors.New("connection is shut")
	}
	return fmt.Errorf("reference: %w", driver.ErrClosed)
}

func (c *conn) Close(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed && c.breaks("close/driver-twice") {
		return errors.New("closed already")
	}
	if c.breaks("close/one-of-two-drivers") {
		for _, t := range c.topics {
			t.groups = map[string]*group{}
		}
	}
	if !c.closed {
		close(c.done)
	}
	c.closed = true
	return nil
}

// kill is the death of the process: nothing is given back.
func (c *conn) kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dead = true
	for _, s := range c.sources {
		s.die()
	}
	if c.breaks("takeover/killed-publisher") {
		for _, t := range c.topics {
			t.log = nil
		}
	}
	c.changed()
}

func (s *source) die() {
	s.closed = true
	s.leave()
	for _, e := range s.group.entries {
		switch {
		case s.breaks("takeover/killed") && e.owner == s:
			e.done = true
		case s.breaks("takeover/killed-keeps-acks"):
			e.done, e.until = false, time.Time{}
		case s.breaks("order/new-reader-after-kill") && e.owner == s:
			e.until = time.Now().Add(time.Second)
			e.token = nil
			e.owner = nil
		default:
		}
	}
}

// stall cuts the driver off. Where the broker owns shards, it gives up on such a
// member after a lease.
func (c *conn) stall() (resume func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stalled = make(chan struct{})
	for _, s := range c.sources {
		time.AfterFunc(s.sub.Lease, s.evict)
	}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		close(c.stalled)
		c.stalled = nil
	}
}

func (s *source) evict() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stalled == nil || s.closed || s.breaks("stall/taken-over") {
		return
	}
	s.releaseOwn()
	s.leave()
	s.changed()
}

// cutOff blocks while the driver is cut off; it is ctx's error when that ends first.
func (c *conn) cutOff(ctx context.Context) error {
	c.mu.Lock()
	stalled := c.stalled
	c.mu.Unlock()
	if stalled == nil {
		return nil
	}
	select {
	case <-stalled:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// restart is one of the broker's process.
func (b *broker) restart() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.restarts++
	for _, t := range b.topics {
		if b.breaks("restart/keeps-messages") {
			t.log = t.log[:len(t.log)/2]
		}
		for _, g := range t.groups {
			g.restarted(b)
		}
	}
	if b.breaks("restart/epochs-rise") {
		b.epoch = 0
	}
	b.changed()
}

func (g *group) restarted(b *broker) {
	for _, e := range g.entries {
		switch b.broken {
		case "restart/keeps-acks":
			e.done, e.until = false, time.Time{}
		case "restart/held-deliveries-come-again":
			e.done = e.done || e.owner != nil
		case "restart/ordered-reader-goes-on":
			if e.owner != nil {
				e.owner, e.token, e.until = nil, nil, time.Now().Add(time.Second)
			}
		default:
		}
	}
}

// at finds or makes a topic. The lock is held.
func (b *broker) at(name string, shards int) *topic {
	name = b.spelled(name)
	t := b.topics[name]
	if t == nil {
		t = &topic{shards: max(1, shards), groups: map[string]*group{}, ids: map[string]bool{}}
		t.seq = make([]uint64, t.shards)
		b.topics[name] = t
	}
	return t
}

func (b *broker) spelled(name string) string {
	if b.breaks("publish/topic-names") {
		return strings.NewReplacer(".", "_", "-", "_").Replace(strings.ToLower(name))
	}
	return name
}

// dial opens a driver.
func (b *broker) dial() *conn { return &conn{broker: b, lost: b.restarts, done: make(chan struct{})} }

// harness connects the suite to a fresh reference.
func harness(c drivertest.Case, broken string) drivertest.Harness {
	caps := capsFor(c)
	b := newBroker(broken, caps)
	declared := caps
	if broken == "capabilities/declared" {
		declared.MaxBody++
	}
	return drivertest.Harness{
		Open:     func(testing.TB) driver.Driver { return b.open() },
		Declared: &declared,
		OpenBounded: func(_ testing.TB, limit int) driver.Driver {
			bounded := newBroker(broken, caps)
			bounded.limit = limit
			return bounded.open()
		},
		Kill:    func(_ testing.TB, d driver.Driver) { d.(*conn).kill() },
		Stall:   func(_ testing.TB, d driver.Driver) func() { return d.(*conn).stall() },
		Restart: func(testing.TB) { b.restart() },
		Lease:   600 * time.Millisecond, Patience: 15 * time.Second, Quiet: 50 * time.Millisecond,
	}
}

// open hides what a broken driver says to have and lacks.
func (b *broker) open() driver.Driver {
	switch b.broken {
	case "capabilities/browse-interface", "capabilities/lag-interface", "capabilities/one-reader":
		return struct{ driver.Driver }{b.dial()}
	default:
		return b.dial()
	}
}

func (c *conn) EnsureTopic(_ context.Context, t driver.Topic) (driver.Topic, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	have := c.topics[c.spelled(t.Name)]
	shards := t.Shards
	switch {
	case have == nil && t.Require && !c.breaks("admin/require"):
		return driver.Topic{}, fmt.Errorf("topic %q: %w", t.Name, driver.ErrNotFound)
	case t.Require && c.breaks("admin/require-what-is-there"):
		return t, nil
	case have == nil && c.breaks("admin/creates"):
		shards = 1
	case have == nil && shards == 0 && c.breaks("admin/one-shard-by-default"):
		shards = 4
	case have != nil && shards != 0 && shards != have.shards:
		if c.breaks("admin/refuses-a-difference") {
			return driver.Topic{}, errors.New("shards differ")
		}
		return driver.Topic{}, fmt.Errorf("topic %q has %d shards, want %d", t.Name, have.shards, shards)
	case have != nil && c.breaks("admin/idempotent"):
		have.shards++
	case have != nil && shards == 0 && c.breaks("admin/takes-what-is-there"):
		return driver.Topic{Name: t.Name, Shards: 1}, nil
	case have != nil && c.breaks("admin/keeps-messages"):
		delete(c.topics, t.Name)
	default:
	}
	return driver.Topic{Name: t.Name, Shards: c.at(t.Name, shards).shards}, nil
}

func (c *conn) Topics(context.Context) ([]driver.Topic, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []driver.Topic
	for _, name := range slices.Sorted(maps.Keys(c.topics)) {
		all = append(all, driver.Topic{Name: name, Shards: c.topics[name].shards})
	}
	if c.breaks("admin/lists") {
		all = all[:1]
	}
	return all, nil
}

func (c *conn) Lag(_ context.Context, name, groupName string) (driver.Lag, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var lag driver.Lag
	t := c.at(name, 1)
	g := t.groups[groupName]
	if c.breaks("lag/per-group") {
		for _, other := range t.groups {
			if len(other.members) > 0 && other.members[0].got {
				g = other
			}
		}
	}
	if g == nil || c.breaks("lag/without-members") && len(g.members) == 0 {
		return lag, nil
	}
	for _, e := range g.entries {
		c.count(&lag, e)
	}
	return lag, nil
}

func (c *conn) count(lag *driver.Lag, e *entry) {
	if e.done && !c.breaks("lag/waiting") {
		return
	}
	if e.owner != nil && !c.breaks("lag/pending") {
		lag.Pending++
	} else {
		lag.Waiting++
	}
	if lag.Oldest.IsZero() && !c.breaks("lag/oldest") {
		lag.Oldest = e.msg.Published
	}
}

func (c *conn) Browse(ctx context.Context, name string, start driver.Start, follow bool, fn func(*driver.Message) bool) error {
	if c.breaks("browse/missing-topic") && strings.Contains(name, "missing") {
		return errOutage
	}
	if c.breaks("browse/empty") {
		follow = true
	}
	seen := c.firstFor(name, start)
	for {
		c.mu.Lock()
		log, wake := c.at(name, 1).log, c.wake
		c.mu.Unlock()
		if c.breaks("browse/in-order") {
			log = slices.Clone(log)
			slices.Reverse(log)
		}
		for ; seen < len(log); seen++ {
			if c.breaks("remove/while-browsing") {
				c.mu.Lock()
				log = c.at(name, 1).log // which shrinks below seen
				c.mu.Unlock()
				if seen >= len(log) {
					break
				}
			}
			if !c.show(log, &seen, fn) {
				return nil
			}
		}
		if !follow || c.breaks("browse/follow") {
			return nil
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (c *conn) Remove(_ context.Context, name string, msgs []*driver.Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.breaks("remove/missing-topic") && strings.Contains(name, "missing") {
		return errOutage
	}
	if c.breaks("remove/gone") {
		return nil
	}
	t := c.at(name, 1)
	for _, m := range msgs {
		is := func(other *stored) bool {
			return other.msg.Seq == m.Seq && (other.msg.Shard == m.Shard || c.breaks("remove/nothing-else"))
		}
		if c.breaks("remove/twice") && !slices.ContainsFunc(t.log, is) {
			return errOutage
		}
		t.log = slices.DeleteFunc(slices.Clone(t.log), is)
		for _, g := range t.groups {
			for _, e := range g.entries {
				if is(e.stored) && e.owner == nil || c.breaks("remove/a-group-goes-on") {
					e.done = true
				}
			}
		}
	}
	return nil
}

func (c *conn) show(log []*stored, seen *int, fn func(*driver.Message) bool) bool {
	m := *log[*seen].msg
	switch c.broken {
	case "browse/all":
		*seen++
	case "browse/content":
		m.Headers = nil
	case "browse/settles-nothing":
		c.mu.Lock()
		for _, t := range c.topics {
			for _, g := range t.groups {
				for _, e := range g.entries {
					e.done = true
				}
			}
		}
		c.mu.Unlock()
	default:
	}
	return fn(&m) || c.breaks("browse/stops")
}

func (c *conn) firstFor(name string, start driver.Start) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.breaks("browse/from-now"), c.breaks("browse/from-a-time"):
		return 0
	default:
		return c.at(name, 1).from(start)
	}
}

// from is the index of the first message of a start.
func (t *topic) from(start driver.Start) int {
	switch start.At {
	case driver.StartNow:
		return len(t.log)
	case driver.StartTime:
		for i, m := range t.log {
			if !m.msg.Published.Before(start.Time) {
				return i
			}
		}
		return len(t.log)
	default:
		return 0
	}
}
