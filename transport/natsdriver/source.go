package natsdriver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/anywire/anywire/transport/driver"
)

const (
	// parkAfter is how long pulls stay open while nobody receives: a paused
	// member must not withhold messages from others.
	parkAfter = 100 * time.Millisecond
	// floorEvery is how often the group's settled position is looked up, for the
	// case that somebody deletes its consumer.
	floorEvery = 30 * time.Second
)

// source is one member of a group. Receive and what it calls run under recv;
// what is delivered is under mu.
type source struct {
	d        *Driver
	topic    *topic // under recv: a new one after the stream was deleted
	stream   string
	sub      driver.Subscription
	shard    int // -1: all
	consumer string
	pinned   bool
	lease    time.Duration // the consumer's, which may be longer than the subscription's
	tick     time.Duration
	done     chan struct{} // closed by Close
	closing  sync.Once
	disorder atomic.Bool   // something of an ordered shard was given back
	checked  atomic.Uint64 // losses of the connection for which recall is done

	recv    sync.Mutex
	in      inbox
	parking *time.Timer
	losses  uint64 // of the connection, as far as they are handled
	ready   []*delivery
	batch   []*driver.Message
	seen    time.Time // nothing that arrives was delivered before
	empty   time.Time // when nothing was there, last
	report  error     // to be returned once
	told    bool      // that the connection is lost
	dead    error     // to be returned for ever
	upset   bool      // pulls and deliveries may have gone astray
	gone    bool      // the consumer is
	left    bool

	floor   uint64 // up to here the whole group had settled
	floorOf time.Time
	floorAt time.Time

	// Of ordered sources.
	pin      string
	hidden   bool   // a message came, and did not tell its pin
	pinLoss  uint64 // losses when the pin was ours for sure
	num      uint64 // deliveries of the consumer up to this one are accounted for
	taken    bool   // all that was delivered and not settled is here
	asserted bool   // it was given back, so that it comes

	mu       sync.Mutex
	out      map[uint64]*delivery
	delayed  map[uint64]time.Time // given back until then
	finished uint64               // counts what ended
	flowed   bool                 // something was received since floorAt
	ageing   ageing

	vanished vanished
}

var _ driver.Source = (*source)(nil)

func (d *Driver) newSource(t *topic, sub driver.Subscription) (*source, error) {
	shard, err := shardOf(t, sub)
	if err != nil {
		return nil, err
	}
	name, err := consumerName(sub.Group, shard)
	if err != nil {
		return nil, err
	}
	s := &source{
		d: d, topic: t, stream: t.stream, sub: sub, shard: shard, consumer: name,
		tick: min(max(sub.Lease/20, 20*time.Millisecond), time.Second),
		done: make(chan struct{}), out: map[uint64]*delivery{},
		losses: d.link.losses.Load(), floorAt: time.Now(),
	}
	s.vanished.tellable = shard < 0 || len(t.subjects) == 1
	s.parking = time.AfterFunc(time.Hour, s.park)
	s.parking.Stop()
	return s, nil
}

// Receive pulls at most limit messages, with pulls that overlap: what a pull was
// not used for serves the next call.
func (s *source) Receive(ctx context.Context, limit int) ([]*driver.Message, error) {
	if limit < 1 {
		return nil, fmt.Errorf("receive at most %d messages: use at least 1", limit)
	}
	s.recv.Lock()
	defer s.recv.Unlock()
	s.parking.Stop()
	for {
		if err := s.check(ctx); err != nil {
			s.parking.Reset(parkAfter)
			return nil, err
		}
		msgs, err := s.next(ctx, limit)
		if len(msgs) > 0 || err != nil {
			s.parking.Reset(parkAfter)
			return msgs, err
		}
	}
}

// check is what ends a Receive.
func (s *source) check(ctx context.Context) error {
	if s.closed() {
		return fmt.Errorf("group %q of topic %q: %w", s.sub.Group, s.sub.Topic, driver.ErrClosed)
	}
	if s.dead != nil {
		return s.dead
	}
	if ctx.Err() != nil {
		return ended(ctx)
	}
	err := s.report
	s.report = nil
	return err
}

// next returns what is there, or waits a little for more.
func (s *source) next(ctx context.Context, limit int) ([]*driver.Message, error) {
	if ok, err := s.prepare(ctx); !ok || err != nil {
		return nil, s.interrupted(err)
	}
	if msgs := s.collect(limit); len(msgs) > 0 {
		return msgs, nil
	}
	if s.interesting() {
		return nil, nil
	}
	if err := s.pull(ctx, limit); err != nil {
		return nil, s.interrupted(err)
	}
	s.wait(ctx)
	return nil, nil
}

// prepare deals with what happened; it is false while there is more to do before
// anything is handed out.
func (s *source) prepare(ctx context.Context) (bool, error) {
	if losses := s.d.link.losses.Load(); losses != s.losses {
		s.losses, s.upset = losses, true
	}
	if s.upset || s.gone {
		s.renew(ctx)
	}
	if s.gone {
		s.gone = false
		return false, s.recreate(ctx)
	}
	if s.shard < 0 || s.taken && !s.disorder.Load() {
		return true, nil
	}
	err := s.take(ctx)
	return s.taken, err
}

// interesting reports that something happened which the next round deals with.
func (s *source) interesting() bool { return s.report != nil || s.dead != nil || s.upset || s.gone }

// interrupted lets Close and ctx explain an error that they caused.
func (s *source) interrupted(err error) error {
	if s.closed() {
		return nil // check says so
	}
	return err
}

func (s *source) closed() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// wait blocks until something happens, at most for a tick.
func (s *source) wait(ctx context.Context) {
	now := s.d.link.now()
	timer := time.NewTimer(s.tick)
	defer timer.Stop()
	select {
	case m := <-s.in.ch:
		s.accept(m)
	case <-timer.C:
		s.observe(time.Now())
		s.attend(ctx, now)
	case <-ctx.Done():
	case <-s.done:
	case <-now.changed:
	}
}

// attend looks after an idle source.
func (s *source) attend(ctx context.Context, link state) {
	if !link.connected {
		return
	}
	if s.in.silent(time.Now()) {
		s.upset = true
		s.report = errors.New("NATS does not answer pulls, not even with a heartbeat: pulling anew")
		return
	}
	if s.flowed && time.Since(s.floorAt) > floorEvery {
		s.floorAt, s.flowed = time.Now(), false
		if info, err := s.info(ctx); err == nil {
			s.floor = info.AckFloor.Stream
		}
	}
}

// observe notes that nothing was there at a moment. What arrives later was
// delivered after an earlier such moment: between the two, the client read
// whatever the connection held.
func (s *source) observe(now time.Time) {
	if now.Sub(s.empty) >= s.tick {
		s.seen, s.empty = s.empty, now
	}
}

// collect moves what is there into a batch.
func (s *source) collect(limit int) []*driver.Message {
	for len(s.ready) < limit {
		select {
		case m := <-s.in.ch:
			s.accept(m)
			continue
		default:
		}
		s.observe(time.Now())
		break
	}
	if len(s.ready) == 0 || s.dead != nil || s.upset || s.shard >= 0 && (!s.taken || s.disorder.Load()) {
		return nil
	}
	return s.hand(limit)
}

// hand gives deliveries to the engine, but for those that became stale here.
func (s *source) hand(limit int) []*driver.Message {
	now := time.Now()
	s.batch = s.batch[:0]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flowed = true
	if s.shard >= 0 && s.forgetLapsed(now) {
		return nil
	}
	n := 0
	for _, d := range s.ready {
		if len(s.batch) == limit {
			break
		}
		n++
		if !s.holds(d, now) {
			continue // if it is not settled, it comes again
		}
		d.queued = false
		s.batch = append(s.batch, &d.msg)
	}
	rest := copy(s.ready, s.ready[n:])
	clear(s.ready[rest:])
	s.ready = s.ready[:rest]
	return s.batch
}

// forgetLapsed drops what nobody renewed in time: the server will deliver it
// again, and what follows it has to wait for that. It needs the lock.
func (s *source) forgetLapsed(now time.Time) (some bool) {
	for _, d := range s.out {
		if !s.holds(d, now) {
			some = true
		}
	}
	return some
}

// accept takes in what came to the inbox.
func (s *source) accept(m *nats.Msg) {
	s.in.heard = time.Now()
	if !strings.HasPrefix(m.Reply, ackPrefix) {
		s.status(m)
		return
	}
	s.in.asked = max(s.in.asked-1, 0)
	d, err := s.newDelivery(m)
	if err != nil {
		s.report = err
		return
	}
	if s.pinned {
		s.notePin(m)
	}
	if s.shard >= 0 {
		s.follows(d)
	}
	d.deadline = s.seen.Add(s.lease)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known(d) {
		return
	}
	d.queued = true
	s.out[d.seq] = d
	s.ready = append(s.ready, d)
}

// known recognises a redelivery of what is here: a server that was killed forgets
// deliveries of its last moments. The delivery goes on under its new name.
func (s *source) known(d *delivery) bool {
	delete(s.delayed, d.seq)
	old := s.out[d.seq]
	if old == nil || !s.holds(old, time.Now()) {
		return false // an old token is stale from now on
	}
	old.reply, old.deadline, old.recalled = d.reply, d.deadline, true
	return true
}
