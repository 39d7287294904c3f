package transport

import "time"

// worker is one goroutine that runs handlers. Workers are made as work comes,
// up to the concurrency, and each wakes the next while there is more: that is
// cheaper than a goroutine for every message.
type worker struct{ wake chan struct{} }

// maxIdle workers are kept for the next messages; more of them leave.
const maxIdle = 64

// wakeOne lets one more worker look at the ready queue.
func (s *subscription) wakeOne() {
	if s.ready.size == 0 {
		return
	}
	if n := len(s.idle); n > 0 {
		w := s.idle[n-1]
		s.idle = s.idle[:n-1]
		w.wake <- struct{}{} // never blocks: an idle worker's slot is empty
		return
	}
	if s.workers < s.o.Concurrency {
		s.workers++
		go s.work()
	}
}

func (s *subscription) work() {
	w := &worker{wake: make(chan struct{}, 1)}
	var t *task
	var out Outcome
	left := false
	defer func() {
		if !left { // the handler ended this goroutine: call it again on another
			s.replace(t)
		}
	}()
	for {
		if t = s.next(w, t, out); t == nil {
			left = true
			return
		}
		t.decode()
		if t.Raw.Deliveries > 1 && t.Runs == 0 {
			s.t.observe(Redelivered{s.t.Name(), s.topic, s.o.Group, t.id(), t.Raw.Deliveries})
		}
		out = s.handle(&t.Context, &t.Delivery)
	}
}

func (s *subscription) replace(t *task) {
	s.mu.Lock()
	defer s.unlock()
	s.workers--
	s.finish(t, WaitInLane(0))
	s.wakeOne()
	s.notify()
}

// next ends one call and waits for another, in one turn of the lock. Nil means
// that the worker has to leave.
func (s *subscription) next(w *worker, ended *task, out Outcome) *task {
	s.mu.Lock()
	defer s.unlock()
	if ended != nil {
		s.finish(ended, out)
	}
	for {
		if t := s.start(); t != nil {
			s.wakeOne()
			return t
		}
		if s.stopped || len(s.idle) >= maxIdle {
			s.workers--
			s.notify()
			return nil
		}
		s.idle = append(s.idle, w)
		s.unlock()
		<-w.wake
		s.mu.Lock()
	}
}

// start takes the next task that may run. After an abort there is none: what has
// not started goes back.
func (s *subscription) start() *task {
	for !s.aborted {
		t := s.ready.pop()
		if t == nil {
			return nil
		}
		if s.ready.size == s.o.Concurrency/2 {
			s.feedAll()
		}
		switch {
		case t.state != queued:
		case t.revoked():
			s.end(t, HandBack())
		default:
			t.state = running
			s.running++
			t.src.running++
			return t
		}
	}
	return nil
}

// finish does what the outcome of a call asks for.
func (s *subscription) finish(t *task, out Outcome) {
	s.running--
	t.src.running--
	t.Runs++
	switch {
	case t.lost != nil:
		s.drop(t)
	case out.kind != done && (t.src.closing || s.aborted || t.revoked()):
		s.end(t, HandBack())
	case s.staysInLane(out):
		s.pause(t, out.wait)
	default:
		s.end(t, out)
	}
	s.notify()
}

// staysInLane reports whether a delivery waits here for its next call: where
// later messages of its key would pass it at the broker, or the broker cannot
// wait.
func (s *subscription) staysInLane(out Outcome) bool {
	switch out.kind {
	case waitInLane:
		return true
	case redeliver:
		return s.o.Order != OrderNone || !s.t.caps.DelayedNack
	case handBack:
		return s.o.Order != OrderNone
	case done:
	}
	return false
}

func (s *subscription) pause(t *task, d time.Duration) {
	if d == 0 {
		t.state = queued
		s.ready.push(t)
		return
	}
	t.state = waiting
	s.tellBlocked(t.lane)
	t.wait = new(wait)
	s.t.waits.add(t.wait, time.Now().Add(d), func() { s.resume(t) })
}

// resume runs when a wait is over.
func (s *subscription) resume(t *task) {
	s.mu.Lock()
	defer s.unlock()
	if t.state != waiting {
		return
	}
	t.state = queued
	s.ready.push(t)
	s.wakeOne()
}

// end frees the lane and hands the delivery to the settler.
func (s *subscription) end(t *task, out Outcome) {
	s.leaveLane(t)
	s.settle(t, out)
}

// stopWorkers lets idle workers leave now, and busy ones when they are done.
func (s *subscription) stopWorkers() {
	s.mu.Lock()
	defer s.unlock()
	s.stopped = true
	for _, w := range s.idle {
		w.wake <- struct{}{}
	}
	s.idle = nil
}
