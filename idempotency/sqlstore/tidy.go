package sqlstore

import (
	"context"
	"sync"
	"time"

	"github.com/anywire/anywire/idempotency"
)

// Records whose time is over are removed by those who begin others: twice as many
// as were begun, at least once a second while anything is begun at all.
const (
	tidyEvery  = time.Second
	tidyBegun  = 256
	tidyRows   = 2 * tidyBegun
	countEvery = 10 * time.Second
)

// tidier knows when it is time.
type tidier struct {
	mu      sync.Mutex
	last    time.Time
	begun   int
	counted time.Time
	records int
	evicted uint64
}

// due reports whether the caller is to remove records, and to count them.
func (t *tidier) due(begun int, bounded bool) (tidy, count bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.begun += begun
	now := time.Now()
	if t.begun < tidyBegun && now.Sub(t.last) < tidyEvery {
		return false, false
	}
	t.begun, t.last = 0, now
	if count = bounded && now.Sub(t.counted) >= countEvery; count {
		t.counted = now
	}
	return true, count
}

// tidy removes some of the records that are over. What fails is left to the next
// who comes.
func (s *Store) tidy(ctx context.Context, begun int) {
	tidy, count := s.tidier.due(begun, s.options.MaxRecords > 0)
	if !tidy {
		return
	}
	if _, err := s.exec(ctx, s.text.purge, tidyRows); err != nil || !count {
		return
	}
	records := 0
	if err := s.db.QueryRowContext(ctx, s.text.count).Scan(&records); err != nil {
		return
	}
	evicted := int64(0)
	if over := records - s.options.MaxRecords; over > 0 {
		evicted, _ = s.exec(ctx, s.text.evict, over)
	}
	s.tidier.mu.Lock()
	defer s.tidier.mu.Unlock()
	s.tidier.records = records - int(evicted)
	s.tidier.evicted += uint64(evicted)
}

// Stats implements [idempotency.Counter]. Records are counted only where
// Options.MaxRecords is set, and about every ten seconds.
func (s *Store) Stats() idempotency.Stats {
	s.tidier.mu.Lock()
	defer s.tidier.mu.Unlock()
	if s.tidier.counted.IsZero() {
		return idempotency.Stats{Records: -1}
	}
	return idempotency.Stats{Records: s.tidier.records, Evicted: s.tidier.evicted}
}
