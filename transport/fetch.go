package transport

import (
	"context"
	"errors"
	"sync"
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
	pauser     driver.ShardPauser // the same; nil: it cannot pause shards
	opened     time.Time
	tasks      list
	running    int // handlers at work
	pending    []settlement
	sending    bool // the settler is at the broker
	hungry     bool // waits for slots
	asked      int  // slots that a Receive may fill
	short      bool // the last Receive brought less than asked: the rest may be on its way
	askedAt    time.Time
	recall     context.CancelFunc // ends that Receive, so that others get slots
	failing    bool               // the last Receive failed
	closing    bool               // nothing more is fetched or started
	closed     bool               // the driver's source is gone: outcomes are dropped
	vanished   uint64             // what its driver told of, as far as it was passed on
	fullShards map[int]int
	paused     map[int]int
	revocation map[<-chan struct{}]struct{}

	pausing sync.Mutex      // one after the other tells what to pause
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
		Inbox: s.t.options.Prefix + s.o.Inbox,
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
	src.driver, src.opened = opened, time.Now()
	src.pauser, _ = opened.(driver.ShardPauser)
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
		ctx, n := src.reserve()
		if n == 0 {
			return
		}
		msgs, err := src.driver.Receive(ctx, n)
		now := time.Now()
		recalled := ctx.Err() != nil
		if err == nil {
			retry = backoff{}
			src.accept(n, msgs, now)
			continue
		}
		src.accept(n, nil, now)
		if src.ctx.Err() != nil {
			return
		}
		if (!recalled || isOver(err)) && !src.recover(err, &retry) {
			return
		}
	}
}

// isOver reports whether a source can receive no more.
func isOver(err error) bool {
	return errors.Is(err, driver.ErrStale) || errors.Is(err, driver.ErrClosed)
}

// recover decides what follows a failed Receive: false ends the fetching.
func (src *source) recover(err error, retry *backoff) bool {
	s := src.sub
	if isOver(err) {
		s.group.Go(func() { s.replaceSource(src, err) })
		return false
	}
	s.mu.Lock()
	src.failing = true
	s.setState(Waiting, err.Error())
	s.unlock()
	return retry.wait(src.ctx.Done())
}

// reserve blocks until slots are free and takes them, for a Receive with the
// context that it returns; 0 means stop.
func (src *source) reserve() (context.Context, int) {
	s := src.sub
	for {
		src.applyPauses()
		s.mu.Lock()
		if src.closing || src.ctx.Err() != nil {
			s.unlock()
			return nil, 0
		}
		if n := src.allowance(); n > 0 {
			ctx := src.ask(n)
			s.unlock()
			return ctx, n
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

// ask takes n slots for a Receive. One of several sources can be asked to give
// them back.
func (src *source) ask(n int) context.Context {
	src.sub.used += n
	src.asked, src.askedAt = n, time.Now()
	ctx := src.ctx
	if src.sub.owner != nil {
		ctx, src.recall = context.WithCancel(ctx)
	}
	return ctx
}

// allowance is how many messages the source may fetch now. Several sources share
// the window: each asks for a part, so that an idle shard does not hold the slots
// of a busy one, and a busy one comes back for more.
func (src *source) allowance() int {
	s := src.sub
	if src.pauser == nil && len(src.fullShards) > 0 {
		return 0
	}
	window := s.window()
	free := window - s.used
	if free <= 0 {
		s.recallSlots()
		return 0
	}
	if !src.short && free*8 < window && s.ready.size > s.o.Concurrency/2 {
		return 0 // workers have enough to do: wait for a worthwhile fetch
	}
	return max(0, min(free, s.share(), s.o.Window-src.tasks.size))
}

// window is the bound of the options, and room for every source to have one
// message while it asks for the next.
func (s *subscription) window() int { return max(s.o.Window, 2*(len(s.sources)-1)) }

// share is the most that one source asks for.
func (s *subscription) share() int {
	if n := len(s.sources); n > 1 {
		return min(max(1, s.window()/(2*n)), maxFetch)
	}
	return min(s.o.Window, maxFetch)
}

// recallSlots wants back what idle sources asked for when they were fewer.
func (s *subscription) recallSlots() {
	for _, src := range s.sources {
		if src.asked > s.share() && src.recall != nil {
			src.recall()
		}
	}
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
	src.asked, src.short = 0, len(tasks) < asked
	if src.recall != nil {
		src.recall()
	}
	if len(tasks) > 0 {
		src.failing = false
		if s.state == Waiting {
			s.setState(Running, "")
		}
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
	src.sub.group.Go(func() {
		select {
		case <-revoked:
			src.handOver(revoked)
		case <-src.over:
		}
	})
}

// handOver settles what is in flight of a shard that moves away: what has not
// started goes back, and what runs has the time that a drain gives.
func (src *source) handOver(revoked <-chan struct{}) {
	s := src.sub
	moves := func(t *task) bool { return t.Raw.Revoked == revoked }
	s.mu.Lock()
	delete(src.revocation, revoked)
	s.handBackQueued(src, moves)
	s.unlock()
	idle := func() bool { return src.closed || !src.tasks.anyRunning(moves) }
	if s.awaitFor(s.o.DrainTimeout, idle) {
		return
	}
	s.cancelRunning(src, moves)
	if s.awaitFor(grace, idle) {
		return
	}
	s.mu.Lock()
	defer s.unlock()
	for _, t := range src.tasks.all() {
		if moves(t) && t.state == running {
			s.lose(t, errShardLost)
		}
	}
}

// handBackQueued gives back what has not started, or waits for another try.
func (s *subscription) handBackQueued(src *source, which func(*task) bool) {
	for _, t := range src.tasks.all() {
		if !which(t) {
			continue
		}
		switch t.state {
		case waiting:
			s.t.waits.stop(t.wait)
			s.end(t, HandBack())
		case queued:
			s.end(t, HandBack())
		case running, settling, gone:
		}
	}
	s.wakeOne()
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
