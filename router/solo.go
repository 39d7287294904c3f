package router

import (
	"sync/atomic"
	"time"

	"github.com/anywire/anywire/transport"
)

// A message is suspect when so many attempts at it ended with their process: it
// may be what killed them, or have stood beside that.
const suspectDeaths = 2

// soloLook is how often a suspect, and those that it keeps from starting, look
// whether it is their turn.
const soloLook = 20 * time.Millisecond

// solo lets a suspect run when nothing else runs in the process, so that a death
// is its own doing.
type solo struct {
	running atomic.Int64 // attempts
	wanted  atomic.Pointer[soloClaim]
}

// soloClaim keeps other attempts from starting until it is over: it may be
// forgotten with its delivery.
type soloClaim struct {
	by    *progress
	until time.Time
}

func (c *soloClaim) keepsOut(p *progress) bool {
	return c != nil && (p == nil || c.by != p) && time.Now().Before(c.until)
}

// enter begins an attempt, unless a suspect wants to be alone.
func (s *solo) enter(p *progress) bool {
	if s.wanted.Load().keepsOut(p) {
		return false
	}
	s.running.Add(1)
	if s.wanted.Load().keepsOut(p) { // since the first look
		s.running.Add(-1)
		return false
	}
	return true
}

func (s *solo) leave() { s.running.Add(-1) }

// claim asks to be alone, and reports whether that is so. Attempts that were
// given up do not count: they may never end.
func (s *solo) claim(p *progress, abandoned int, run time.Duration) bool {
	c := s.wanted.Load()
	if c.keepsOut(p) {
		return false
	}
	mine := &soloClaim{p, time.Now().Add(50 * soloLook)}
	if !s.wanted.CompareAndSwap(c, mine) || s.running.Load() > int64(abandoned) {
		return false
	}
	return s.wanted.CompareAndSwap(mine, &soloClaim{p, time.Now().Add(run)})
}

func (s *solo) release(p *progress) {
	if c := s.wanted.Load(); c != nil && c.by == p {
		s.wanted.CompareAndSwap(c, nil)
	}
}

// turn begins the attempt's time in this process, or says how long to wait for
// it: for the rate limit, the breaker, or a suspect that has to be alone. It ends
// with leave.
func (a *agent) turn(d *transport.Delivery) (transport.Outcome, bool) {
	if out, ok := a.admittedByBreaker(d); !ok {
		return out, false
	}
	p, _ := d.State.(*progress)
	if wait := a.limit.wait(p); wait > 0 {
		progressOf(d).reserved = true
		return transport.WaitInLane(wait), false
	}
	if a.Guard.Store() == nil {
		return transport.Outcome{}, true
	}
	solo := &a.router.solo
	if p != nil && p.suspect {
		p.alone = solo.claim(p, a.router.abandoned(), a.longestRun())
	}
	if p != nil && p.suspect && !p.alone || !solo.enter(p) {
		a.breaker.unprobe(p)
		progressOf(d).reserved = true
		return transport.WaitInLane(soloLook), false
	}
	return transport.Outcome{}, true
}

// leave ends what turn began.
func (a *agent) leave(d *transport.Delivery) {
	p, _ := d.State.(*progress)
	if p != nil {
		p.reserved = false
	}
	a.breaker.unprobe(p)
	if a.Guard.Store() == nil {
		return
	}
	a.router.solo.leave()
	if p != nil && p.alone {
		p.alone = false
		a.router.solo.release(p)
	}
}

// longestRun is when an attempt is over, or given up.
func (a *agent) longestRun() time.Duration {
	if a.Policy.Timeout <= 0 {
		return time.Hour
	}
	return a.Policy.Timeout + Grace
}

// abandoned counts the attempts that were given up, of all agents.
func (r *Router) abandoned() int {
	n, now := 0, time.Now()
	for _, a := range r.agents {
		n += a.running.abandoned(now)
	}
	return n
}
