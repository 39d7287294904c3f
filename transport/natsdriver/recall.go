package natsdriver

import (
	"context"
	"time"
)

// recallTimeout bounds the wait for what a server forgot.
const recallTimeout = time.Second

// recall makes sure, after the connection was lost, that the server knows what is
// out. One that was killed forgets the deliveries of its last tenth of a second,
// and is silent when they are settled: it will deliver them again. They are pulled
// at once, beyond the window if need be, and recognised; what has gone to another
// member by then, or does not come, is stale.
func (s *source) recall(ctx context.Context) error {
	losses := s.d.link.losses.Load()
	if s.checked.Load() == losses {
		return nil
	}
	if !s.d.nc.IsConnected() {
		return errDisconnected
	}
	c, err := s.d.js.Consumer(ctx, s.stream, s.consumer)
	if err != nil {
		return wrap(err)
	}
	forgotten := s.beyond(c.CachedInfo().Delivered.Stream)
	s.fetch(ctx, forgotten)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range forgotten {
		if !d.recalled && s.out[d.seq] == d {
			s.forget(d)
		}
	}
	s.checked.Store(losses)
	return nil
}

// beyond lists what is out and unknown to the server.
func (s *source) beyond(delivered uint64) []*delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []*delivery
	for seq, d := range s.out {
		if seq > delivered {
			d.recalled = false
			list = append(list, d)
		}
	}
	return list
}

// fetch pulls until all have come again. Where Receive is running, that does it.
func (s *source) fetch(ctx context.Context, forgotten []*delivery) {
	ctx, cancel := context.WithTimeout(ctx, recallTimeout)
	defer cancel()
	for missing := len(forgotten); missing > 0 && ctx.Err() == nil && !s.closed(); missing = s.missing(forgotten) {
		if !s.recv.TryLock() {
			pause(ctx, 5*time.Millisecond)
			continue
		}
		s.fetchSome(ctx, missing)
		s.recv.Unlock()
	}
}

func (s *source) fetchSome(ctx context.Context, n int) {
	defer s.parking.Reset(parkAfter)
	ok, err := s.prepare(ctx)
	if ok && err == nil {
		err = s.pull(ctx, n)
	}
	if err != nil {
		s.report = err // for the next Receive
		pause(ctx, 50*time.Millisecond)
		return
	}
	if ok {
		s.wait(ctx)
	}
}

func (s *source) missing(list []*delivery) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, d := range list {
		if !d.recalled && s.out[d.seq] == d {
			n++
		}
	}
	return n
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
