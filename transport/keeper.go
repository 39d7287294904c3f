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
	s.mu.Lock()
	sources := slices.Clone(s.sources)
	s.unlock()
	var all sync.WaitGroup
	defer all.Wait()
	for _, src := range sources {
		all.Go(func() { src.extend(ctx) })
	}
	if s.owner != nil {
		s.owner.renew(ctx)
	}
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
			s.lose(t, errTaken)
		case err == nil:
			t.leased = began
		case time.Since(t.leased) >= s.o.Lease:
			s.lose(t, errNotRenewed)
		}
	}
	s.wakeOne()
}
