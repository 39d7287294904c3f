package anywiretest

import (
	"context"
	"maps"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/anywire/anywire"
	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/memory"
)

// group is the one under which a wire reads along.
const group = "anywiretest"

// Options configure [Start]. The zero value, and nil, are the defaults.
type Options struct {
	// Config is the configuration; whatever transports it names, memory stands
	// in for each of them. Nil: anywire.yaml in the test's folder.
	Config *config.Config
	// Memory configures the brokers; nil: the defaults.
	Memory *memory.Options
	// Patience is how long Next waits before it fails the test; default 10 s.
	Patience time.Duration
	// Anywire is passed to the constructor, with Config and Drivers filled in;
	// nil: the zero value.
	Anywire *anywire.Options
}

// Wire is a running app in a test.
type Wire struct {
	tb       testing.TB
	app      *anywire.App
	config   *config.Config
	patience time.Duration
	ctx      context.Context // a wire is one test

	mu      sync.Mutex
	topics  map[string]*tap
	taps    sync.WaitGroup
	running map[reader]bool
	changed chan struct{} // has room for one: running did
}

// reader is a group on a topic.
type reader struct{ topic, group string }

// tap is what came on one topic and was not asked for yet.
type tap struct {
	mu   sync.Mutex
	seen []*envelope.Envelope
	more chan struct{} // has room for one: something came
}

// Start runs the app that construct makes, over memory, and shuts it down when
// the test ends; a Run that fails, fails the test. Inside a testing/synctest
// bubble everything is made inside it.
func Start(tb testing.TB, construct func(*anywire.Options) *anywire.App, o *Options) *Wire {
	tb.Helper()
	if o == nil {
		o = &Options{}
	}
	var options anywire.Options
	if o.Anywire != nil {
		options = *o.Anywire
	}
	options.Config = configOf(tb, o)
	options.Drivers = brokers(tb, options.Config, o.Memory)
	ctx, stop := context.WithCancel(context.WithoutCancel(tb.Context()))
	w := &Wire{
		tb: tb, config: options.Config, patience: o.Patience, ctx: ctx,
		topics: map[string]*tap{}, running: map[reader]bool{}, changed: make(chan struct{}, 1),
	}
	options.Observe = w.watch(options.Observe)
	w.app = construct(&options)
	if w.patience <= 0 {
		w.patience = 10 * time.Second
	}
	if err := w.app.Validate(); err != nil {
		stop()
		tb.Fatalf("anywiretest: %v", err)
	}
	for _, topic := range topicsOf(options.Config) {
		w.tap(topic)
	}
	ran := make(chan error, 1)
	go func() { ran <- w.app.Run(ctx) }()
	tb.Cleanup(func() {
		stop()
		if err := <-ran; err != nil {
			tb.Errorf("anywiretest: run: %v", err)
		}
		w.taps.Wait()
	})
	w.awaitReaders()
	return w
}

// watch notes which groups read, and passes events on.
func (w *Wire) watch(next func(transport.Event)) func(transport.Event) {
	return func(e transport.Event) {
		if c, ok := e.(transport.Changed); ok && c.Health.State == transport.Running {
			w.mu.Lock()
			w.running[reader{c.Health.Topic, c.Health.Group}] = true
			w.mu.Unlock()
			select {
			case w.changed <- struct{}{}:
			default:
			}
		}
		if next != nil {
			next(e)
		}
	}
}

// awaitReaders waits until every agent reads, and the wire along with it: a
// broker in memory forgets what all groups that it knows of have settled.
func (w *Wire) awaitReaders() {
	w.tb.Helper()
	const most = 10 * time.Second
	late := time.NewTimer(most)
	defer late.Stop()
	for !w.allRead() {
		select {
		case <-w.changed:
		case <-late.C:
			w.tb.Fatalf("anywiretest: not every agent reads after %v", most)
		}
	}
}

func (w *Wire) allRead() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for topic := range w.topics {
		if !w.running[reader{topic, group}] {
			return false
		}
	}
	for name := range w.config.Agents {
		if a, _ := w.config.Agent(name); !w.running[reader{a.Consumes, a.Group}] {
			return false
		}
	}
	return true
}

func configOf(tb testing.TB, o *Options) *config.Config {
	tb.Helper()
	switch {
	case o.Config != nil:
		return o.Config
	case o.Anywire != nil && o.Anywire.Config != nil:
		return o.Anywire.Config
	}
	if _, err := os.Stat(config.DefaultName); err != nil {
		tb.Fatalf("anywiretest: there is no %s in this folder: set Options.Config", config.DefaultName)
	}
	c, err := config.Load(config.DefaultName)
	if err != nil {
		tb.Fatalf("anywiretest: %v", err)
	}
	return c
}

// brokers makes one for every transport that the configuration names.
func brokers(tb testing.TB, c *config.Config, o *memory.Options) map[string]driver.Driver {
	tb.Helper()
	names := append(slices.Collect(maps.Keys(c.Transports)), c.DefaultTransport())
	drivers := map[string]driver.Driver{}
	for _, name := range names {
		if drivers[name] != nil {
			continue
		}
		broker := memory.New(o)
		drivers[name] = broker
		tb.Cleanup(func() {
			if err := broker.Close(context.WithoutCancel(tb.Context())); err != nil {
				tb.Errorf("anywiretest: %v", err)
			}
		})
	}
	return drivers
}

func topicsOf(c *config.Config) []string {
	topics := map[string]bool{}
	for name := range c.Agents {
		a, _ := c.Agent(name)
		topics[a.Consumes], topics[a.DeadLetter] = true, true
		topics[a.Produces] = a.Produces != "" && a.Produces != config.None
	}
	maps.DeleteFunc(topics, func(_ string, is bool) bool { return !is })
	return slices.Sorted(maps.Keys(topics))
}

// tap reads along on a topic, from its oldest message.
func (w *Wire) tap(topic string) *tap {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.topics[topic] != nil {
		return w.topics[topic]
	}
	p := &tap{more: make(chan struct{}, 1)}
	w.topics[topic] = p
	t, err := w.transportOf(topic)
	if err != nil {
		w.tb.Errorf("anywiretest: %v", err)
		return p
	}
	w.taps.Go(func() {
		options := &transport.SubscribeOptions{Group: group, Order: transport.OrderStrict}
		if err := t.Subscribe(w.ctx, topic, p.take, options); err != nil && w.ctx.Err() == nil {
			w.tb.Errorf("anywiretest: read along on %q: %v", topic, err)
		}
	})
	return p
}

func (w *Wire) transportOf(topic string) (*transport.Transport, error) {
	name, err := w.config.Where(topic)
	if err != nil {
		return nil, err
	}
	return w.app.Transport(name)
}

func (p *tap) take(_ context.Context, d *transport.Delivery) transport.Outcome {
	if d.Envelope == nil {
		return transport.Done()
	}
	p.mu.Lock()
	p.seen = append(p.seen, d.Envelope.Clone())
	p.mu.Unlock()
	select {
	case p.more <- struct{}{}:
	default:
	}
	return transport.Done()
}

// next takes the oldest, or nil.
func (p *tap) next() *envelope.Envelope {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.seen) == 0 {
		return nil
	}
	e := p.seen[0]
	p.seen = p.seen[1:]
	return e
}

// App is the app under test.
func (w *Wire) App() *anywire.App { return w.app }

// Publish publishes v and fails the test if that fails.
func (w *Wire) Publish(topic string, v anywire.Typed, o ...anywire.SendOption) {
	w.tb.Helper()
	if err := w.app.Publish(w.ctx, topic, v, o...); err != nil {
		w.tb.Fatalf("anywiretest: %v", err)
	}
}

// NextEnvelope waits for the next message on topic, whatever its type, and fails
// the test when none comes. Every message is seen once, from the first one on,
// whoever else reads the topic. Dead letters are on the agent's name and .dead.
func (w *Wire) NextEnvelope(topic string) *envelope.Envelope {
	w.tb.Helper()
	p := w.tap(topic)
	late := time.NewTimer(w.patience)
	defer late.Stop()
	for {
		if e := p.next(); e != nil {
			return e
		}
		select {
		case <-p.more:
		case <-late.C:
			w.tb.Fatalf("anywiretest: nothing came on %q for %v", topic, w.patience)
		}
	}
}

// Next waits for the next message on topic, as [Wire.NextEnvelope] does, and
// fails the test when it is no T.
func Next[T anywire.Typed](w *Wire, topic string) T {
	w.tb.Helper()
	var v T
	e := w.NextEnvelope(topic)
	if e.WireType() != v.WireType() {
		w.tb.Fatalf("anywiretest: %s came on %q, not a %s", e, topic, v.WireType())
	}
	if err := e.Decode(&v); err != nil {
		w.tb.Fatalf("anywiretest: %v", err)
	}
	return v
}
