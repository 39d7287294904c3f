package transport

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/transport/driver"
)

const (
	// grace is how long a cancelled handler may take to return.
	grace = 5 * time.Second
	// closeTimeout bounds what is said to the broker while leaving.
	closeTimeout = 10 * time.Second
)

// Subscribe consumes topic as a group: it calls handle for each delivery until
// ctx ends, then drains and returns. Draining stops fetching, hands back what has
// not started, lets running handlers finish for the drain timeout, cancels what
// is left, settles and leaves the group.
//
// It returns nil after a clean drain, [ErrForced] if handlers had to be
// cancelled, and at once an error for what waiting cannot cure: options that the
// transport refuses, names that the broker refuses, a topic that is required and
// missing, rights that are missing. A broker that does not answer is no such error: Subscribe tries again
// for ever, and says so in [Transport.Health] and the log.
//
// Delivery is at least once: a message comes again when its lease is lost, or
// when this process dies before it is settled.
func (t *Transport) Subscribe(ctx context.Context, topic string, handle Handler, o *SubscribeOptions) error {
	options, err := o.withDefaults(topic, t.caps)
	if err == nil {
		err = t.refused
	}
	if err != nil {
		return fmt.Errorf("subscribe to %q on transport %q: %w", topic, t.Name(), err)
	}
	s := newSubscription(t, topic, handle, options)
	s.base, s.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	defer s.cancel(nil)
	if err := t.add(s); err != nil {
		return err
	}
	defer t.remove(s)
	if err := s.run(ctx); err != nil {
		return fmt.Errorf("subscribe to %q on transport %q: %w", topic, t.Name(), err)
	}
	return nil
}

// Join makes sure that the group of a subscription exists before anybody
// consumes, where the broker forgets a message once every group that it knows
// has settled it. Elsewhere, and for an ephemeral group, it does nothing. Programs with several groups on one
// topic call it for each of them before the first Subscribe.
func (t *Transport) Join(ctx context.Context, topic string, o *SubscribeOptions) error {
	if !t.caps.InProcess || o != nil && o.Ephemeral {
		return nil
	}
	options, err := o.withDefaults(topic, t.caps)
	if err != nil {
		return fmt.Errorf("join %q on transport %q: %w", topic, t.Name(), err)
	}
	src, err := t.driver.Subscribe(ctx, driver.Subscription{
		Topic: t.options.Prefix + topic, Group: t.options.Prefix + options.Group,
		Start: options.Start, Window: options.Window, Lease: options.Lease,
	})
	if err != nil {
		return fmt.Errorf("join %q on transport %q: %w", topic, t.Name(), err)
	}
	if err := src.Close(ctx); err != nil {
		return fmt.Errorf("join %q on transport %q: %w", topic, t.Name(), err)
	}
	return nil
}

func (s *subscription) run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(s.base, stop)() // an abort
	keeping, stopKeeping := context.WithCancel(context.WithoutCancel(ctx))
	defer stopKeeping()

	if s.o.Order != OrderNone && !s.t.caps.OwnsShards {
		var err error
		if s.owner, err = newOwner(s); err != nil {
			return err
		}
	}
	if s.owner != nil {
		if err := s.owner.join(ctx); isFinal(err) {
			return err
		}
		s.group.Go(func() { s.owner.run(ctx) })
	} else if err := s.begin(ctx); err != nil {
		return err
	}
	s.group.Go(func() { s.keep(keeping) })

	<-ctx.Done()
	s.drain()
	stopKeeping()
	s.group.Wait()
	if s.owner != nil {
		s.owner.leave()
	}
	return s.leave()
}

// begin opens the one source of a subscription whose shards have no owners here.
// What may pass is tried again in the background.
func (s *subscription) begin(ctx context.Context) error {
	src := s.newSource(ctx, -1)
	err := src.open(ctx)
	switch {
	case err == nil:
		src.launch()
	case isFinal(err):
		return err
	default:
		s.waiting(err.Error())
		s.group.Go(func() { s.reopen(src) })
	}
	return nil
}

// isFinal reports whether waiting cannot cure a failure to subscribe.
func isFinal(err error) bool {
	var coded *envelope.Error
	return errors.Is(err, driver.ErrNotFound) || errors.Is(err, driver.ErrDenied) || errors.Is(err, driver.ErrName) ||
		errors.Is(err, driver.ErrClosed) || errors.As(err, &coded)
}

// reopen subscribes until it works or the source is told to stop.
func (s *subscription) reopen(src *source) {
	for retry := (backoff{}); retry.wait(src.ctx.Done()); {
		err := src.open(src.ctx)
		if err == nil {
			src.launch()
			return
		}
		s.waiting(err.Error())
	}
}

func (s *subscription) waiting(reason string) {
	s.mu.Lock()
	defer s.unlock()
	s.setState(Waiting, reason)
}

// replaceSource gives up a source that broke or lost its shard, with all that it
// has in flight. The owner takes the shard again if it can; a source of all shards
// is opened anew.
func (s *subscription) replaceSource(src *source, reason error) {
	s.mu.Lock()
	first := s.giveUp(src, reason)
	s.unlock()
	if first {
		s.reopenAfter(src)
	}
}

// giveUp loses all that a source has in flight. It reports whether the source has
// to be closed for it: not where that is under way.
func (s *subscription) giveUp(src *source, reason error) bool {
	first := !src.closing
	src.closing = true
	if first {
		s.setState(Waiting, reason.Error())
	}
	for _, t := range src.tasks.all() {
		s.lose(t, reason)
	}
	s.wakeOne()
	return first
}

// reopenAfter closes a source that was given up and sees to it that what it read
// is read again.
func (s *subscription) reopenAfter(src *source) {
	s.close(src)
	if !pause(s.breakage(src), src.parent.Done()) {
		return
	}
	if src.shard >= 0 {
		signal(s.owner.again)
		return
	}
	s.reopen(s.newSource(src.parent, -1))
}

// breakage is how long to wait before a source is opened again: long for one
// that never lives.
func (s *subscription) breakage(src *source) time.Duration {
	s.mu.Lock()
	defer s.unlock()
	if time.Since(src.opened) > 10*time.Second {
		s.broken = backoff{}
	}
	return s.broken.next()
}

// release gives up a source in good order: its handlers finish, up to the drain
// timeout, and what they did is settled.
func (s *subscription) release(src *source) {
	s.mu.Lock()
	if src.closing {
		s.unlock()
		return
	}
	src.closing = true
	s.handBackQueued(src, ofAll)
	s.unlock()
	src.stop()

	idle := func() bool { return src.running == 0 }
	if !s.awaitFor(s.o.DrainTimeout, func() bool { return s.aborted || idle() }) || !s.awaitFor(0, idle) {
		s.cancelRunning(src, ofAll)
		s.awaitFor(grace, idle)
	}
	s.awaitFor(closeTimeout, func() bool { return len(src.pending) == 0 && !src.sending })
	s.close(src)
}

func (s *subscription) awaitFor(d time.Duration, cond func() bool) bool {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return s.await(ctx, cond)
}

func ofAll(*task) bool { return true }

func (s *subscription) cancelRunning(src *source, which func(*task) bool) {
	s.mu.Lock()
	defer s.unlock()
	s.forced = s.forced || s.draining
	for _, t := range src.tasks.all() {
		if t.state == running && which(t) {
			t.Cancel(ErrDraining)
		}
	}
}

// close leaves the group with a source whose handlers are done. Deliveries that
// are still there belong to handlers that do not return: they go back to the
// broker, and nothing of them counts any more.
func (s *subscription) close(src *source) {
	src.stop()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(src.ctx), closeTimeout)
	defer cancel()
	if err := src.driver.Close(ctx); err != nil {
		s.t.log.Warn("source not closed in order: what it holds comes again when its lease ends",
			"transport", s.t.Name(), "topic", s.topic, "group", s.o.Group, "error", err)
	}
	s.mu.Lock()
	src.closed = true
	src.noteVanished()
	for _, one := range src.pending {
		s.free(one.t)
		one.t.Cancel(nil)
	}
	src.pending = nil
	for _, t := range src.tasks.all() {
		s.lose(t, driver.ErrClosed)
	}
	s.sources = slices.DeleteFunc(s.sources, func(other *source) bool { return other == src })
	close(src.over)
	s.feedAll()
	s.wakeOne()
	s.notify()
	s.unlock()
	if src.lease != (driver.Lease{}) {
		s.owner.give(src.lease)
	}
}

// drain ends every source, also those that others have begun to release, and
// waits for handlers of sources that were lost.
func (s *subscription) drain() {
	s.mu.Lock()
	s.setState(Draining, "")
	s.draining = true
	sources := slices.Clone(s.sources)
	s.unlock()
	var all sync.WaitGroup
	for _, src := range sources {
		all.Go(func() {
			s.release(src)
			<-src.over
		})
	}
	all.Wait()
	s.awaitFor(grace, func() bool { return s.forced || s.running == 0 })
	s.stopWorkers()
}

// leave joins the workers. Handlers that do not return are left behind.
func (s *subscription) leave() error {
	s.awaitFor(grace, func() bool { return s.workers <= s.running })
	s.mu.Lock()
	defer s.unlock()
	if s.workers > 0 {
		return fmt.Errorf("%w: %d of them do not return", ErrForced, s.workers)
	}
	if s.forced {
		return ErrForced
	}
	return nil
}

// abort ends the subscription without waiting for handlers.
func (s *subscription) abort(cause error) {
	s.mu.Lock()
	defer s.unlock()
	if s.aborted {
		return
	}
	s.aborted = true
	s.forced = s.forced || s.running > 0
	s.cancel(cause)
	s.notify()
}
