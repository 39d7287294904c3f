package natsdriver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/anywire/anywire/transport/driver"
)

func compare(a, b uint64) int { return cmp.Compare(a, b) }

// take collects all that is delivered and not settled of an ordered shard before
// anything of it is dispatched, in the order of the stream.
//
// A new owner finds what the old one held: it gives all of it back in the old
// one's name, so that it comes at once, and waits until the consumer's count of
// unsettled messages equals its own. Deliveries that come out of order meanwhile
// are sorted. ResetConsumer would do without the wait, and bring again what was
// acknowledged above the first unsettled message.
func (s *source) take(ctx context.Context) error {
	s.taken = false
	s.disorder.Store(false)
	if err := s.openInbox(); err != nil {
		return err
	}
	info, err := s.info(ctx)
	if errors.Is(err, driver.ErrNotFound) {
		s.gone = true
		return nil
	}
	if err != nil {
		return err
	}
	if s.foreign(info) && s.in.asked == 0 {
		s.takenOver()
		return nil
	}
	missing := info.NumAckPending - s.countOut(info.Delivered.Stream)
	if missing <= 0 {
		s.sortReady()
		s.taken, s.asserted = true, false
		return nil
	}
	if !s.asserted {
		if err := s.d.handBackOthers(ctx, info, s.keeps); err != nil {
			return err
		}
		s.asserted = true
	}
	if s.in.asked == 0 {
		if err := s.ask(ctx, min(missing, cap(s.in.ch)/2)); err != nil {
			return err
		}
	}
	s.gather(ctx, missing)
	return nil
}

// gather waits a moment for redeliveries.
func (s *source) gather(ctx context.Context, n int) {
	timer := time.NewTimer(250 * time.Millisecond)
	defer timer.Stop()
	for range n {
		select {
		case m := <-s.in.ch:
			s.accept(m)
		case <-timer.C:
			s.observe(time.Now())
			return
		case <-ctx.Done():
			return
		case <-s.done:
			return
		}
		if s.interesting() {
			return
		}
	}
}

// countOut counts what is here, as far as the server knows of it.
func (s *source) countOut(delivered uint64) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for seq := range s.out {
		if seq <= delivered {
			n++
		}
	}
	return n
}

// keeps reports whether a position is here, or waits on purpose.
func (s *source) keeps(seq uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out[seq] != nil || time.Now().Before(s.delayed[seq])
}

func (s *source) sortReady() {
	slices.SortFunc(s.ready, func(a, b *delivery) int { return compare(a.seq, b.seq) })
}

// info asks for the consumer's state.
func (s *source) info(ctx context.Context) (*jetstream.ConsumerInfo, error) {
	if now := s.d.link.now(); !now.connected {
		if err := s.awaitLink(ctx, now); err != nil {
			return nil, err
		}
	}
	c, err := s.d.js.Consumer(ctx, s.stream, s.consumer)
	if err != nil {
		return nil, wrap(err)
	}
	return c.CachedInfo(), nil
}

// mostHandBacks bounds the span that is given back one by one; beyond it, leases
// end by themselves.
const mostHandBacks = 1 << 20

// handBackOthers gives back everything that a consumer has delivered and nobody
// settled, except what keep names: the server passes over positions that are not
// unsettled, so what was acknowledged stays so. It answers the last.
func (d *Driver) handBackOthers(ctx context.Context, info *jetstream.ConsumerInfo, keep func(seq uint64) bool) error {
	from, to := info.AckFloor.Stream+1, info.Delivered.Stream
	if info.NumAckPending == 0 || to < from || to-from >= mostHandBacks {
		return nil
	}
	prefix := ackPrefix + info.Stream + "." + info.Name + ".1."
	suffix := "." + strconv.FormatUint(info.Delivered.Consumer, 10) + ".0.0"
	nak := []byte("-NAK")
	last := ""
	for seq := from; seq <= to; seq++ {
		if keep(seq) {
			continue
		}
		if last != "" {
			if err := d.nc.Publish(last, nak); err != nil {
				return wrap(err)
			}
		}
		last = prefix + strconv.FormatUint(seq, 10) + suffix
	}
	if last == "" {
		return nil
	}
	_, err := d.nc.RequestWithContext(ctx, last, nak)
	if errors.Is(err, nats.ErrNoResponders) {
		return fmt.Errorf("consumer %q of stream %q: %w", info.Name, info.Stream, driver.ErrNotFound)
	}
	return wrap(err)
}

// notePin keeps the pin under which a message came. A broken header hides it;
// then the server is asked before the next pull.
func (s *source) notePin(m *nats.Msg) {
	pin := m.Header.Get(pinHeader)
	if pin == "" && s.pin == "" {
		s.hidden = true
		return
	}
	if pin != "" {
		s.pin = pin
	}
	s.pinLoss, s.hidden = s.in.losses, false
}

// askPin finds out the pin that a message did not tell.
func (s *source) askPin(ctx context.Context) error {
	info, err := s.info(ctx)
	if err != nil {
		return err
	}
	s.pin, s.pinLoss, s.hidden = pinOf(info), s.in.losses, false
	return nil
}

// lostPin is called when the server refuses our pin. After a lost connection that
// is a restart of the server: the shard is taken again, and the lease of the
// engine decides whether we may. Otherwise somebody took the shard over.
func (s *source) lostPin() {
	restarted := s.pinLoss != s.losses || s.losses != s.d.link.losses.Load()
	s.pin, s.upset = "", true
	if !restarted {
		s.takenOver()
	}
}

// takenOver ends the source: what is out belongs to somebody else.
func (s *source) takenOver() {
	s.dead = fmt.Errorf("shard %d of topic %q was taken over from this member of group %q: %w",
		s.shard, s.sub.Topic, s.sub.Group, driver.ErrStale)
	s.forgetAll()
}

// forgetAll makes what is out stale.
func (s *source) forgetAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.out)
	clear(s.delayed)
	clear(s.ready)
	s.ready = s.ready[:0]
}

// foreign reports whether another connection has the pin.
func (s *source) foreign(info *jetstream.ConsumerInfo) bool {
	pin := pinOf(info)
	return s.pinned && pin != "" && pin != s.pin
}

func pinOf(info *jetstream.ConsumerInfo) string {
	for _, g := range info.PriorityGroups {
		if g.Group == pinGroup {
			return g.PinnedClientID
		}
	}
	return ""
}

// stillOurs asks whether what is out may be given back.
func (s *source) stillOurs(ctx context.Context) bool {
	if s.dead != nil {
		return false
	}
	if !s.pinned {
		return true
	}
	info, err := s.info(ctx)
	return err == nil && !s.foreign(info)
}
