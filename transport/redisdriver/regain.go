package redisdriver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/anywire/anywire/transport/driver"
)

// pageSize is how many pending entries are listed at once.
const pageSize = 500

// regain delivers what this member has and does not know of: the reply that told
// was lost, a former owner of the shard had it, or it was given back to the shard.
// It goes through the pending entries in their order. wait is how long the next of
// an ordered shard has to wait; nothing may overtake it.
func (r *reader) regain(ctx context.Context, n int) (list []*delivery, wait time.Duration, err error) {
	gen := r.generation()
	for _, st := range r.streams {
		for from := "-"; from != ""; {
			page, err := r.unknown(ctx, st, from, n-len(list))
			if err != nil {
				return list, 0, err
			}
			if len(page.ids) > 0 {
				got, _, err := r.deliveries(ctx, st, claimScript, len(page.ids), page.ids...)
				list = append(list, got...)
				if err != nil {
					return list, 0, err
				}
			}
			if page.more {
				return list, page.wait, nil
			}
			from = page.next
		}
	}
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	if gen == r.gen {
		r.unsure = false
	}
	return list, 0, nil
}

// seal sees to it that a read of an ordered shard whose reply was lost delivers
// nothing any more, should it reach the server only now, after a pause of the
// server or the network: what it brought nobody would know of, as the lease of a
// shard's owner never lapses. Its transaction watches the fence.
func (r *reader) seal(ctx context.Context) error {
	if !r.torn {
		return nil
	}
	if err := r.s.takeOver(ctx, r.streams[0], r.s.token); err != nil {
		return err
	}
	r.torn = false
	return nil
}

// unknownPage are pending entries of this consumer that are not out.
type unknownPage struct {
	ids  []any
	next string        // where the next page begins; empty: nowhere
	more bool          // the rest of the page was left for later
	wait time.Duration // until it may be looked at
}

func (r *reader) unknown(ctx context.Context, st *stream, from string, n int) (unknownPage, error) {
	s := r.s
	pending, err := s.d.client.XPendingExt(ctx, &redis.XPendingExtArgs{
		Stream: st.name, Group: s.sub.Group, Start: from, End: "+", Count: pageSize, Consumer: s.me,
	}).Result()
	if err != nil {
		return unknownPage{}, err
	}
	var page unknownPage
	if len(pending) == pageSize {
		page.next = "(" + pending[len(pending)-1].ID
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range pending {
		if _, known := st.out[p.ID]; known {
			continue
		}
		page.wait = max(0, time.Until(st.later[p.ID]))
		if page.more = page.wait > 0 || len(page.ids) == n; page.more {
			return page, nil
		}
		delete(st.later, p.ID)
		page.ids = append(page.ids, p.ID)
	}
	return page, nil
}

// reread makes deliveries of an ordered shard come again, before anything that was
// not handed out yet. The lock is held.
func (s *source) reread(list ...*delivery) {
	s.forget(list...)
	s.forget(s.ready...)
	clear(s.ready)
	s.ready = s.ready[:0]
	for _, r := range s.readers {
		r.unsure = true
		r.gen++
	}
}

// recover deals with a failed fetch: it returns what the engine should know.
func (r *reader) recover(ctx context.Context, err error) error {
	s := r.s
	switch {
	case s.closed():
		return nil
	case isFenced(err):
		return fmt.Errorf("%w: %w", driver.ErrStale, err)
	case isLost(err):
		return r.rejoin(ctx, err)
	}
	r.line.drop()
	r.guarded, r.torn = false, s.token != ""
	s.mu.Lock()
	r.unsure = true // the reply may have told of deliveries
	s.mu.Unlock()
	return wrap(err)
}

// rejoin makes lost groups again.
func (r *reader) rejoin(ctx context.Context, lost error) error {
	for _, st := range r.streams {
		if err := r.s.join(ctx, st, r.s.token); err != nil {
			r.line.drop()
			if isFenced(err) {
				return fmt.Errorf("%w: %w", driver.ErrStale, err)
			}
			return wrap(errors.Join(lost, err))
		}
	}
	return nil
}
