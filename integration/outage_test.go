package integration

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/anywire/anywire"
	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/transport"
)

// TestBrokerOutage: a message whose publish returned nil is handled, whatever
// happens to the broker's process; an app recovers by itself, and says meanwhile
// what it waits for. All kinds that a server carries meet its accidents together.
func TestBrokerOutage(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, kinds []*broker) {
		t.Helper()
		server := kinds[0].own(t)
		var worlds []*world
		for _, b := range kinds {
			worlds = append(worlds, b.world(t, server))
		}
		runAccidents(t, worlds, outage, []accident{
			{"killed", func(t *testing.T, ps []*pipeline) {
				t.Helper()
				server.Kill(t)
				awaitWaiting(t, ps)
				server.Start(t)
			}},
			{"terminated", func(t *testing.T, ps []*pipeline) {
				t.Helper()
				server.Stop(t)
				awaitWaiting(t, ps)
				server.Start(t)
			}},
			{"stopped beyond a lease", func(t *testing.T, _ []*pipeline) {
				t.Helper()
				server.Pause(t)
				last(t, 3*outage/2)
				server.Resume(t)
			}},
			{"killed and started at once", func(t *testing.T, _ []*pipeline) {
				t.Helper()
				server.Kill(t)
				server.Start(t)
			}},
		})
	})
}

// outage is the lease in tests of what happens to brokers.
const outage = 2 * time.Second

// accident is what happens to a broker, or on the way to it.
type accident struct {
	name string
	hit  func(t *testing.T, ps []*pipeline)
}

// runAccidents has one accident after the other happen to two pipelines of each
// world, without order and with order by key. Each is a subtest: messages flow again
// after it. In the end nothing that was confirmed is missing.
func runAccidents(t *testing.T, worlds []*world, lease time.Duration, accidents []accident) {
	t.Helper()
	var ps []*pipeline
	for _, w := range worlds {
		w := w.leased(lease)
		orders := []string{"none"}
		if order := keyed(t, w.entry.Kind, w.caps); order == "key" {
			orders = append(orders, order)
		}
		for _, order := range orders {
			p := &pipeline{name: w.entry.Kind + ", order " + order, w: w.beside(order), order: order, lease: lease}
			p.start(t)
			ps = append(ps, p)
		}
	}
	awaitProgress(t, ps)
	for _, a := range accidents {
		t.Run(a.name, func(t *testing.T) {
			t.Helper()
			a.hit(t, ps)
			awaitProgress(t, ps)
		})
	}
	for _, p := range ps {
		p.finish(t)
	}
}

// last is an accident that takes d: that is no wait for anything.
func last(t *testing.T, d time.Duration) {
	t.Helper()
	_ = pause(t.Context(), d)
}

// pipeline is three hops under a publisher that never stops.
type pipeline struct {
	name  string
	w     *world
	order string
	lease time.Duration
	app   *running
	stop  func() // ends the publisher

	done journal[Job]

	mu        sync.Mutex
	confirmed map[Job]bool
	unknown   int
}

// start starts all of it.
func (p *pipeline) start(t *testing.T) {
	t.Helper()
	p.confirmed = map[Job]bool{}
	p.app = run(t, p.build())
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.publish(ctx)
	}()
	p.stop = sync.OnceFunc(func() {
		cancel()
		<-ended
	})
	t.Cleanup(p.stop)
}

// finish ends the publisher and checks what has become of its messages.
func (p *pipeline) finish(t *testing.T) {
	t.Helper()
	p.stop()
	await(t, "everything that was confirmed is handled, "+p.name, func() bool { return len(p.missing()) == 0 },
		func() any { return fmt.Sprintf("missing %v of %d", p.missing(), len(p.confirmed)) })
	await(t, "every agent runs", func() bool {
		for _, h := range p.app.Health().Agents {
			if h.State != transport.Running {
				return false
			}
		}
		return true
	}, func() any { return fmt.Sprintf("health %+v", p.app.Health()) })
	for _, agent := range []string{"one", "two", "three"} {
		if dead := browse(t, p.app.App, agent+".dead"); len(dead) > 0 {
			t.Errorf("%d healthy messages in %s.dead: %v", len(dead), agent, deadLetter(dead[0]))
		}
	}
	if p.order != "none" {
		checkRising(t, p.known())
	}
	t.Logf("%s: %d confirmed, %d not, %d handled", p.name, len(p.confirmed), p.unknown, len(p.done.all()))
}

func (p *pipeline) build() *anywire.App {
	app := anywire.New(p.w.options(&config.Config{
		Defaults: config.Policy{Lease: value.Duration(p.lease), Retry: config.Retry{Immediate: new(0), Delayed: new(0)}},
		Agents: map[string]config.Agent{
			"one":   {Consumes: "first", Produces: "second", Order: p.order},
			"two":   {Consumes: "second", Produces: "third", Order: p.order},
			"three": {Consumes: "third", Order: p.order},
		},
	}))
	anywire.Handle(app, "one", func(ctx context.Context, j Job) (Half, error) { return Half(j), pause(ctx, time.Millisecond) })
	anywire.Handle(app, "two", func(ctx context.Context, j Half) (Whole, error) { return Whole(j), pause(ctx, time.Millisecond) })
	anywire.Consume(app, "three", func(ctx context.Context, j Whole) error {
		if err := pause(ctx, time.Millisecond); err != nil {
			return err
		}
		p.done.note(Job(j))
		return nil
	})
	return app
}

// publish sends one message after the other. What failed is not sent again: the
// broker may have it.
func (p *pipeline) publish(ctx context.Context) {
	for n := 1; ctx.Err() == nil; n++ {
		j := Job{Key: strconv.Itoa(n % 5), N: n}
		call, cancel := context.WithTimeout(ctx, time.Second)
		err := p.app.Publish(call, "first", j, anywire.WithKey(j.Key))
		cancel()
		p.mu.Lock()
		if err == nil {
			p.confirmed[j] = true
		} else {
			p.unknown++
		}
		p.mu.Unlock()
		_ = pause(ctx, time.Millisecond)
		p.awaitRoom(ctx)
	}
}

// awaitProgress waits until messages that are published from now on come
// through.
func awaitProgress(t *testing.T, ps []*pipeline) {
	t.Helper()
	const enough = 10
	for _, p := range ps {
		confirmed := p.count()
		await(t, "messages are confirmed, "+p.name, func() bool { return p.count() >= confirmed+enough }, p.state)
		done := len(p.done.all())
		await(t, "messages flow, "+p.name, func() bool { return len(p.done.all()) >= done+enough }, p.state)
	}
}

// count is how many messages were confirmed.
func (p *pipeline) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.confirmed)
}

func (p *pipeline) state() any {
	return fmt.Sprintf("%d confirmed, %d handled, health %+v", p.count(), len(p.done.all()), p.app.Health())
}

// awaitWaiting waits until every agent says that it waits, and why.
func awaitWaiting(t *testing.T, ps []*pipeline) {
	t.Helper()
	for _, p := range ps {
		await(t, "health says that the broker is away, "+p.name, func() bool {
			for _, h := range p.app.Health().Agents {
				if h.State != transport.Waiting || h.Reason == "" {
					return false
				}
			}
			return true
		}, p.state)
		if h := p.app.Health(); !h.Live {
			t.Errorf("a broker that is away is no reason to restart: %s", h.Reason)
		}
	}
}

// known are the completions of what was confirmed. What was not may have been on
// its way for long, and come after what was published later.
func (p *pipeline) known() []Job {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.DeleteFunc(p.done.all(), func(j Job) bool { return !p.confirmed[j] })
}

func (p *pipeline) missing() []Job {
	done := map[Job]bool{}
	for _, j := range p.done.all() {
		done[j] = true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var missing []Job
	for j := range p.confirmed {
		if !done[j] {
			missing = append(missing, j)
		}
	}
	return missing
}

// checkRising wants the first completions of each key in published order; some
// numbers may be missing.
func checkRising(t *testing.T, all []Job) {
	t.Helper()
	last := map[string]int{}
	for _, j := range firsts(all) {
		if j.N < last[j.Key] {
			t.Errorf("key %s: %d completed after %d", j.Key, j.N, last[j.Key])
		}
		last[j.Key] = max(last[j.Key], j.N)
	}
}
