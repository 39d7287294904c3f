package integration

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anywire/anywire"
	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/internal/brokertest"
)

// TestRedisOutOfMemory: a server without memory takes no messages. Publishers are
// told, and why; agents keep what they cannot pass on, and health says so. With
// memory again, everything that was confirmed is handled.
func TestRedisOutOfMemory(t *testing.T) {
	t.Parallel()
	for _, c := range [][2]string{{"redis", "none"}, {"redis", "key"}, {"watermill-redisstream", "none"}} {
		b, order := brokers[c[0]], c[1]
		t.Run(b.name+"/"+order, func(t *testing.T) {
			t.Parallel()
			server := brokertest.Redis(t, "maxmemory 8mb", "maxmemory-policy noeviction")
			w := b.world(t, server)
			var mu sync.Mutex
			done := map[int]bool{}
			app := anywire.New(w.options(&config.Config{Agents: map[string]config.Agent{
				"one": {Consumes: "first", Produces: "second", Order: order},
				"two": {Consumes: "second", Order: order},
			}}))
			anywire.Handle(app, "one", func(_ context.Context, j Job) (Half, error) { return Half(j), nil })
			anywire.Consume(app, "two", func(_ context.Context, j Half) error {
				mu.Lock()
				defer mu.Unlock()
				done[j.N] = true
				return nil
			})
			r := run(t, app)
			sent, err := fillUp(t, app)
			if !strings.Contains(err.Error(), "OOM") && !strings.Contains(err.Error(), "maxmemory") {
				t.Errorf("a publish that finds no memory says %q: want a word of memory", err)
			}
			count := func() int {
				mu.Lock()
				defer mu.Unlock()
				return len(done)
			}
			if count() < sent {
				await(t, "health says it", func() bool {
					return r.Health().Agents[0].Stalled != "" || r.Health().Agents[0].Reason != "" || count() == sent
				}, func() any { return r.Health() })
			}
			if _, err := b.hands(t, server.URL).(redisHands).client.ConfigSet(t.Context(), "maxmemory", "0").Result(); err != nil {
				t.Fatal(err)
			}
			await(t, "everything that was confirmed is handled", func() bool { return count() >= sent },
				func() any { return fmt.Sprintf("%d of %d; health %+v", count(), sent, r.Health()) })
			await(t, "publishing works again", func() bool { return app.Publish(t.Context(), "first", Job{N: 1 << 20}) == nil })
			for _, topic := range []string{"one.dead", "two.dead"} {
				if dead := browse(t, app, topic); len(dead) > 0 {
					t.Errorf("%d healthy messages in %s: %s", len(dead), topic, deadLetter(dead[0]))
				}
			}
		})
	}
}

// fillUp publishes until that is refused, and returns how many were confirmed.
func fillUp(t *testing.T, app *anywire.App) (confirmed int, err error) {
	t.Helper()
	padding := strings.Repeat("x", 50_000)
	for n := range 1000 {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		err := app.Publish(ctx, "first", Job{N: n, Do: padding})
		cancel()
		if err != nil {
			return n, err
		}
	}
	t.Fatal("the server takes 50 MB")
	return 0, nil
}
