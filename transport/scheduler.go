package transport

import (
	"container/heap"
	"sync"
	"time"
)

// scheduler serves all waiting of a transport: each entry is "not before T".
// It has one timer and no goroutine while nothing is due.
type scheduler struct {
	mu    sync.Mutex
	queue waits
	timer *time.Timer
}

// wait is one entry.
type wait struct {
	at    time.Time
	index int // in the heap, plus 1; 0: not waiting
	due   func()
}

// add calls w.due, on a goroutine of the scheduler's, at w.at or soon after.
func (s *scheduler) add(w *wait, at time.Time, due func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.at, w.due = at, due
	heap.Push(&s.queue, w)
	if s.queue[0] == w {
		s.arm(at)
	}
}

// stop removes w, unless it is due already.
func (s *scheduler) stop(w *wait) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.index == 0 {
		return
	}
	heap.Remove(&s.queue, w.index-1)
	if len(s.queue) == 0 && s.timer != nil {
		s.timer.Stop()
	}
}

func (s *scheduler) arm(at time.Time) {
	if s.timer == nil {
		s.timer = time.AfterFunc(time.Until(at), s.run)
		return
	}
	s.timer.Reset(time.Until(at))
}

func (s *scheduler) run() {
	for _, w := range s.takeDue(time.Now()) {
		w.due()
	}
}

func (s *scheduler) takeDue(now time.Time) []*wait {
	s.mu.Lock()
	defer s.mu.Unlock()
	var due []*wait
	for len(s.queue) > 0 && !s.queue[0].at.After(now) {
		due = append(due, heap.Pop(&s.queue).(*wait)) //nolint:forcetypeassert // the heap holds nothing else
	}
	if len(s.queue) > 0 {
		s.arm(s.queue[0].at)
	}
	return due
}

// waits is the heap behind a scheduler, the earliest first.
type waits []*wait

func (q *waits) Len() int           { return len(*q) }
func (q *waits) Less(i, j int) bool { return (*q)[i].at.Before((*q)[j].at) }

func (q *waits) Swap(i, j int) {
	w := *q
	w[i], w[j] = w[j], w[i]
	w[i].index, w[j].index = i+1, j+1
}

func (q *waits) Push(x any) {
	w := x.(*wait) //nolint:forcetypeassert // only waits are pushed
	*q = append(*q, w)
	w.index = len(*q)
}

func (q *waits) Pop() any {
	old := *q
	w := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	w.index = 0
	return w
}
