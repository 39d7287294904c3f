package memory

import (
	"container/heap"
	"sync"
	"time"
)

// alarm calls a topic's tick at the earliest time at which something is due. It
// is not moved back when that is settled: then the tick finds nothing and sets
// it anew.
type alarm struct {
	timer   *time.Timer
	armed   bool
	at      int64 // monotonic
	running sync.WaitGroup
}

// arm makes sure that the topic ticks at the latest at a monotonic time.
func (t *topic) arm(at int64) {
	a := &t.alarm
	if t.closed || a.armed && a.at <= at {
		return
	}
	wait := time.Duration(at - t.broker.monotonic(time.Now()))
	switch {
	case a.armed:
		if !a.timer.Stop() {
			return // it has gone off and waits for mu: it will see what is due
		}
		a.timer.Reset(wait)
	case a.timer == nil:
		a.running.Add(1)
		a.timer = time.AfterFunc(wait, t.tick)
	default:
		a.running.Add(1)
		a.timer.Reset(wait)
	}
	a.armed, a.at = true, at
}

// century is longer than anyone waits, and can be added to any time.
const century = 100 * 365 * 24 * time.Hour

// armIn makes sure that the topic ticks after wait at the latest.
func (t *topic) armIn(wait time.Duration) { t.arm(t.due(wait)) }

// due is the monotonic time after wait.
func (t *topic) due(wait time.Duration) int64 {
	return t.broker.monotonic(time.Now()) + int64(min(wait, century))
}

// stop switches the alarm off for good; the topic is closed. A tick that runs
// already is waited for by running.
func (a *alarm) stop() {
	if a.armed && a.timer.Stop() {
		a.running.Done()
	}
	a.armed = false
}

// tick does what is due. It takes mu.
func (t *topic) tick() {
	defer t.alarm.running.Done()
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return
	}
	t.alarm.armed = false
	now := time.Now()
	t.promote(now)
	mono := t.broker.monotonic(now)
	for _, g := range t.groups {
		g.tick(mono)
	}
	t.trim(now.UnixNano())
	t.wakePublisher()
	t.unlockAndTell()
}

// later is a message that is not due yet.
type later struct {
	due   int64 // Unix time in ns
	order uint64
	entry entry
}

// laterHeap has the earliest first, and of those of one time the first that was
// published.
type laterHeap []*later

// Len implements [heap.Interface].
func (h *laterHeap) Len() int { return len(*h) }

// Swap implements [heap.Interface].
func (h *laterHeap) Swap(i, j int) { (*h)[i], (*h)[j] = (*h)[j], (*h)[i] }

// Push implements [heap.Interface].
func (h *laterHeap) Push(x any) { *h = append(*h, x.(*later)) } //nolint:forcetypeassert // container/heap

// Less implements [heap.Interface].
func (h *laterHeap) Less(i, j int) bool {
	a, b := (*h)[i], (*h)[j]
	if a.due != b.due {
		return a.due < b.due
	}
	return a.order < b.order
}

// Pop implements [heap.Interface].
func (h *laterHeap) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return x
}

// postpone keeps an entry until it is due. Where nobody reads, that is bounded
// like the ring: the one that would have fallen out of it first is dropped.
func (t *topic) postpone(e *entry, now int64) {
	t.order++
	heap.Push(&t.later, &later{due: e.wire.deliverAt, order: t.order, entry: *e})
	if t.rings() && len(t.later) > RingSize {
		heap.Pop(&t.later)
		t.fell()
	}
	t.armLater(now)
}

// promote puts what is due into the shards.
func (t *topic) promote(at time.Time) {
	now := at.UnixNano()
	for len(t.later) > 0 && t.later[0].due <= now {
		l := heap.Pop(&t.later).(*later) //nolint:forcetypeassert // container/heap
		t.arrive(&l.entry, now)
	}
	t.armLater(now)
}

func (t *topic) armLater(now int64) {
	if len(t.later) > 0 {
		t.armIn(time.Duration(t.later[0].due - now))
	}
}
