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
	trim := time.Now().Add(trimEvery/4 + rand.N(trimEvery/2)) //nolint:gosec // members should not trim all at once
	for {
		for _, st := range s.streams {
			s.beat(s.life, st, beat)
		}
		if time.Now().After(trim) {
			s.trim(s.life)
			trim = time.Now().Add(trimEvery)
		}
		if !pause(s.life, beat) {
			return
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
	record, err := s.d.eval(ctx, beatScript, []string{st.name, st.records, st.members},
		s.sub.Group, me, (5 * every).Milliseconds(), s.ttl()).Text()
	if err == nil && record != "" {
		s.remember(st, record)
	}
}
