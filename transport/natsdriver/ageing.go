package natsdriver

import (
	"context"
	"time"

	"github.com/anywire/anywire/transport/driver"
)

// How often a source looks how old its backlog is.
const (
	ageingMost  = 5 * time.Minute
	ageingLeast = 10 * time.Second
	// ageingPart of a stream's age may pass between two looks.
	ageingPart = 24
)

// ageing watches the backlog of one consumer: a stream drops what reached its
// age, handled or not.
type ageing struct {
	timer  *time.Timer
	warned bool // it is known that messages are about to be dropped
}

func (s *source) startAgeing() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ageing.timer = time.AfterFunc(ageingLeast, s.watchAge)
}

func (s *source) stopAgeing() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ageing.timer != nil {
		s.ageing.timer.Stop()
	}
}

// watchAge looks, and comes again.
func (s *source) watchAge() {
	ctx, cancel := context.WithTimeout(context.Background(), confirmTimeout)
	defer cancel()
	s.lookForVanished(ctx)
	next := ageingMost
	if kept, oldest, err := s.ageOfBacklog(ctx); err == nil {
		s.judgeAge(kept, oldest, time.Now())
		if kept > 0 {
			next = max(min(kept/ageingPart, ageingMost), ageingLeast)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed() {
		s.ageing.timer.Reset(next)
	}
}

// ageOfBacklog is how long the stream keeps messages (0: for ever), and when the
// oldest that is not settled was published (zero: there is none).
func (s *source) ageOfBacklog(ctx context.Context) (kept time.Duration, oldest time.Time, err error) {
	if !s.d.nc.IsConnected() {
		return 0, time.Time{}, errDisconnected
	}
	stream, err := s.d.js.Stream(ctx, s.stream)
	if err != nil {
		return 0, time.Time{}, err
	}
	kept = stream.CachedInfo().Config.MaxAge
	if kept <= 0 {
		return 0, time.Time{}, nil
	}
	info, err := s.info(ctx)
	if err != nil {
		return kept, time.Time{}, err
	}
	var lag driver.Lag
	err = addLag(ctx, &lag, stream, info)
	return kept, lag.Oldest, err
}

// judgeAge logs when the backlog becomes too old, and when it no longer is.
func (s *source) judgeAge(kept time.Duration, oldest, now time.Time) {
	var age time.Duration
	if !oldest.IsZero() {
		age = now.Sub(oldest)
	}
	old := share(int64(age), int64(kept)) >= nearlyFull
	s.mu.Lock()
	changed := old != s.ageing.warned
	s.ageing.warned = old
	s.mu.Unlock()
	switch log := s.d.o.Logger.With("topic", s.sub.Topic, "group", s.sub.Group, "shard", max(s.shard, 0)); {
	case !changed:
	case old:
		log.Warn("unhandled messages are about to be dropped by age: more workers, or a longer retention",
			"oldest", age.Round(time.Second), "retention", kept)
	default:
		log.Info("the oldest unhandled message is young enough again", "retention", kept)
	}
}
