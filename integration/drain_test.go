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
)

// TestDrainUnderLoad: a clean drain starts no handler twice, loses nothing, and
// brings nothing healthy to the dead letters.
func TestDrainUnderLoad(t *testing.T) {
	t.Parallel()
	eachOrder(t, func(c *orderCase) {
		d := &drained{w: c.world, order: c.order, starts: map[string]int{}, done: map[string]int{}}
		d.test(c.T, scale(600, 5000))
	})
}

// drained is two hops, each job with its outputs.
type drained struct {
	w     *world
	order string

	mu           sync.Mutex
	starts, done map[string]int
}

func (d *drained) test(t *testing.T, n int) {
	t.Helper()
	one := run(t, d.app())
	publisher := d.app() // it knows how many shards the topics have
	t.Cleanup(func() { _ = publisher.Close() })
	var group sync.WaitGroup
	group.Go(func() {
		for i := range n {
			if err := publisher.Publish(t.Context(), "first", Job{N: i}, anywire.WithKey(strconv.Itoa(i%17))); err != nil {
				t.Errorf("publish: %v", err)
			}
		}
	})
	await(t, "messages flow", func() bool { return d.count() > n/10 }, d.state)
	two := run(t, d.app())
	if err := one.stop(); err != nil {
		t.Errorf("drain: %v", err)
	}
	group.Wait()
	await(t, "everything is handled", func() bool { return d.count() == n }, d.state)
	if err := two.stop(); err != nil {
		t.Errorf("drain: %v", err)
	}
	d.check(t)
	for _, topic := range []string{"one.dead", "two.dead"} {
		if dead := browse(t, publisher, topic); len(dead) > 0 {
			t.Errorf("%d healthy messages in %s", len(dead), topic)
		}
	}
}

func (d *drained) app() *anywire.App {
	app := anywire.New(d.w.options(&config.Config{Agents: map[string]config.Agent{
		"one": {Consumes: "first", Produces: "second", Order: d.order},
		"two": {Consumes: "second", Order: d.order},
	}}))
	anywire.Handle(app, "one", func(ctx context.Context, j Job) (Half, error) {
		d.start("one", j)
		return Half(j), pause(ctx, time.Millisecond)
	})
	anywire.Consume(app, "two", func(ctx context.Context, j Half) error {
		d.start("two", Job(j))
		if err := pause(ctx, time.Millisecond); err != nil {
			return err
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		d.done[strconv.Itoa(j.N)]++
		return nil
	})
	return app
}

func (d *drained) start(agent string, j Job) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.starts[fmt.Sprintf("%s %d", agent, j.N)]++
}

func (d *drained) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.done)
}

func (d *drained) state() any { return fmt.Sprintf("%d handled", d.count()) }

// check counts starts, except where the backend itself makes duplicates.
func (d *drained) check(t *testing.T) {
	t.Helper()
	if d.w.duplicates {
		return
	}
	for what, n := range d.starts {
		if n != 1 {
			t.Errorf("%s was started %d times", what, n)
		}
	}
}
