package transport

import (
	"fmt"
	"maps"
	"slices"
)

// admit puts a task where it will run from: the ready queue, or behind another
// of its key.
func (s *subscription) admit(t *task) {
	key, ordered := t.key()
	if !ordered {
		s.ready.push(t)
		return
	}
	l := s.lanes[key]
	if l == nil {
		l = s.newLane(key)
		l.first = t
		s.ready.push(t)
	} else {
		l.behind.push(t)
	}
	t.lane = l
	l.size++
	if l.size >= s.o.LaneLimit && l.fills == nil {
		s.fill(l, t)
	}
}

func (s *subscription) newLane(key string) *lane {
	var l *lane
	if n := len(s.spare); n > 0 {
		l, s.spare = s.spare[n-1], s.spare[:n-1]
	} else {
		l = new(lane)
	}
	l.key = key
	s.lanes[key] = l
	return l
}

// leaveLane takes a task out of its lane, and lets the next one of the key start
// if it was the first.
func (s *subscription) leaveLane(t *task) {
	l := t.lane
	if l == nil {
		return
	}
	t.lane = nil
	l.size--
	if l.fills != nil && l.size < s.o.LaneLimit {
		s.unfill(l)
	}
	if l.first != t {
		return // it stays in l.behind, where it is passed over
	}
	for l.first = l.behind.pop(); l.first != nil; l.first = l.behind.pop() {
		if l.first.lane == l {
			s.ready.push(l.first)
			return
		}
	}
	delete(s.lanes, l.key)
	*l = lane{}
	if len(s.spare) < 64 {
		s.spare = append(s.spare, l)
	}
}

// fill stops fetching the shard of a lane that is at its limit: what follows
// would only wait behind it.
func (s *subscription) fill(l *lane, t *task) {
	l.fills, l.shard = t.src, t.Raw.Shard
	t.src.fullShards[l.shard]++
	t.src.wantPauses()
	s.tellBlocked(l)
}

// tellBlocked shows a full lane whose first message waits for its retry; one that
// is merely busy is no trouble.
func (s *subscription) tellBlocked(l *lane) {
	if l.isBlocked() {
		s.setState(Blocked, fmt.Sprintf("key %q: %d messages wait behind one that is to be tried again", l.key, l.size-1))
	}
}

func (l *lane) isBlocked() bool { return l != nil && l.fills != nil && l.first.state == waiting }

func (s *subscription) unfill(l *lane) {
	src := l.fills
	l.fills = nil
	if src.fullShards[l.shard]--; src.fullShards[l.shard] <= 0 {
		delete(src.fullShards, l.shard)
	}
	src.wantPauses()
	s.feedAll()
	if s.state == Blocked {
		s.stillBlocked()
	}
}

// stillBlocked shows another lane that is blocked, or that there is none.
func (s *subscription) stillBlocked() {
	for _, l := range s.lanes {
		if l.isBlocked() {
			s.tellBlocked(l)
			return
		}
	}
	s.setState(Running, "")
}

// wantPauses has the settler apply what full lanes pause: the fetcher may be
// waiting for other shards.
func (src *source) wantPauses() {
	if src.pauser != nil {
		signal(src.settler)
	}
}

// applyPauses tells a source that can pause shards which of them have a full
// lane, where that changed.
func (src *source) applyPauses() {
	if src.pauser == nil {
		return
	}
	src.pausing.Lock()
	defer src.pausing.Unlock()
	s := src.sub
	s.mu.Lock()
	if maps.EqualFunc(src.fullShards, src.paused, func(int, int) bool { return true }) {
		s.unlock()
		return
	}
	src.paused = maps.Clone(src.fullShards)
	shards := slices.Sorted(maps.Keys(src.paused))
	s.unlock()
	src.pauser.PauseShards(shards)
}
