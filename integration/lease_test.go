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
// waits for a slot, beside a second worker that has nothing else to do. A machine
// that is busy for as long as the lease loses it: then a longer one is tried.
func TestSlowHandler(t *testing.T) {
	t.Parallel()
	eachOrder(t, func(c *orderCase) {
		needsRenewal(c.T, c.world.caps)
		for _, lease := range []time.Duration{time.Second, 4 * time.Second, 10 * time.Second} {
			n := startsWith(c, lease)
			if n == 5 || c.world.duplicates {
				return
			}
			c.Logf("with a lease of %v 5 messages were started %d times", lease, n)
		}
		c.Error("messages are not kept, however long the lease")
	})
}

// startsWith says how often five messages are started, each of which takes almost
// two leases.
func startsWith(c *orderCase, lease time.Duration) int64 {
	var started, finished atomic.Int64
	w := c.world.beside(lease.String())
	worker := func() *anywire.App { return slowWorker(w, c.order, lease, &started, &finished) }
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
	return started.Load()
}

func slowWorker(w *world, order string, lease time.Duration, started, finished *atomic.Int64) *anywire.App {
	app := anywire.New(w.options(&config.Config{Agents: map[string]config.Agent{
		"slow": {Consumes: "jobs", Order: order, Policy: config.Policy{Concurrency: 2, Lease: value.Duration(lease)}},
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
