package redisdriver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// A consumer with a stable name finds what its process held before it was killed,
// and delivers that first. It would also take what another process of that name
// holds: each message would be handled twice. Within a process that is refused;
// between processes nobody can prevent it without waiting as long as for a lease,
// which the name is there to spare. So each leaves a mark, and says when it finds
// another's.

// consumer names a reader within this process.
type consumer struct{ topic, group string }

// isStable reports whether the source's name outlives its process.
func (s *source) isStable() bool { return s.token == "" && s.d.o.Consumer != "" }

// takeName refuses a second source of the same name.
func (s *source) takeName() error {
	if !s.isStable() {
		return nil
	}
	d, me := s.d, consumer{s.sub.Topic, s.sub.Group}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.names[me] {
		return fmt.Errorf("consumer %q reads it already in this process: two would take each other's messages: "+
			"use another group, or leave out consumer", d.o.Consumer)
	}
	if d.names == nil {
		d.names = map[consumer]bool{}
	}
	d.names[me] = true
	return nil
}

func (s *source) dropName() {
	if !s.isStable() {
		return
	}
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	delete(s.d.names, consumer{s.sub.Topic, s.sub.Group})
}

// mark is the key that says which process has a stable name.
func (st *stream) mark(me string) string { return companion(st.name, "consumer:"+me) }

// watchName leaves the mark, and reports whether somebody else's was there.
func (s *source) watchName(ctx context.Context, st *stream, every time.Duration) (rival bool) {
	if !s.isStable() {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, lineTimeout)
	defer cancel()
	before, err := s.d.client.SetArgs(ctx, st.mark(s.sub.Group+":"+s.me), s.mine, redis.SetArgs{Get: true, TTL: 5 * every}).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return false // a reader meets it too
	}
	rival = st.marked && before != "" && before != s.mine
	st.marked = true
	return rival
}

// noteRival logs when another process of the same name shows up, and when it is gone.
func (s *source) noteRival(rival bool) {
	if s.rival.Swap(rival) == rival {
		return
	}
	log := s.d.log.With("topic", s.sub.Topic, "group", s.sub.Group, "consumer", s.d.o.Consumer)
	if rival {
		log.Error("another process has this consumer's name: messages are handled twice; give each process a name of its own")
	} else {
		log.Info("no other process has this consumer's name any more")
	}
}

// Trouble tells of another process with the same name.
func (s *source) Trouble() error {
	if !s.rival.Load() {
		return nil
	}
	return fmt.Errorf("another process has the consumer name %q, too: messages are handled twice", s.d.o.Consumer)
}
