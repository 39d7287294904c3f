package transport

import (
	"context"
	"errors"
	"time"

	"github.com/anywire/anywire/transport/driver"
)

// source is one driver source with what it has in flight.
type source struct {
	sub   *subscription
	shard int // the one it reads; -1: all
	lease driver.Lease

	// Under the subscription's lock.
	driver     driver.Source
	tasks      list
	running    int // handlers at work
	pending    []settlement
	sending    bool // the settler is at the broker
	hungry     bool // waits for slots
	closing    bool // nothing more is fetched or started
	closed     bool // the driver's source is gone: outcomes are dropped
	fullShards map[int]int
	paused     map[int]int
	revocation map[<-chan struct{}]struct{}

	feed    chan struct{}   // there may be slots; one signal is kept
	settler chan struct{}   // there are settlements; one signal is kept
	over    chan struct{}   // closed when the source is closed
	parent  context.Context //nolint:containedctx // the source is one run
	ctx     context.Context //nolint:containedctx // ends when fetching must
	stop    context.CancelFunc
}

// maxFetch bounds one Receive, so that a large window is filled in pieces that
// workers can start on.
const maxFetch = 1024

func (s *subscription) newSource(ctx context.Context, shard int) *source {
	src := &source{
		sub: s, shard: shard, parent: ctx,
		fullShards: map[int]int{}, revocation: map[<-chan struct{}]struct{}{},
		feed: make(chan struct{}, 1), settler: make(chan struct{}, 1), over: make(chan struct{}),
	}
	src.ctx, src.stop = context.WithCancel(ctx)
	return src
}

// open subscribes at the broker.
func (src *source) open(ctx context.Context) error {
	s := src.sub
	sub := driver.Subscription{
		Topic: s.t.options.Prefix + s.topic, Group: s.t.options.Prefix + s.o.Group,
		Start: s.o.Start, Ordered: s.o.Order != OrderNone,
		Window: s.o.Window, Lease: s.o.Lease, Drain: s.o.DrainTimeout + grace + closeTimeout, Ephemeral: s.o.Ephemeral,
	}
	if src.shard >= 0 {
		sub.Shards = []int{src.shard}
	}
	opened, err := s.t.driver.Subscribe(ctx, sub)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.unlock()
	src.driver = opened
	return nil
}

// launch starts the goroutines of an opened source, unless the subscription has
// begun to drain meanwhile.
func (src *source) launch() {
	s := src.sub
	s.mu.Lock()
	if s.draining {
		src.closing = true
		s.unlock()
		s.close(src)
		return
	}
	s.sources = append(s.sources, src)
	s.setState(Running, "")
	s.unlock()
	s.group.Go(src.fetch)
	s.group.Go(src.settleLoop)
}

// fetch fills free slots until the source is told to stop.
func (src *source) fetch() {
	retry := backoff{}
	for {
		n := src.reserve()
		if n == 0 {
			return
		}
		msgs, err := src.driver.Receive(src.ctx, n)
		now := time.Now()
		if err == nil {
			retry = backoff{}
			src.accept(n, msgs, now)
			continue
		}
		src.accept(n, nil, now)
		if src.ctx.Err() != nil {
			return
		}
		if !src.recover(err, &retry) {
			return
		}
	}
}

// recover decides what follows a failed Receive: false ends the fetching.
func (src *source) recover(err error, retry *backoff) bool {
	s := src.sub
	if errors.Is(err, driver.ErrStale) || errors.Is(err, driver.ErrClosed) {
		s.group.Go(func() { s.replaceSource(src, err) })
		return false
	}
	s.mu.Lock()
	s.setState(Waiting, err.Error())
	s.unlock()
	return retry.wait(src.ctx.Done())
}

// reserve blocks until slots are free and takes them; 0 means stop.
func (src *source) reserve() int {
	s := src.sub
	for {
		s.mu.Lock()
		if src.closing || src.ctx.Err() != nil {
			s.unlock()
			return 0
		}
		mayFetch, pause := src.pauses()
		n := 0
		if mayFetch {
			n = src.allowance()
		}
		if n > 0 {
			s.used += n
			s.unlock()
			if pause != nil {
				pause()
			}
			return n
		}
		src.hungry = true
		s.hungry++
		s.unlock()
		select {
		case <-src.feed:
		case <-src.ctx.Done():
		}
		s.mu.Lock()
		src.hungry = false
		s.hungry--
		s.unlock()
	}
}

// allowance is how many messages the source may fetch now. Several sources share
// the window: each asks for a part, so that an idle shard does not hold the slots
// of a busy one, and a busy one comes back for more.
func (src *source) allowance() int {
	s := src.sub
	free := s.o.Window - s.used
	if free <= 0 {
		return 0
	}
	if free*8 < s.o.Window && s.ready.size > s.o.Concurrency/2 {
		return 0 // workers have enough to do: wait for a worthwhile fetch
	}
	n := min(free, maxFetch)
	if len(s.sources) > 1 {
		n = min(n, max(1, s.o.Window/(2*len(s.sources))))
	}
	return n
}

// feedAll wakes sources that wait, if there is something for them.
func (s *subscription) feedAll() {
	if s.hungry == 0 {
		return
	}
	for _, src := range s.sources {
		if src.hungry {
			signal(src.feed)
		}
	}
}

// accept admits what a Receive brought and gives back the slots it left free.
func (src *source) accept(asked int, msgs []*driver.Message, now time.Time) {
	s := src.sub
	tasks := newTasks(s.base, src, msgs, now)
	s.mu.Lock()
	defer s.unlock()
	s.used += len(tasks) - asked
	if len(tasks) > 0 && s.state == Waiting {
		s.setState(Running, "")
	}
	for _, t := range tasks {
		src.tasks.push(t)
		if src.closing || t.revoked() {
			s.settle(t, HandBack())
			continue
		}
		src.watch(t.Raw.Revoked)
		s.admit(t)
	}
	s.wakeOne()
	if len(tasks) < asked {
		s.feedAll()
	}
}

// watch hands back what has not started of a shard once it moves away.
func (src *source) watch(revoked <-chan struct{}) {
	if revoked == nil {
		return
	}
	if _, watched := src.revocation[revoked]; watched {
		return
	}
	src.revocation[revoked] = struct{}{}
	s := src.sub
	s.group.Go(func() {
		select {
		case <-revoked:
		case <-src.over:
		}
		s.mu.Lock()
		defer s.unlock()
		delete(src.revocation, revoked)
		s.handBackQueued(src, func(t *task) bool { return t.Raw.Revoked == revoked })
	})
}

// handBackQueued gives back what has not started, or waits for another try.
func (s *subscription) handBackQueued(src *source, which func(*task) bool) {
	for _, t := range src.tasks.all() {
		if !which(t) {
			continue
		}
		switch t.state {
		case waiting:
			s.t.waits.stop(&t.wait)
			s.end(t, HandBack())
		case queued:
			s.end(t, HandBack())
		case running, settling, gone:
		}
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
