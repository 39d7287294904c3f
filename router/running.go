package router

import (
	"math/rand/v2"
	"slices"
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

// watchEvery is how often running attempts are looked at.
const watchEvery = Grace / 3

// watch tells of attempts that were given up, until ended is closed.
func (r *Router) watch(ended <-chan struct{}) {
	if !slices.ContainsFunc(r.agents, func(a *agent) bool { return a.Policy.Timeout > 0 }) {
		return
	}
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ended:
			return
		case now := <-ticker.C:
			for _, a := range r.agents {
				a.tellAbandoned(now)
			}
		}
	}
}

// tellAbandoned logs each attempt that was given up, once.
func (a *agent) tellAbandoned(now time.Time) {
	for i := range a.running {
		t := a.running[i].Load()
		if t == nil || t.told || !t.givenUp(now) {
			continue
		}
		t.told = true
		a.router.log.Error("handler ignores the end of its context: it is abandoned, and holds its slot until it returns",
			"agent", a.Name, "id", t.in.ID, "type", t.in.WireType(), "age", now.Sub(t.began).Round(time.Millisecond),
			"timeout", a.Policy.Timeout, "abandoned", a.running.abandoned(now), "slots", a.concurrency())
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
