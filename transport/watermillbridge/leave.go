package watermillbridge

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/anywire/anywire/transport/driver"
)

// Close leaves the group. Acknowledgements that are on their way are waited for,
// because a subscriber that is closed drops them; then every subscription is
// closed, which gives back what is not settled. Where that takes longer than ctx,
// Close returns an error, and the rest goes on behind it.
func (s *source) Close(ctx context.Context) error {
	s.leaving.Do(func() {
		s.mu.Lock()
		s.closing = true
		close(s.over)
		s.mu.Unlock()
		go s.leave(ctx)
	})
	select {
	case <-s.left:
		return s.leftErr
	case <-ctx.Done():
		return fmt.Errorf("the Pub/Sub does not close the subscription of %q for group %q in time: %w",
			s.sub.Topic, s.sub.Group, ctx.Err())
	}
}

// abandon closes a source that could not be opened.
func (s *source) abandon(ctx context.Context) {
	const patience = 10 * time.Second
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	_ = s.Close(ctx)
}

// leave runs once.
func (s *source) leave(ctx context.Context) {
	defer close(s.left)
	s.mu.Lock()
	consumers := s.consumers
	var acked []*delivery
	for _, d := range s.held {
		if d.lease != nil {
			d.lease.Stop()
		}
		if d.confirmed != nil {
			acked = append(acked, d)
		}
	}
	s.mu.Unlock()
	for _, d := range acked {
		_ = d.confirmed(ctx)
	}
	errs := make(chan error, len(consumers))
	for _, c := range consumers {
		go func() { errs <- c.leave() }()
	}
	var failed error
	for range consumers {
		failed = errors.Join(failed, <-errs)
	}
	s.leftErr = failed
}

// final reports whether repeating a settlement is of no use.
func final(err error) bool {
	return errors.Is(err, driver.ErrStale) || errors.Is(err, driver.ErrClosed)
}
