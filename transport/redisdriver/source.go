package redisdriver

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anywire/anywire/transport/driver"
)

// parkAfter is how long a source keeps what came while nobody received: then it is
// given back, so that other members get it.
const parkAfter = 100 * time.Millisecond

// source is one member of a group. Its readers fetch when a Receive waits; its
// janitor gives signs of life.
type source struct {
	d       *Driver
	sub     driver.Subscription
	shards  int // of the topic
	me      string
	mine    string // of this source alone, whatever its name
	token   string // of an ordered shard's fence; empty: not ordered
	streams []*stream
	readers []*reader

	done    chan struct{}   // closed by Close
	life    context.Context //nolint:containedctx // the source is one run
	end     context.CancelFunc
	all     sync.WaitGroup
	closing sync.Once
	leaving error // what Close returns

	recv  sync.Mutex
	batch []*driver.Message
	wake  chan struct{} // something is ready; one signal is kept

	mu     sync.Mutex
	want   int // how many a waiting Receive takes; 0: none waits
	ready  []*delivery
	report error // to be returned once
	dead   error // to be returned for ever

	rival    atomic.Bool   // another process has the same stable name
	vanished atomic.Uint64 // entries that were trimmed before they were settled, or read
}

var (
	_ driver.Source     = (*source)(nil)
	_ driver.LossTeller = (*source)(nil)
	_ driver.Teller     = (*source)(nil)
)

// Subscribe joins a group, and makes it where it is new. A group that has been
// there before and is missing was deleted by somebody: it is made again where it
// had settled everything, and that is an error in the log.
func (d *Driver) Subscribe(ctx context.Context, sub driver.Subscription) (driver.Source, error) {
	s, err := d.subscribe(ctx, sub)
	if err != nil {
		return nil, fmt.Errorf("group %q of topic %q: %w", sub.Group, sub.Topic, err)
	}
	return s, nil
}

func (d *Driver) subscribe(ctx context.Context, sub driver.Subscription) (*source, error) {
	if err := d.usable(); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, ended(ctx)
	}
	meta, err := d.ensure(ctx, sub.Topic)
	if err != nil {
		return nil, err
	}
	s, err := d.newSource(sub, max(meta.shards, 1))
	if err != nil {
		return nil, err
	}
	if err := s.takeName(); err != nil {
		return nil, err
	}
	for _, st := range s.streams {
		if err := s.join(ctx, st, ""); err != nil {
			s.dropName()
			return nil, wrap(err)
		}
	}
	s.start()
	return s, nil
}

func (d *Driver) newSource(sub driver.Subscription, shards int) (*source, error) {
	if err := checkSubscription(sub, shards); err != nil {
		return nil, err
	}
	s := &source{
		d: d, sub: sub, shards: shards, me: consumerName(d.o.Consumer, sub.Lease),
		mine: rand.Text(), done: make(chan struct{}), wake: make(chan struct{}, 1),
	}
	if sub.Ordered {
		s.me, s.token = soleOwner, rand.Text()
		s.streams = []*stream{newStream(sub.Topic, sub.Group, sub.Shards[0], shards)}
	} else {
		for shard := range shards {
			s.streams = append(s.streams, newStream(sub.Topic, sub.Group, shard, shards))
		}
	}
	s.readers = s.newReaders()
	return s, nil
}

func checkSubscription(sub driver.Subscription, shards int) error {
	switch {
	case sub.Ordered && len(sub.Shards) != 1:
		return fmt.Errorf("an ordered subscription to shards %v: it reads exactly one", sub.Shards)
	case !sub.Ordered && sub.Shards != nil:
		return fmt.Errorf("an unordered subscription to shards %v: it reads all of them", sub.Shards)
	case sub.Ordered && (sub.Shards[0] < 0 || sub.Shards[0] >= shards):
		return fmt.Errorf("shard %d: the topic has %d", sub.Shards[0], shards)
	case sub.Lease < time.Millisecond:
		return fmt.Errorf("lease %v: use at least 1ms", sub.Lease)
	}
	return checkName("group", sub.Group)
}

// consumerName is the one that was given; else it tells the process, and is different
// for each source. It ends with the lease, which others heed, whatever theirs is:
// members of a group may differ while a new configuration is rolled out.
func consumerName(given string, lease time.Duration) string {
	if given == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "unknown"
		}
		given = fmt.Sprintf("%s-%d-%s", host, os.Getpid(), strings.ToLower(rand.Text()[:10]))
	}
	return fmt.Sprintf("%s-%dms", given, lease.Milliseconds())
}

// start begins the readers and the janitor; Close ends them.
func (s *source) start() {
	s.life, s.end = context.WithCancel(context.Background())
	for _, r := range s.readers {
		s.all.Go(func() { s.read(r) })
	}
	s.all.Go(s.tidy)
}

// Receive returns what is ready, or asks the readers for at most limit messages.
func (s *source) Receive(ctx context.Context, limit int) ([]*driver.Message, error) {
	if limit < 1 {
		return nil, fmt.Errorf("receive at most %d messages: use at least 1", limit)
	}
	s.recv.Lock()
	defer s.recv.Unlock()
	defer s.unwant()
	for {
		msgs, err := s.next(ctx, limit)
		if len(msgs) > 0 || err != nil {
			return msgs, err
		}
		for _, r := range s.readers {
			signal(r.kick)
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
		case <-s.done:
		}
	}
}

// next hands out what is ready; without anything it leaves the wish for it.
func (s *source) next(ctx context.Context, limit int) ([]*driver.Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed():
		return nil, s.errClosed()
	case s.dead != nil:
		return nil, s.dead
	case ctx.Err() != nil:
		return nil, ended(ctx)
	}
	if err := s.report; err != nil {
		s.report = nil
		return nil, err
	}
	if len(s.ready) == 0 {
		s.want = limit
		return nil, nil
	}
	clear(s.batch)
	s.batch = s.batch[:0]
	n := min(limit, len(s.ready))
	for _, d := range s.ready[:n] {
		s.batch = append(s.batch, d.msg)
	}
	rest := copy(s.ready, s.ready[n:])
	clear(s.ready[rest:])
	s.ready = s.ready[:rest]
	return s.batch, nil
}

func (s *source) unwant() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.want = 0
}

func (s *source) closed() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

func (s *source) errClosed() error {
	return fmt.Errorf("group %q of topic %q: %w", s.sub.Group, s.sub.Topic, driver.ErrClosed)
}

// fail tells the next Receive; what is final stays.
func (s *source) fail(err error) {
	if s.closed() {
		return
	}
	err = fmt.Errorf("group %q of topic %q: %w", s.sub.Group, s.sub.Topic, err)
	s.mu.Lock()
	defer s.mu.Unlock()
	if errors.Is(err, driver.ErrStale) {
		s.dead = err
	} else {
		s.report = err
	}
	signal(s.wake)
}

// forget drops deliveries that ended, unless they came again meanwhile.
func (s *source) forget(list ...*delivery) {
	for _, d := range list {
		if d.stream.out[d.id] == d {
			delete(d.stream.out, d.id)
		}
	}
}

// Vanished counts entries that were trimmed or deleted while they were pending, or
// before the group had read them.
func (s *source) Vanished() uint64 { return s.vanished.Load() }

// trimmed counts entries that the stream dropped before they were settled.
func (s *source) trimmed(st *stream, ids ...string) {
	if len(ids) == 0 {
		return
	}
	total := s.vanished.Add(uint64(len(ids)))
	s.d.log.Error("entries were trimmed before they were settled: these messages are lost; trim less, or retain longer",
		"topic", s.sub.Topic, "group", s.sub.Group, "stream", st.name, "ids", ids, "lost", total)
	s.fail(fmt.Errorf("%d entries of stream %q, the first %s, were trimmed before they were settled: they are lost",
		len(ids), st.name, ids[0]))
}

// missed counts entries that were trimmed before the group had read them.
func (s *source) missed(st *stream, n int64) {
	if n <= 0 {
		return
	}
	total := s.vanished.Add(uint64(n))
	s.d.log.Error("entries were trimmed before this group read them: these messages are lost; trim less, or retain longer",
		"topic", s.sub.Topic, "group", s.sub.Group, "stream", st.name, "entries", n, "lost", total)
	s.fail(fmt.Errorf("%d entries of stream %q were trimmed before the group read them: they are lost", n, st.name))
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
