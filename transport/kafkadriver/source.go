package kafkadriver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/anywire/anywire/transport/driver"
)

// inboxShards is where the shards of a source's inbox begin, beyond those of its
// topic.
const inboxShards = 1 << 20

// source is what the engine reads of a group on a topic, and on the group's inbox.
// A member, which it may share with sources on other topics, does the work; all
// that changes is under the member's lock.
type source struct {
	d        *Driver
	m        *member
	sub      driver.Subscription
	starts   map[int32]int64 // where partitions begin that are new to the group; nil: with the oldest
	patience time.Duration   // how old a heartbeat may be that Extend builds on
	wakes    chan struct{}   // there is something to receive; one signal is kept
	batch    []*driver.Message
	handed   []handed
	inbox    string // "": none
	parts    []*partition
	turn     int    // whose turn is next
	trouble  error  // to be told once
	ageing   error  // what the retention is about to take; nil: nothing
	vanished uint64 // messages that the broker deleted before the group had settled them
	closed   bool
	finished chan struct{} // closed when Close is done
	closeErr error
	holding  map[int]struct{}
}

// handed is a delivery with what its message needs.
type handed struct {
	token   *delivery
	record  *kgo.Record
	shard   int
	revoked <-chan struct{}
}

var (
	_ driver.Source      = (*source)(nil)
	_ driver.ShardPauser = (*source)(nil)
	_ driver.Teller      = (*source)(nil)
	_ driver.LossTeller  = (*source)(nil)
)

// Subscribe joins the group on the topic, and on the group's inbox where
// deliveries may be delayed. Sources of one group on different topics share a
// member of it.
func (d *Driver) Subscribe(ctx context.Context, sub driver.Subscription) (driver.Source, error) {
	if err := d.usable(); err != nil {
		return nil, err
	}
	s, t, err := d.prepare(ctx, sub)
	if err != nil {
		return nil, fmt.Errorf("subscribe group %q to topic %q: %w", sub.Group, sub.Topic, err)
	}
	if err := d.join(s, t); err != nil {
		return nil, err
	}
	if sub.Group != d.ladder.group() {
		d.ladder.start() //nolint:contextcheck // forwarding outlives the call
	}
	return s, nil
}

// prepare does what needs the broker's answers.
func (d *Driver) prepare(ctx context.Context, sub driver.Subscription) (*source, terms, error) {
	if len(sub.Shards) > 0 {
		return nil, terms{}, fmt.Errorf("shards %v cannot be chosen: the group assigns them", sub.Shards)
	}
	s := &source{
		d: d, sub: sub, inbox: inboxOf(sub),
		wakes: make(chan struct{}, 1), finished: make(chan struct{}),
	}
	if err := validGroup(sub); err != nil {
		return nil, terms{}, err
	}
	if err := d.ensure(ctx, sub.Topic); err != nil {
		return nil, terms{}, err
	}
	if sub.Ephemeral {
		s.inbox = "" // made when it is needed
	}
	if err := d.ensureInbox(ctx, s); err != nil {
		return nil, terms{}, err
	}
	t, err := d.terms(ctx, sub)
	if err != nil {
		return nil, t, err
	}
	s.patience = t.patience(sub.Lease)
	s.starts, err = d.starts(ctx, sub)
	return s, t, err
}

// ensureInbox makes the inbox. A group whose name differs from another's in "." and
// "_" only has none, since Kafka keeps no two topics like that: it can delay nothing.
func (d *Driver) ensureInbox(ctx context.Context, s *source) error {
	if s.inbox == "" {
		return nil
	}
	err := d.ensure(ctx, s.inbox)
	if errors.Is(err, kerr.InvalidTopicException) {
		d.log.Warn("a group has no inbox: it can delay no message", "group", s.sub.Group, "topic", s.inbox, "error", err)
		s.inbox, err = "", nil
	}
	if err != nil {
		return fmt.Errorf("the inbox, where delayed messages come back: %w", err)
	}
	return nil
}

// patience is how old the last heartbeat may be for a lease to begin now that ends
// before the group gives the partitions to others.
func (t terms) patience(lease time.Duration) time.Duration {
	if p := t.session - lease; p >= t.beat {
		return p
	}
	return max(t.session-t.beat, t.beat) // Subscribe has warned
}

func (s *source) topics() []string {
	if s.inbox == "" {
		return []string{s.sub.Topic}
	}
	return []string{s.sub.Topic, s.inbox}
}

func (s *source) shardOf(at place) int {
	if at.topic == s.sub.Topic {
		return int(at.number)
	}
	return inboxShards + int(at.number)
}

// startOf is where a partition that is new to the group begins: -1 for the oldest.
func (s *source) startOf(at place) int64 {
	if first, known := s.starts[at.number]; known && at.topic == s.sub.Topic {
		return first
	}
	return -1
}

// span is how far above an unsettled message others are delivered: beyond, the
// partition waits for it.
func (s *source) span() int64 {
	return min(max(8*int64(s.sub.Window), wordBits), int64(mostSpan))
}

// lowMark is how many records of a partition should wait for delivery at least.
func (s *source) lowMark() int { return min(max(2*s.sub.Window, 1024), 8192) }

func (s *source) wake() {
	select {
	case s.wakes <- struct{}{}:
	default:
	}
}

// report tells the engine of trouble, by the next Receive that has nothing else.
func (s *source) report(err error) {
	s.trouble = err
	s.wake()
}

// Receive hands out what was fetched; partitions take turns.
func (s *source) Receive(ctx context.Context, limit int) ([]*driver.Message, error) {
	if limit < 1 {
		return nil, fmt.Errorf("receive at most %d messages: use at least 1", limit)
	}
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		err := s.collect(limit)
		if err != nil {
			return nil, err
		}
		if len(s.handed) > 0 {
			return s.messages(), nil
		}
		select {
		case <-s.wakes:
		case <-ctx.Done():
		}
	}
}

// collect takes deliveries from the partitions in turn.
func (s *source) collect(limit int) error {
	m := s.m
	m.mu.Lock()
	if err := s.ended(); err != nil {
		m.mu.Unlock()
		return err
	}
	s.take(limit)
	s.noteStuck()
	var err error
	if len(s.handed) == 0 {
		err, s.trouble = s.trouble, nil
		if err == nil {
			err = m.away()
		}
	}
	starved, owed := false, false
	for _, p := range s.parts {
		starved = starved || p.paused && p.queued() < s.lowMark()
		owed = owed || p.marks != p.confirmed
	}
	if owed && len(s.handed) == 0 { // ends of transactions: nobody settles them
		m.joinRound()
	}
	m.mu.Unlock()
	if starved {
		m.regulate()
	}
	signal(m.hungry)
	return err
}

// ended is the error of a source that delivers no more.
func (s *source) ended() error {
	if s.closed {
		return fmt.Errorf("source of group %q on topic %q: %w", s.sub.Group, s.sub.Topic, driver.ErrClosed)
	}
	return s.m.dead
}

// take hands out: each partition that has something gives the same part, and those
// that have more give the rest.
func (s *source) take(limit int) {
	clear(s.handed)
	s.handed = s.handed[:0]
	var ready []*partition
	most := 0
	for i := range s.parts {
		if p := s.parts[(s.turn+i)%len(s.parts)]; p.available() {
			ready = append(ready, p)
			most += len(p.back) + p.queued()
		}
	}
	if len(ready) == 0 {
		return
	}
	s.turn++
	tokens, now := make([]delivery, min(limit, most)), time.Now()
	for len(ready) > 0 && len(s.handed) < limit {
		part := max(1, (limit-len(s.handed))/len(ready))
		ready = slices.DeleteFunc(ready, func(p *partition) bool {
			for range min(part, limit-len(s.handed)) {
				r := p.next()
				if r == nil {
					return true
				}
				token := &tokens[len(s.handed)]
				p.handOut(token, r, now)
				s.handed = append(s.handed, handed{token, r, p.shard, p.revoked})
			}
			return false
		})
	}
}

// noteStuck logs partitions that stand still since an old message of them is not
// settled, once for each message.
func (s *source) noteStuck() {
	for _, p := range s.parts {
		if p.standsStill() && p.named != p.offsets.base {
			p.named = p.offsets.base
			s.d.log.Warn("a partition stands still: an old message is not settled while too many after it are",
				"group", s.sub.Group, "topic", p.topic, "partition", p.number, "offset", p.offsets.base, "ahead", p.offsets.head-p.offsets.base)
		}
	}
}

// Trouble names a partition that stands still, else the topic's retention, if it
// is about to take what the group has not handled.
func (s *source) Trouble() error {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	for _, p := range s.parts {
		if p.standsStill() {
			return fmt.Errorf("partition %d of topic %q stands still: offset %d is not settled, and the group may go %d offsets beyond",
				p.number, p.topic, p.offsets.base, p.offsets.head-p.offsets.base)
		}
	}
	return s.ageing
}

// Vanished counts messages that the broker deleted before the group had read them.
func (s *source) Vanished() uint64 {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	return s.vanished
}

// messages makes them, without the lock.
func (s *source) messages() []*driver.Message {
	clear(s.batch)
	s.batch = s.batch[:0]
	for _, h := range s.handed {
		msg := toMessage(h.record)
		msg.Token, msg.Shard, msg.Revoked = h.token, h.shard, h.revoked
		s.batch = append(s.batch, msg)
	}
	clear(s.handed)
	return s.batch
}

// PauseShards delivers nothing of these shards.
func (s *source) PauseShards(shards []int) {
	s.m.mu.Lock()
	s.holding = map[int]struct{}{}
	for _, n := range shards {
		s.holding[n] = struct{}{}
	}
	for _, p := range s.parts {
		_, p.held = s.holding[p.shard]
	}
	s.m.mu.Unlock()
	s.wake()
	signal(s.m.hungry)
}

// Close takes the source out of its member; the last one leaves the group.
func (s *source) Close(ctx context.Context) error {
	s.m.mu.Lock()
	again := s.closed
	s.closed = true
	s.m.mu.Unlock()
	if again {
		select {
		case <-s.finished:
			return s.closeErr
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.wake()
	s.closeErr = s.m.detach(ctx, s)
	if s.sub.Ephemeral {
		s.d.forgetGroup(ctx, s)
	}
	close(s.finished)
	return s.closeErr
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
