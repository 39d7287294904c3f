package router_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/idempotency"
	"github.com/anywire/anywire/router"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is one agent over a memory broker, inside a synctest bubble.
type world struct {
	*testing.T

	transport *transport.Transport
	agent     router.Agent
	options   router.Options
	router    *router.Router
	stop      func() error // drains and returns what Run did
	memory    *idempotency.Memory
	store     *brittle // over memory; nil: nothing is remembered

	mu     sync.Mutex
	events []transport.Event
}

// inWorld runs test in a bubble whose time passes as fast as it can: without
// records, and with a store in the process.
func inWorld(t *testing.T, test func(w *world)) {
	t.Helper()
	t.Parallel()
	t.Run("no store", func(t *testing.T) { inBubble(t, false, test) })
	t.Run("a store", func(t *testing.T) { inBubble(t, true, test) })
}

// withStore runs test in a bubble, with a store in the process.
func withStore(t *testing.T, test func(w *world)) {
	t.Helper()
	inBubble(t, true, test)
}

func inBubble(t *testing.T, records bool, test func(w *world)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		broker := memory.New(nil)
		w := &world{T: t, transport: transport.New(broker, &transport.Options{Name: "memory", OwnsDriver: true})}
		w.agent = router.Agent{
			Name: "agent", Transport: w.transport, Topic: "in", Produces: "out",
			Policy: router.Policy{Timeout: time.Minute, Immediate: 2, Delayed: 3, BackoffMin: time.Second, BackoffMax: time.Minute},
		}
		w.options = router.Options{
			System: "test", Host: "host", Observe: w.observe,
			Route: func(string) (*transport.Transport, error) { return w.transport, nil },
		}
		if records {
			w.memory = idempotency.NewMemory(nil)
			w.store = &brittle{Store: w.memory}
			w.remember(w.store)
		}
		t.Cleanup(func() {
			if err := w.transport.Close(context.WithoutCancel(t.Context())); err != nil {
				t.Error(err)
			}
		})
		test(w)
		if w.stop != nil {
			if err := w.stop(); err != nil {
				t.Errorf("run: %v", err)
			}
		}
	})
}

// remember gives the agent's records to a store.
func (w *world) remember(s idempotency.Store) {
	w.agent.Guard = idempotency.NewGuard(s, &idempotency.Options{System: "test", Group: "agent", Lease: 30 * time.Second})
}

// brittle is a store that can be told to fail.
type brittle struct {
	idempotency.Store

	mu     sync.Mutex
	down   error // of every call
	after  error // of every Update, which has its effect all the same: the answer is lost
	refuse func(c *idempotency.Change) error
}

func (b *brittle) fail(down, after error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.down, b.after = down, after
}

func (b *brittle) Begin(ctx context.Context, claims []idempotency.Claim) ([]idempotency.Verdict, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.down != nil {
		return nil, b.down
	}
	return b.Store.Begin(ctx, claims)
}

func (b *brittle) Update(ctx context.Context, changes []idempotency.Change) ([]error, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.down != nil {
		return nil, b.down
	}
	errs, err := b.Store.Update(ctx, changes)
	for i := range changes {
		if b.refuse != nil && err == nil && errs[i] == nil {
			errs[i] = b.refuse(&changes[i])
		}
	}
	if b.after != nil {
		return nil, b.after
	}
	return errs, err
}

func (w *world) observe(e transport.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e)
}

// handle gives the agent one handler for every type.
func (w *world) handle(h envelope.Handler) {
	w.agent.Routes = append(w.agent.Routes, router.Route{Handle: h})
}

// start runs the agent.
func (w *world) start() {
	w.options.Agents = append(w.options.Agents, w.agent)
	w.router = router.New(&w.options)
	ctx, cancel := context.WithCancel(w.Context())
	ran := make(chan error, 1)
	go func() { ran <- w.router.Run(ctx) }()
	w.stop = sync.OnceValue(func() error {
		cancel()
		return <-ran
	})
}

// pass lets time pass, and everything that is due happen.
func (w *world) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func message(o ...envelope.Option) *envelope.Envelope {
	e, err := envelope.New(envelope.Raw{Type: "test.job@1", Data: []byte(`{"n":1}`)}, o...)
	if err != nil {
		panic(err)
	}
	return e
}

func (w *world) publish(es ...*envelope.Envelope) {
	w.Helper()
	if err := w.transport.Publish(w.Context(), "in", es...); err != nil {
		w.Fatal(err)
	}
}

// on lists what a topic holds.
func (w *world) on(topic string) []*envelope.Envelope {
	w.Helper()
	var all []*envelope.Envelope
	err := w.transport.Browse(w.Context(), topic, driver.Start{}, false, func(d *transport.Delivery) bool {
		if d.DecodeErr != nil {
			w.Errorf("%s: %v", topic, d.DecodeErr)
			return true
		}
		all = append(all, d.Envelope.Clone())
		return true
	})
	if err != nil && !errors.Is(err, driver.ErrNotFound) {
		w.Fatal(err)
	}
	return all
}

// only is the one message of a topic.
func (w *world) only(topic string) *envelope.Envelope {
	w.Helper()
	all := w.on(topic)
	if len(all) != 1 {
		w.Fatalf("%d messages on %q, want 1: %v", len(all), topic, all)
	}
	return all[0]
}

func (w *world) health() router.Health { return w.router.Health()[0] }

// seen counts the events of one type.
func seen[E transport.Event](w *world) []E {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []E
	for _, e := range w.events {
		if e, ok := e.(E); ok {
			all = append(all, e)
		}
	}
	return slices.Clip(all)
}
