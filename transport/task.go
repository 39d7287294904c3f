package transport

import (
	"context"
	"time"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/internal/lazyctx"
	"github.com/anywire/anywire/transport/driver"
)

// task is one delivery from fetching to settling: one allocation, which holds
// the handler's context, the delivery and the envelope. Its fields belong to the
// subscription's lock, unless a handler runs: then Delivery is the handler's.
type task struct {
	lazyctx.Context

	Delivery

	envelope envelope.Envelope
	src      *source
	lane     *lane
	next     *task // in the ready queue or in a lane
	older    *task // in the source's list
	newer    *task
	wait     *wait // in the scheduler
	state    taskState
	lost     error     // why nothing of it may be settled any more
	leased   time.Time // the last time its lease was known to begin
}

type taskState uint8

const (
	queued   taskState = iota // ready, or behind another in its lane
	running                   // a handler has it
	waiting                   // in the scheduler
	settling                  // its outcome is on its way to the broker
	gone                      // its slot is free
)

// key is what orders the task, and whether anything does.
func (t *task) key() (string, bool) {
	switch t.src.sub.o.Order {
	case OrderStrict:
		return "", true
	case OrderKey:
		if t.Envelope != nil && t.envelope.Key != "" {
			return t.envelope.Key, true
		}
		return t.Raw.Key, t.Raw.Key != ""
	default:
		return "", false
	}
}

// decode reads the envelope, once.
func (t *task) decode() {
	if t.Envelope != nil || t.DecodeErr != nil {
		return
	}
	tr := t.src.sub.t
	if t.DecodeErr = tr.decode(t.Raw, t.Topic, &t.envelope); t.DecodeErr == nil {
		t.Envelope, t.DecodeErr = &t.envelope, tr.limits.Check(&t.envelope)
	}
}

// id is for events and logs.
func (t *task) id() string {
	if t.Envelope == nil {
		return ""
	}
	return t.envelope.ID
}

func (t *task) revoked() bool {
	if t.Raw.Revoked == nil {
		return false
	}
	select {
	case <-t.Raw.Revoked:
		return true
	default:
		return false
	}
}

// lane is the messages of one key: the first may run, the others wait behind it.
type lane struct {
	key    string
	first  *task
	behind queue
	size   int     // the first one included
	fills  *source // whose shard waits because the lane is full; nil: it is not
	shard  int
}

// list is what a source has in flight, the oldest first.
type list struct {
	oldest, newest *task
	size           int
}

func (l *list) push(t *task) {
	t.older, t.newer = l.newest, nil
	if l.newest == nil {
		l.oldest = t
	} else {
		l.newest.newer = t
	}
	l.newest = t
	l.size++
}

func (l *list) remove(t *task) {
	if t.older == nil {
		l.oldest = t.newer
	} else {
		t.older.newer = t.newer
	}
	if t.newer == nil {
		l.newest = t.older
	} else {
		t.newer.older = t.older
	}
	t.older, t.newer = nil, nil
	l.size--
}

// all is a copy: what it yields may be removed meanwhile.
func (l *list) all() []*task {
	tasks := make([]*task, 0, l.size)
	for t := l.oldest; t != nil; t = t.newer {
		tasks = append(tasks, t)
	}
	return tasks
}

func (l *list) anyRunning(which func(*task) bool) bool {
	for t := l.oldest; t != nil; t = t.newer {
		if t.state == running && which(t) {
			return true
		}
	}
	return false
}

// queue is first in, first out.
type queue struct {
	head, tail *task
	size       int
}

func (q *queue) push(t *task) {
	t.next = nil
	if q.tail == nil {
		q.head = t
	} else {
		q.tail.next = t
	}
	q.tail = t
	q.size++
}

func (q *queue) pop() *task {
	t := q.head
	if t == nil {
		return nil
	}
	q.head = t.next
	if q.head == nil {
		q.tail = nil
	}
	t.next = nil
	q.size--
	return t
}

// slabSize tasks are allocated together. A slow handler keeps its neighbours'
// memory, so it is small.
const slabSize = 4

// newTasks wraps what a source received. Decoding is left to the workers where
// no lane needs the key.
func newTasks(base context.Context, src *source, msgs []*driver.Message, now time.Time) []*task {
	s := src.sub
	tasks := make([]*task, len(msgs))
	var slab []task
	for i, m := range msgs {
		if len(slab) == 0 {
			slab = make([]task, min(slabSize, len(msgs)-i))
		}
		t := &slab[0]
		slab = slab[1:]
		t.src, t.leased = src, now
		t.Raw, t.Topic, t.Group = m, s.topic, s.o.Group
		t.Init(base, time.Time{})
		if s.o.Order == OrderKey {
			t.decode()
		}
		tasks[i] = t
	}
	return tasks
}
