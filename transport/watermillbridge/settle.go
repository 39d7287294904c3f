package watermillbridge

import (
	"context"

	"github.com/anywire/anywire/transport/driver"
)

// Settle acknowledges or refuses. Where the subscriber is no [Acknowledger], it
// waits until the message's context ends, by which a Pub/Sub shows that it has
// acted, and cannot tell more.
func (s *source) Settle(ctx context.Context, settlements []driver.Settlement) error {
	failed := driver.BatchError{}
	var acked []int
	for i, one := range settlements {
		switch err := s.begin(one); {
		case err != nil:
			failed[i] = err
		case one.Outcome == driver.Ack:
			acked = append(acked, i)
		}
	}
	for _, i := range acked {
		if err := s.confirm(ctx, settlements[i].Token); err != nil {
			failed[i] = s.d.o.Wrap(err)
		}
	}
	return failed.Err()
}

// begin says the outcome to the Pub/Sub. It does not block.
func (s *source) begin(one driver.Settlement) error {
	s.mu.Lock()
	d := s.held[one.Token]
	switch {
	case s.closing:
		s.mu.Unlock()
		return s.closedError()
	case d == nil:
		s.mu.Unlock()
		return driver.ErrStale
	case one.Outcome != driver.Ack:
		s.forget(d)
		s.mu.Unlock()
		d.back()
		return nil
	}
	if d.lease != nil {
		d.lease.Stop()
	}
	if d.confirmed == nil {
		d.confirmed = d.acknowledge()
	}
	s.mu.Unlock()
	return nil
}

// back refuses the delivery, so that it comes again here; of a shard that moves
// away it must not.
func (d *delivery) back() {
	if d.revoked() {
		d.leave()
		return
	}
	d.w.Nack()
}

func (d *delivery) acknowledge() (confirmed func(ctx context.Context) error) {
	if d.from.ack != nil {
		return d.from.ack.Ack(d.w)
	}
	d.w.Ack()
	return d.acted
}

// acted waits until the Pub/Sub has done with the message, where that can be
// seen: its context ends, or the subscription does.
func (d *delivery) acted(ctx context.Context) error {
	over := d.w.Context().Done()
	if over == nil {
		return nil
	}
	select {
	case <-over:
		return nil
	case <-d.from.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// confirm waits for the acknowledgement of a delivery, and forgets it unless the
// call has to be repeated.
func (s *source) confirm(ctx context.Context, t driver.Token) error {
	s.mu.Lock()
	d := s.held[t]
	s.mu.Unlock()
	if d == nil {
		return nil // another call has confirmed it
	}
	err := d.confirmed(ctx)
	if err != nil && !final(err) {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[t] == d {
		s.forget(d)
	}
	return err
}

// Extend renews nothing: Watermill has no word for it. It says which deliveries
// are over.
func (s *source) Extend(_ context.Context, tokens []driver.Token) (lost []driver.Token, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range tokens {
		if _, held := s.held[t]; !held {
			lost = append(lost, t)
		}
	}
	return lost, nil
}
