package memory

import (
	"container/heap"
	"math"
	"slices"
	"time"

	"github.com/anywire/anywire/transport/driver"
)

// state is where a delivery is.
type state uint8

const (
	leased   state = iota // with its source, in the source's list
	expired               // its lease ended; ready, and still its source's
	returned              // given back: ready, or waiting for its delay
	over                  // settled, or delivered anew
)

// delivery is one message handed to one source, and its token. It is allocated
// once, the message included: 256 bytes.
type delivery struct {
	msg        driver.Message
	source     *source // nil: held back before its first delivery
	chunk      *chunk  // nil once over
	prev, next *delivery
	at         int64  // monotonic: when the lease ends, or the delay
	place      int32  // in the queue that it is in
	count      uint16 // of deliveries, this one included; stays at its highest
	index      uint8  // in chunk
	state      state
}

func (d *delivery) seq() uint64 { return d.chunk.seq(int(d.index)) }

// held reports whether the source may still settle or renew it.
func (d *delivery) held() bool { return d.state == leased || d.state == expired }

func (d *delivery) end() {
	d.state, d.chunk = over, nil
}

// fill writes the message of the entry into the delivery.
func (d *delivery) fill(e *entry, copyBody bool) {
	m := &d.msg
	m.Key, m.Local = e.key, e.local
	m.Token = d
	m.Shard, m.Seq = d.chunk.shard.index, d.seq()
	m.Published = time.Unix(0, e.published)
	m.Deliveries = int(d.count)
	if e.wire != nil {
		e.wire.fill(m, copyBody)
	}
}

func (w *wire) fill(m *driver.Message, copyBody bool) {
	m.Headers, m.Body = slices.Clone(w.headers), w.body
	if copyBody {
		m.Body = slices.Clone(w.body)
	}
	if w.deliverAt != 0 {
		m.DeliverAt = time.Unix(0, w.deliverAt)
	}
}

// again is the count of the next delivery.
func (d *delivery) again() uint16 {
	if d.count == math.MaxUint16 {
		return d.count
	}
	return d.count + 1
}

// list holds a source's leases, the first to end first: all have the same
// length, so one that begins or is renewed goes to the end.
type list struct{ first, last *delivery }

func (l *list) push(d *delivery) {
	d.prev, d.next = l.last, nil
	if l.last == nil {
		l.first = d
	} else {
		l.last.next = d
	}
	l.last = d
}

func (l *list) remove(d *delivery) {
	if d.prev == nil {
		l.first = d.next
	} else {
		d.prev.next = d.next
	}
	if d.next == nil {
		l.last = d.prev
	} else {
		d.next.prev = d.prev
	}
	d.prev, d.next = nil, nil
}

// queue is a heap of deliveries, by their place in the shard or by time. Each
// knows its place.
type queue struct {
	items  []*delivery
	byTime bool
}

func (q *queue) push(d *delivery)   { heap.Push(q, d) }
func (q *queue) remove(d *delivery) { heap.Remove(q, int(d.place)) }

func (q *queue) pop() *delivery {
	d := q.items[0]
	heap.Pop(q)
	return d
}

// Len implements [heap.Interface].
func (q *queue) Len() int { return len(q.items) }

// Less implements [heap.Interface].
func (q *queue) Less(i, j int) bool {
	if q.byTime {
		return q.items[i].at < q.items[j].at
	}
	return q.items[i].seq() < q.items[j].seq()
}

// Swap implements [heap.Interface].
func (q *queue) Swap(i, j int) {
	q.items[i], q.items[j] = q.items[j], q.items[i]
	q.items[i].place, q.items[j].place = int32(i), int32(j)
}

// Push implements [heap.Interface].
func (q *queue) Push(x any) {
	d := x.(*delivery) //nolint:forcetypeassert // container/heap
	d.place = int32(len(q.items))
	q.items = append(q.items, d)
}

// Pop implements [heap.Interface].
func (q *queue) Pop() any {
	last := len(q.items) - 1
	d := q.items[last]
	q.items[last] = nil
	q.items = q.items[:last]
	return d
}
