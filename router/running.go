package router

import (
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// slots registers the attempts that run, so that health can say which of them
// were given up: without a lock, a timer or a goroutine for a message.
type slots []atomic.Pointer[attempt]

// newSlots has room to spare, so that a free slot is found at once.
func newSlots(concurrency int) slots {
	n := 2
	for n < 2*concurrency {
		n *= 2
	}
	return make(slots, n)
}

// add registers t and returns its place, which remove takes; -1: no room.
func (s slots) add(t *attempt) int {
	at := int(rand.Uint32()) & (len(s) - 1)
	for range s {
		if s[at].CompareAndSwap(nil, t) {
			return at
		}
		at = (at + 1) & (len(s) - 1)
	}
	return -1
}

func (s slots) remove(place int) {
	if place >= 0 {
		s[place].Store(nil)
	}
}

// abandoned counts the attempts that went on past timeout and grace.
func (s slots) abandoned(now time.Time) int {
	n := 0
	for i := range s {
		if t := s[i].Load(); t != nil && t.givenUp(now) {
			n++
		}
	}
	return n
}
