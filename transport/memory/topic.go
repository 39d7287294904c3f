package memory

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/anywire/anywire/transport/driver"
)

// topic is one topic with its groups. Methods expect mu to be held unless they
// say that they take it.
type topic struct {
	broker *Broker
	name   string
	hash   uint64
	dead   bool          // a dead-letter topic
	age    time.Duration // of retention; 0: none, negative: without bound
	bytes  int64         // of retention; 0: without bound
	count  int           // of shards

	mu     sync.Mutex
	closed bool
	shards []shard
	turn   int    // shard of the next message without key
	order  uint64 // messages that came so far

	live      int   // messages that are stored
	kept      int   // of these, behind the horizons
	keptBytes int64 // size of these

	later    laterHeap // published, and not due
	groups   []*group
	browsers []*browser
	blocked  []*publisher // in the order of their coming
	alarm    alarm

	dropped, overflowed uint64
	tell                bool // onDrop is to be called
}

func newTopic(b *Broker, spec driver.Topic) *topic {
	t := &topic{
		broker: b,
		name:   spec.Name,
		hash:   hashName(b.paranoia.seed, spec.Name),
		dead:   strings.HasSuffix(spec.Name, ".dead"),
		age:    spec.RetentionAge,
		bytes:  spec.RetentionBytes,
		count:  max(spec.Shards, 1),
	}
	t.shards = make([]shard, t.count)
	if t.dead && t.age < 0 {
		t.age = 0 // dead letters do not age anyway, and go when they are settled
	}
	for i := range t.shards {
		t.shards[i].index, t.shards[i].next = i, 1
	}
	return t
}

// publisher waits for room.
type publisher struct{ room chan struct{} }

// publish stores msgs, and waits for room where it must. It takes mu.
func (t *topic) publish(ctx context.Context, msgs []*driver.Message) error {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return errClosed()
	}
	stored := 0
	if driver.MayOverflow(ctx) {
		stored = t.overflow(msgs)
	} else if len(t.blocked) == 0 {
		stored = t.store(msgs)
	}
	if stored < len(msgs) {
		return t.publishRest(ctx, msgs, stored)
	}
	t.unlockAndTell()
	return nil
}

// unlockAndTell releases mu, and tells what has dropped out of the ring since
// the last call.
func (t *topic) unlockAndTell() {
	tell := t.tell
	t.tell = false
	t.mu.Unlock()
	if tell && t.broker.onDrop != nil {
		t.broker.onDrop(t.name)
	}
}

// publishRest waits behind those that wait already. It releases mu.
func (t *topic) publishRest(ctx context.Context, msgs []*driver.Message, stored int) error {
	defer t.mu.Unlock()
	p := &publisher{make(chan struct{}, 1)}
	t.blocked = append(t.blocked, p)
	defer t.unblock(p)
	for {
		if err := t.waitRoom(ctx, p); err != nil {
			return refused(err, stored, len(msgs))
		}
		stored += t.store(msgs[stored:])
		if stored == len(msgs) {
			return nil
		}
	}
}

// waitRoom releases mu while it waits.
func (t *topic) waitRoom(ctx context.Context, p *publisher) error {
	t.mu.Unlock()
	var err error
	select {
	case <-p.room:
	case <-ctx.Done():
		err = ctx.Err()
	}
	t.mu.Lock()
	switch {
	case t.closed:
		return errClosed()
	case err != nil:
		return fmt.Errorf("topic %q is full: %s: %w", t.name, t.fullness(), err)
	}
	return nil
}

func refused(err error, stored, n int) error {
	if stored == 0 {
		return err
	}
	failed := make(driver.BatchError, n-stored)
	for i := stored; i < n; i++ {
		failed[i] = err
	}
	return failed
}

// unblock takes p out of the queue; the next may find room.
func (t *topic) unblock(p *publisher) {
	if i := slices.Index(t.blocked, p); i >= 0 {
		t.blocked = slices.Delete(t.blocked, i, i+1)
	}
	t.wakePublisher()
}

// wakePublisher lets the first one try, if it can store anything. It wakes the
// next when it leaves.
func (t *topic) wakePublisher() {
	if len(t.blocked) == 0 || t.room() <= 0 {
		return
	}
	wake(t.blocked[0].room)
}

// wake signals a channel of capacity 1 that its reader looks at before it waits.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// room is how many messages may be stored now; it can be negative.
func (t *topic) room() int {
	switch {
	case t.dead:
		return DeadLetters - t.live - len(t.later)
	case len(t.groups) == 0:
		return math.MaxInt
	default:
		return t.broker.capacity - t.slowest().unsettled - len(t.later)
	}
}

// fullness says what fills the topic.
func (t *topic) fullness() string {
	if t.dead {
		return fmt.Sprintf("it holds %d dead letters, the most in memory; settle some, or use a durable transport", t.live)
	}
	if len(t.groups) == 0 {
		return "it was, until now"
	}
	g := t.slowest()
	text := fmt.Sprintf("group %q has %d of at most %d messages unsettled", g.name, g.unsettled, t.broker.capacity)
	if len(t.later) > 0 {
		text += fmt.Sprintf(", and %d are not due", len(t.later))
	}
	return text
}

func (t *topic) slowest() *group {
	most := t.groups[0]
	for _, g := range t.groups[1:] {
		if g.unsettled > most.unsettled {
			most = g
		}
	}
	return most
}

// store stores as many of msgs as there is room for, and says how many.
func (t *topic) store(msgs []*driver.Message) int {
	n := max(min(len(msgs), t.room()), 0)
	if n == 0 {
		return 0
	}
	now := time.Now().UnixNano()
	for _, m := range msgs[:n] {
		t.put(m, now)
	}
	return n
}

// overflow stores all of msgs.
func (t *topic) overflow(msgs []*driver.Message) int {
	t.overflowed += uint64(max(len(msgs)-max(t.room(), 0), 0))
	now := time.Now().UnixNano()
	for _, m := range msgs {
		t.put(m, now)
	}
	return len(msgs)
}

// put stores a message, or keeps it until it is due.
func (t *topic) put(m *driver.Message, now int64) {
	e := entry{key: m.Key, local: m.Local, published: now}
	if m.Headers != nil || m.Body != nil || !m.DeliverAt.IsZero() {
		e.wire = newWire(m)
		if e.wire.deliverAt > now {
			t.postpone(&e, now)
			return
		}
	}
	t.arrive(&e, now)
}

func newWire(m *driver.Message) *wire {
	w := &wire{headers: slices.Clone(m.Headers), body: m.Body}
	if !m.DeliverAt.IsZero() {
		w.deliverAt = int64(math.MaxInt64)
		if m.DeliverAt.Before(time.Unix(0, math.MaxInt64)) {
			w.deliverAt = max(m.DeliverAt.Unix(), 0)*int64(time.Second) + int64(m.DeliverAt.Nanosecond())
		}
	}
	return w
}

// shardFor is where a message goes: by its key, or in turn.
func (t *topic) shardFor(key string) *shard {
	n := len(t.shards)
	if n == 1 {
		return &t.shards[0]
	}
	if key != "" {
		return &t.shards[driver.ShardOf(key, n)]
	}
	t.turn = (t.turn + 1) % n
	return &t.shards[t.turn]
}

// arrive puts an entry at the end of its shard, twice if the paranoia says so.
func (t *topic) arrive(e *entry, now int64) {
	s := t.shardFor(e.key)
	twice := t.broker.paranoia.duplicates(t.hash, s.index, s.next)
	t.append(s, e)
	if twice {
		t.append(s, e)
	}
	t.trim(now)
}

func (t *topic) append(s *shard, e *entry) {
	t.order++
	e.order = t.order
	s.append(e, int32(len(t.groups)+len(t.browsers)))
	t.live++
	if t.keeps() {
		t.kept++
		t.keptBytes += e.size()
	}
	for _, g := range t.groups {
		g.arrived(s)
	}
	for _, b := range t.browsers {
		b.arrived(s)
	}
}

// close ends everything that waits for the topic. It takes mu.
func (t *topic) close() {
	t.mu.Lock()
	t.closed = true
	for _, g := range t.groups {
		for _, s := range g.sources {
			s.stop(errClosed())
		}
	}
	for _, p := range t.blocked {
		wake(p.room)
	}
	for _, b := range t.browsers {
		wake(b.wake)
	}
	t.shards, t.groups, t.browsers, t.later = nil, nil, nil, nil
	t.alarm.stop()
	t.mu.Unlock()
	t.alarm.running.Wait()
}
