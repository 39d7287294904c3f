package router

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
)

// readsInbox reports whether the router subscribes to the agent's inbox: where a
// driver delays by copies it reads the inbox itself, and where nobody can browse
// there are no redrives.
func (a *agent) readsInbox() bool {
	return a.Transport != nil && a.Subscription.Inbox != "" && a.caps.Browse && !a.caps.DelaysByCopy
}

// inboxOptions are the agent's, with little room: an inbox is empty most of the
// time, and what comes there shares the agent's slots.
func (a *agent) inboxOptions() *transport.SubscribeOptions {
	o := a.Subscription
	o.Window, o.LaneLimit, o.Start = max(16, 2*a.concurrency()), 0, driver.Start{}
	return &o
}

// subscribeBoth reads the topic and the inbox until ctx ends, and both have
// drained.
func (a *agent) subscribeBoth(ctx context.Context) error {
	if a.NoInbox != "" {
		a.warnOfNoInbox(ctx, a.NoInbox)
		return a.Transport.Subscribe(ctx, a.Topic, a.handle, &a.Subscription)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	handle := a.inTurn(ctx.Done())
	var inbox error
	var group sync.WaitGroup
	group.Go(func() {
		inbox = a.subscribeInbox(ctx, handle)
		if a.noInbox.Load() == nil {
			stop()
		}
	})
	err := a.Transport.Subscribe(ctx, a.Topic, handle, &a.Subscription)
	stop()
	group.Wait()
	return errors.Join(err, inbox)
}

// subscribeInbox reads the inbox. An agent that may not, or whose inbox nobody
// made where it must not make it itself, works without one.
func (a *agent) subscribeInbox(ctx context.Context, handle transport.Handler) error {
	err := a.Transport.Subscribe(ctx, a.Subscription.Inbox, handle, a.inboxOptions())
	if !errors.Is(err, driver.ErrDenied) && !errors.Is(err, driver.ErrNotFound) {
		return err
	}
	reason := err.Error()
	a.noInbox.Store(&reason)
	a.warnOfNoInbox(ctx, reason)
	return nil
}

func (a *agent) warnOfNoInbox(ctx context.Context, reason string) {
	a.router.log.WarnContext(ctx, "agent reads no inbox: dead letters cannot be redriven to it",
		"agent", a.Name, "inbox", a.Subscription.Inbox, "error", reason)
}

// inTurn is handle, for an agent whose topic and inbox together keep to its
// concurrency. What still waits when the drain begins has not started.
func (a *agent) inTurn(draining <-chan struct{}) transport.Handler {
	return func(ctx context.Context, d *transport.Delivery) transport.Outcome {
		if !a.gate.enter(ctx, draining) {
			return transport.HandBack()
		}
		defer a.gate.leave()
		return a.handle(ctx, d)
	}
}

// inbox is the health of the router's subscription to the agent's inbox.
func (a *agent) inbox() transport.Health {
	if !a.readsInbox() {
		return transport.Health{}
	}
	if reason := a.noInbox.Load(); reason != nil {
		return transport.Health{
			Transport: a.Transport.Name(), Topic: a.Subscription.Inbox, Group: a.Subscription.Group,
			State: transport.Waiting, Reason: *reason,
		}
	}
	return a.subscription(a.Subscription.Inbox)
}

// gate lets so many in at once, those that had to wait in the order of their
// coming. Its fast path is one compare-and-set.
type gate struct {
	limit   int32
	inside  atomic.Int32
	waiting atomic.Int32

	mu    sync.Mutex
	queue []chan struct{} // closed for those that are let in
}

// enter waits for a place; it is false when ctx ended before, or stop was closed.
func (g *gate) enter(ctx context.Context, stop <-chan struct{}) bool {
	if g.waiting.Load() == 0 && g.take() {
		return true
	}
	turn := make(chan struct{})
	g.mu.Lock()
	g.queue = append(g.queue, turn)
	g.waiting.Add(1)
	g.grant()
	g.mu.Unlock()
	select {
	case <-turn:
		return true
	case <-ctx.Done():
	case <-stop:
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, other := range g.queue {
		if other == turn {
			g.queue = append(g.queue[:i], g.queue[i+1:]...)
			g.waiting.Add(-1)
			return false
		}
	}
	return true // it was let in meanwhile
}

func (g *gate) leave() {
	g.inside.Add(-1)
	if g.waiting.Load() > 0 {
		g.mu.Lock()
		g.grant()
		g.mu.Unlock()
	}
}

func (g *gate) take() bool {
	for {
		n := g.inside.Load()
		if n >= g.limit {
			return false
		}
		if g.inside.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// grant lets in who waits, as far as there is room. The lock is held.
func (g *gate) grant() {
	for len(g.queue) > 0 && g.take() {
		close(g.queue[0])
		g.queue = g.queue[1:]
		g.waiting.Add(-1)
	}
}
