package natsdriver

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/anywire/anywire/transport/driver"
)

// giveBack makes deliveries available to others at once.
func (s *source) giveBack(ctx context.Context, list []*delivery) error {
	now := time.Now()
	actions := make([]action, 0, len(list))
	s.mu.Lock()
	for _, d := range list {
		if s.holds(d, now) {
			actions = append(actions, action{d: d, reply: d.reply, word: []byte("-NAK")})
			delete(s.out, d.seq)
		}
	}
	s.mu.Unlock()
	if len(actions) == 0 {
		return nil
	}
	s.d.gave.Store(true)
	return s.tellTogether(ctx, actions)
}

// Close gives back everything that is not settled, withdraws the pulls and
// returns the pin. The consumer stays, unless the group is ephemeral.
func (s *source) Close(ctx context.Context) error {
	s.closing.Do(func() { close(s.done) })
	s.stopAgeing()
	s.recv.Lock()
	defer s.recv.Unlock()
	if s.left {
		return nil
	}
	s.left = true
	s.parking.Stop()
	if !s.d.nc.IsConnected() {
		s.dropInbox()
		return nil // the leases end
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*confirmTimeout)
	defer cancel()
	s.closeInbox(ctx)
	var err error
	if s.stillOurs(ctx) {
		err = s.giveBack(ctx, s.unsettled())
		if s.pin != "" {
			err = errors.Join(err, s.unpin(ctx))
		}
	}
	if s.sub.Ephemeral {
		err = errors.Join(err, wrap(s.d.js.DeleteConsumer(ctx, s.stream, s.consumer)))
	}
	if errors.Is(err, driver.ErrNotFound) {
		return nil // deleted by somebody: nothing is held
	}
	return err
}

// dropInbox forgets the inbox without a word to the server.
func (s *source) dropInbox() {
	if s.in.sub != nil {
		_ = s.in.sub.Unsubscribe()
	}
}

// unsettled lists what is out, in its order.
func (s *source) unsettled() []*delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*delivery, 0, len(s.out))
	for _, d := range s.out {
		list = append(list, d)
	}
	slices.SortFunc(list, func(a, b *delivery) int { return compare(a.seq, b.seq) })
	return list
}
