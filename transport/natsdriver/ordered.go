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
// one's name, so that it comes at once, and waits until the server holds nothing
// unsettled that is not here. Deliveries that come out of order meanwhile are
// sorted. ResetConsumer would do without the wait, and bring again what was
// acknowledged above the first unsettled message.
func (s *source) take(ctx context.Context) error {
	s.taken = false
	s.mu.Lock()
	s.forgetLapsed(time.Now())
	before := s.finished
	s.mu.Unlock()
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
	missing, perhaps, acked := s.compare(info, before)
	switch {
	case perhaps <= 0 && s.accounts(info):
		s.sortReady()
		s.taken, s.asserted, s.num = true, false, info.Delivered.Consumer
		return nil
	case perhaps <= 0 || missing > 0:
		return s.regain(ctx, info, missing)
	default:
		return s.confirm(ctx, acked)
	}
}

// compare counts what the server has delivered, nobody has settled, and is not
// here: missing at the least, perhaps at the most. The server tells numbers and no
// positions, so what is here counts only if the server surely has it unsettled
// too. An acknowledgement of which we heard nothing may have arrived: taken for
// unsettled, it would stand in for a delivery that went astray, and what follows
// that one would overtake it. before is how many had ended when the server was
// asked.
func (s *source) compare(info *jetstream.ConsumerInfo, before uint64) (missing, perhaps int, acked []*delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	here, ended := 0, int(s.finished-before)
	for seq, d := range s.out {
		switch {
		case seq <= info.AckFloor.Stream: // settled, or gone from the stream
			if d.acked {
				s.finishUnheard(d)
			}
		case seq > info.Delivered.Stream: // forgotten by a server that was killed: it comes again
		case d.acked:
			acked = append(acked, d)
		default:
			here++
		}
	}
	perhaps = info.NumAckPending - here
	return perhaps - len(acked) - ended, perhaps, acked
}

// accounts reports whether a count may be trusted that finds nothing missing: no
// delivery went astray, or all that is not here was given back, so that it comes
// before anything new. An acknowledgement of a former owner, which arrives late,
// could make up for the one that is missing.
func (s *source) accounts(info *jetstream.ConsumerInfo) bool {
	return s.asserted || info.Delivered.Consumer == s.num || info.NumAckPending == 0
}

// regain has the server deliver again what went astray, or was another owner's.
func (s *source) regain(ctx context.Context, info *jetstream.ConsumerInfo, missing int) error {
	if !s.asserted {
		if err := s.d.handBackOthers(ctx, info, s.keeps); err != nil {
			return err
		}
		s.asserted = true
	}
	if missing <= 0 {
		return nil
	}
	if s.in.asked == 0 {
		if err := s.ask(ctx, min(missing, cap(s.in.ch)/2)); err != nil {
			return err
		}
	}
	s.gather(ctx, missing)
	return nil
}

// confirm tells acknowledgements again and waits until the server has them.
func (s *source) confirm(ctx context.Context, acked []*delivery) error {
	actions := s.acknowledgements(acked)
	if len(actions) == 0 {
		return nil // they have ended meanwhile: look again
	}
	if err := s.tellTogether(ctx, actions); err != nil {
		return fmt.Errorf("acknowledge again: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range actions {
		if s.out[a.d.seq] == a.d {
			s.finishUnheard(a.d)
		}
	}
	return nil
}

func (s *source) acknowledgements(acked []*delivery) []action {
	now := time.Now()
	actions := make([]action, 0, len(acked))
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range acked {
		if s.holds(d, now) {
			actions = append(actions, action{d: d, reply: d.reply})
		}
	}
	return actions
}

// finishUnheard ends a delivery that Settle has yet to hear of.
func (s *source) finishUnheard(d *delivery) {
	s.finish(d)
	d.finished = true
}

// follows notices what went astray before anything overtakes it: the consumer
// numbers its deliveries, and all of them come here. Not every loss is one of the
// connection: pulls that are withdrawn while the network stands still are answered
// to nobody.
func (s *source) follows(d *delivery) {
	if d.num != s.num+1 {
		s.disorder.Store(true)
		return
	}
	s.num = d.num
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
