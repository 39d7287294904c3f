package transport

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/anywire/anywire/transport/driver"
)

var (
	errNotRenewed = errors.New("its lease could not be renewed")
	errTaken      = errors.New("another member took it")
	errShardLost  = errors.New("its shard has another owner")
)

// keep renews leases on one beat, a third of the lease, for as long as ctx
// lives: also while the subscription drains. What the beat cannot renew is lost.
func (s *subscription) keep(ctx context.Context) {
	beat := time.NewTicker(max(s.o.Lease/3, time.Millisecond))
	defer beat.Stop()
	for {
		select {
		case <-beat.C:
			s.renew(ctx)
		case <-ctx.Done():
			return
		}
	}
}

func (s *subscription) renew(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Lease/3)
	defer cancel()
	s.beat(ctx)
	s.mu.Lock()
	sources := slices.Clone(s.sources)
	for _, src := range sources {
		src.noteVanished()
	}
	s.unlock()
	var all sync.WaitGroup
	defer all.Wait()
	for _, src := range sources {
		all.Go(func() { src.extend(ctx) })
	}
	if s.owner != nil {
		s.owner.renew(ctx)
	}
	s.mend()
}

// beat lets the caller renew what is its own, and leaves time for the rest.
func (s *subscription) beat(ctx context.Context) {
	if s.o.Beat == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, s.o.Lease/6)
	defer cancel()
	s.o.Beat(ctx)
}

// mend takes back that the broker is away once every source has waited for a
// beat without a complaint: it answers again, and has nothing.
func (s *subscription) mend() {
	s.mu.Lock()
	defer s.unlock()
	if s.state != Waiting || len(s.sources) == 0 || s.owner != nil && s.owner.failing {
		return
	}
	for _, src := range s.sources {
		if src.failing && (src.asked == 0 || time.Since(src.askedAt) < s.o.Lease/4) {
			return
		}
	}
	s.setState(Running, "")
}

// extend renews the deliveries of one source, also those that have not started.
func (src *source) extend(ctx context.Context) {
	s := src.sub
	if s.t.caps.MaxLease > 0 {
		return // the broker holds deliveries for as long as it says, and no longer
	}
	s.mu.Lock()
	tasks := src.tasks.all()
	s.unlock()
	if len(tasks) == 0 {
		return
	}
	tokens := make([]driver.Token, len(tasks))
	for i, t := range tasks {
		tokens[i] = t.Raw.Token
	}
	began := time.Now()
	lost, err := src.driver.Extend(ctx, tokens)
	src.extended(tasks, lost, err, began)
}

func (src *source) extended(tasks []*task, lost []driver.Token, err error, began time.Time) {
	s := src.sub
	taken := make(map[driver.Token]struct{}, len(lost))
	for _, token := range lost {
		taken[token] = struct{}{}
	}
	s.mu.Lock()
	defer s.unlock()
	for _, t := range tasks {
		_, isTaken := taken[t.Raw.Token]
		switch {
		case isTaken:
			src.lost(t, errTaken)
		case err == nil:
			t.leased = began
		case s.overdue(t.leased) && t.state != settling: // an outcome may still be taken
			src.lost(t, errNotRenewed)
		}
	}
	s.wakeOne()
}

// overdue reports whether a lease that began or was renewed then may be over
// before the next beat.
func (s *subscription) overdue(renewed time.Time) bool {
	return time.Since(renewed) >= s.o.Lease-s.o.Lease/6
}

// lost takes a delivery away from its handler. In an ordered subscription it
// comes again, and must come before the later ones of its key, fetched or not:
// all of the source goes back, to be read in order.
func (src *source) lost(t *task, reason error) {
	s := src.sub
	over := t.state == settling || t.state == gone || t.revoked() || src.closing
	if s.o.Order == OrderNone || over {
		s.lose(t, reason)
		return
	}
	s.giveUp(src, reason)
	s.group.Go(func() { s.reopenAfter(src) })
}
