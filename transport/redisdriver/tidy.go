package redisdriver

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	// beatEvery is how often a member gives a sign of life, at the latest.
	beatEvery = 10 * time.Second
	// trimEvery is how often a topic is trimmed, by one of its members.
	trimEvery = time.Minute
)

// tidy gives signs of life, clears up after members that died, and trims.
func (s *source) tidy() {
	beat := min(max(s.sub.Lease/3, 100*time.Millisecond), beatEvery)
	// Members should not trim all at once.
	trim := time.Now().Add(trimEvery/4 + rand.N(trimEvery/2))
	for {
		rival := false
		for _, st := range s.streams {
			s.beat(s.life, st, beat)
			rival = s.watchName(s.life, st, beat) || rival
		}
		s.noteRival(rival)
		s.sweep()
		if time.Now().After(trim) {
			s.trim(s.life)
			trim = time.Now().Add(trimEvery)
		}
		if !pause(s.life, beat) {
			return
		}
	}
}

// sweep forgets deliveries that nobody has renewed or settled for two leases: the
// engine has given them up, and they have gone to whoever took them.
func (s *source) sweep() {
	if s.token != "" {
		return // the engine gives up all of a shard
	}
	over := time.Now().Add(-s.sub.Lease)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.streams {
		for _, d := range st.out {
			if d.deadline.Before(over) && !d.settling {
				s.forget(d)
			}
		}
	}
}

// beat is a sign of life on one stream. A failure is not told: a reader meets it
// too.
func (s *source) beat(ctx context.Context, st *stream, every time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, lineTimeout)
	defer cancel()
	me := s.me
	if s.token != "" {
		me = "" // the one consumer of an ordered shard stays
	}
	reply, err := s.d.eval(ctx, beatScript, []string{st.name, st.records, st.members},
		s.sub.Group, me, (5 * every).Milliseconds(), s.ttl()).Slice()
	if err == nil && len(reply) == 2 {
		s.noted(st, reply)
	}
}
