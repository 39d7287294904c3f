package integration

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/anywire/anywire"
	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/natsdriver"
)

// TestBrokerOutage: a message whose publish returned nil is handled, whatever
// happens to the broker's process; an app recovers by itself, and says meanwhile
// what it waits for.
func TestBrokerOutage(t *testing.T) {
	t.Parallel()
	for _, order := range []string{"none", "key"} {
		t.Run(order, func(t *testing.T) {
			t.Parallel()
			server := brokertest.NATS(t)
			p := &pipeline{w: onNATS(t, server, natsdriver.Options{}), order: order, lease: 2 * time.Second}
			p.test(t, []accident{
				{"kill", func(t *testing.T) {
					t.Helper()
					server.Kill(t)
					p.awaitWaiting(t)
					server.Start(t)
				}},
				{"pause", func(t *testing.T) {
					t.Helper()
					server.Pause(t)
					_ = pause(t.Context(), 3*p.lease/2) // beyond a lease: the accident itself, not a wait for something
					server.Resume(t)
				}},
				{"kill again", func(t *testing.T) {
					t.Helper()
					server.Kill(t)
					server.Start(t)
				}},
			})
		})
	}
}

// accident is what happens to a broker.
type accident struct {
	name string
	hit  func(t *testing.T)
}

// pipeline is three hops under a publisher that never stops.
type pipeline struct {
	w     *world
	order string
	lease time.Duration
	app   *running

	done journal[Job]

	mu        sync.Mutex
	confirmed map[Job]bool
	unknown   int
}

func (p *pipeline) test(t *testing.T, accidents []accident) {
	t.Helper()
	p.confirmed = map[Job]bool{}
	p.app = run(t, p.build())
	ctx, stop := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() { p.publish(ctx) })
	for _, a := range accidents {
		p.awaitProgress(t, "before "+a.name)
		a.hit(t)
	}
	p.awaitProgress(t, "in the end")
	stop()
	group.Wait()
	await(t, "everything that was confirmed is handled", func() bool { return len(p.missing()) == 0 },
		func() any { return fmt.Sprintf("missing %v of %d", p.missing(), len(p.confirmed)) })
	for _, h := range p.app.Health().Agents {
		if h.State != transport.Running {
			t.Errorf("agent %s is %s: %s", h.Agent, h.State, h.Reason)
		}
	}
	for _, agent := range []string{"one", "two", "three"} {
		if dead := browse(t, p.app.App, agent+".dead"); len(dead) > 0 {
			t.Errorf("%d healthy messages in %s.dead: %v", len(dead), agent, deadLetter(dead[0]))
		}
	}
	if p.order != "none" {
		p.checkOrder(t)
	}
	t.Logf("%d confirmed, %d not, %d handled", len(p.confirmed), p.unknown, len(p.done.all()))
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
	}
}

// awaitProgress waits until messages that are published from now on come
// through.
func (p *pipeline) awaitProgress(t *testing.T, when string) {
	t.Helper()
	p.mu.Lock()
	before := len(p.confirmed)
	p.mu.Unlock()
	await(t, "messages flow "+when, func() bool {
		p.mu.Lock()
		now := len(p.confirmed)
		p.mu.Unlock()
		return now >= before+50 && len(p.done.all()) >= before+50
	}, func() any {
		return fmt.Sprintf("%d confirmed before; %d done; health %+v", before, len(p.done.all()), p.app.Health())
	})
}

// awaitWaiting waits until every agent says that it waits, and why.
func (p *pipeline) awaitWaiting(t *testing.T) {
	t.Helper()
	await(t, "health says that the broker is away", func() bool {
		for _, h := range p.app.Health().Agents {
			if h.State != transport.Waiting || h.Reason == "" {
				return false
			}
		}
		return true
	}, func() any { return fmt.Sprintf("health %+v", p.app.Health()) })
	if h := p.app.Health(); !h.Live {
		t.Errorf("a broker that is away is no reason to restart: %s", h.Reason)
	}
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

func (p *pipeline) checkOrder(t *testing.T) {
	t.Helper()
	checkRising(t, p.done.all())
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
