package router_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
)

// A redrive reaches its agent, reopens its record, and is once for the agent what
// it is once.
func TestRedriveThroughTheInbox(t *testing.T) {
	withStore(t, func(w *world) {
		w.agent.Subscription.Inbox = "agent.inbox"
		w.agent.Policy.Immediate, w.agent.Policy.Delayed = 0, 0
		var cured atomic.Bool
		var calls atomic.Int64
		w.handle(func(context.Context, *envelope.Envelope) ([]*envelope.Envelope, error) {
			calls.Add(1)
			if cured.Load() {
				return nil, nil
			}
			return nil, errBoom
		})
		w.start()
		e := &envelope.Envelope{ID: "1", Source: "/t", Type: "t.m", SchemaVersion: 1}
		send := func(topic string, redrive int) {
			again := e.Clone()
			again.Redrive = redrive
			if err := w.transport.Publish(w.Context(), topic, again); err != nil {
				w.Fatal(err)
			}
			time.Sleep(time.Minute)
			synctest.Wait()
		}
		send("in", 0)
		cured.Store(true)
		send("agent.inbox", 0) // no redrive: the record says that it failed
		if n := calls.Load(); n != 1 {
			w.Fatalf("%d attempts, want one: the second message was no redrive", n)
		}
		send("agent.inbox", 1)
		send("agent.inbox", 1)
		if n := calls.Load(); n != 2 {
			w.Errorf("%d attempts, want a second one, and no third: the redrive came twice", n)
		}
		if h := w.router.Health()[0]; h.Inbox.Topic != "agent.inbox" || h.Inbox.State != transport.Running || h.Duplicates != 1 {
			w.Errorf("health %+v", h)
		}
	})
}

// Topic and inbox share the agent's slots, and neither starves.
func TestInboxSharesTheConcurrency(t *testing.T) {
	inWorld(t, func(w *world) {
		w.agent.Subscription.Inbox = "agent.inbox"
		w.agent.Subscription.Concurrency = 2
		var now, most, fromInbox, all atomic.Int64
		w.handle(func(_ context.Context, e *envelope.Envelope) ([]*envelope.Envelope, error) {
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			defer now.Add(-1)
			time.Sleep(time.Second)
			all.Add(1)
			if e.Topic == "agent.inbox" {
				fromInbox.Add(1)
			}
			return nil, nil
		})
		for i := range 100 {
			for _, topic := range []string{"in", "agent.inbox"} {
				e := &envelope.Envelope{ID: topic + time.Duration(i).String(), Source: "/t", Type: "t.m", SchemaVersion: 1}
				if err := w.transport.Publish(w.Context(), topic, e); err != nil {
					w.Fatal(err)
				}
			}
		}
		w.start()
		time.Sleep(50*time.Second + 500*time.Millisecond)
		synctest.Wait()
		if most.Load() != 2 {
			w.Errorf("%d handlers ran at once, want 2", most.Load())
		}
		if n := fromInbox.Load(); n < 30 || n > 70 {
			w.Errorf("%d of %d came from the inbox, want about half", n, all.Load())
		}
	})
}

// denied refuses the inbox, as a broker does to a user with narrow rights.
type denied struct{ driver.Driver }

func (d denied) Subscribe(ctx context.Context, sub driver.Subscription) (driver.Source, error) {
	if sub.Topic == "agent.inbox" {
		return nil, driver.ErrDenied
	}
	return d.Driver.Subscribe(ctx, sub)
}

// Who may not read the inbox works without, and health says so.
func TestWithoutRightsToTheInbox(t *testing.T) {
	inWorld(t, func(w *world) {
		w.agent.Transport = transport.New(denied{w.transport.Driver()}, &transport.Options{Name: "memory"})
		w.agent.Subscription.Inbox = "agent.inbox"
		var mu sync.Mutex
		handled := 0
		w.handle(func(context.Context, *envelope.Envelope) ([]*envelope.Envelope, error) {
			mu.Lock()
			defer mu.Unlock()
			handled++
			return nil, nil
		})
		w.start()
		time.Sleep(time.Minute)
		e := &envelope.Envelope{ID: "1", Source: "/t", Type: "t.m", SchemaVersion: 1}
		if err := w.transport.Publish(w.Context(), "in", e); err != nil {
			w.Fatal(err)
		}
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		h := w.router.Health()[0]
		if handled != 1 || h.State != transport.Running || h.Inbox.State != transport.Waiting || h.Inbox.Reason == "" {
			w.Errorf("handled %d, health %+v", handled, h)
		}
	})
}
