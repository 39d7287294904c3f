package redisdriver

import (
	"context"
	"time"
)

// leaveTimeout bounds what is said to the server while leaving.
const leaveTimeout = 5 * time.Second

// forceAfter is when connections are closed under commands that do not end.
const forceAfter = time.Second

// Close ends the readers, gives back everything that is not settled, and removes
// this consumer, which has nothing then. The group stays, unless it is ephemeral.
// Where the server does not answer, others take the deliveries when their lease
// ends.
func (s *source) Close(ctx context.Context) error {
	s.closing.Do(func() {
		close(s.done)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
		defer cancel()
		for _, r := range s.readers {
			r.stop(ctx)
		}
		s.end()
		force := time.AfterFunc(forceAfter, s.cut)
		s.all.Wait()
		force.Stop()
		s.leaving = s.leave(ctx)
		s.dropName()
	})
	return s.leaving
}

// cut closes the readers' connections.
func (s *source) cut() {
	for _, r := range s.readers {
		r.line.close()
	}
}

// stop ends a blocking read: with a word to the server, so that it delivers
// nothing more to it, or else by closing the connection.
func (r *reader) stop(ctx context.Context) {
	r.poke(ctx)
	r.s.mu.Lock()
	blocked := r.blocked
	r.s.mu.Unlock()
	if !blocked {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, unblockTimeout)
	defer cancel()
	for blocked && ctx.Err() == nil {
		pause(ctx, time.Millisecond)
		r.s.mu.Lock()
		blocked = r.blocked
		r.s.mu.Unlock()
	}
	if blocked {
		r.line.close()
	}
}

// pause waits; it is false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
