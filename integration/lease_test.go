package integration

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anywire/anywire"
	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/config/value"
)

// TestSlowHandler: a slow handler keeps its message, and so does a message that
// waits for a slot, beside a second worker that has nothing else to do.
func TestSlowHandler(t *testing.T) {
	t.Parallel()
	eachOrder(t, func(c *orderCase) {
		var started, finished atomic.Int64
		worker := func() *anywire.App { return slowWorker(c, &started, &finished) }
		one := run(c.T, worker())
		publish(c.T, one.App, "jobs", Job{Key: "a", N: 1}, Job{Key: "b", N: 1}, Job{Key: "a", N: 2}, Job{Key: "b", N: 2}, Job{Key: "a", N: 3})
		await(c.T, "a handler runs", func() bool { return started.Load() > 0 })
		two := run(c.T, worker())
		await(c.T, "all are handled", func() bool { return finished.Load() >= 5 })
		for _, r := range []*running{one, two} {
			if err := r.stop(); err != nil {
				c.Errorf("drain: %v", err)
			}
		}
		if n := started.Load(); n != 5 && !c.world.duplicates {
			c.Errorf("5 messages were started %d times", n)
		}
	})
}

// slowWorker needs almost two leases for a message.
func slowWorker(c *orderCase, started, finished *atomic.Int64) *anywire.App {
	const lease = time.Second
	app := anywire.New(c.world.options(&config.Config{Agents: map[string]config.Agent{
		"slow": {Consumes: "jobs", Order: c.order, Policy: config.Policy{Concurrency: 2, Lease: value.Duration(lease)}},
	}}))
	anywire.Consume(app, "slow", func(ctx context.Context, _ Job) error {
		started.Add(1)
		if err := pause(ctx, 7*lease/4); err != nil {
			return err
		}
		finished.Add(1)
		return nil
	})
	return app
}
