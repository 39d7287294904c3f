package integration

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anywire/anywire"
	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/config/value"
)

// TestOrderByKey: first successful completions of one key happen in published
// order, through retries and lost workers.
func TestOrderByKey(t *testing.T) {
	t.Parallel()
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			checkOrder(t, b.start(t), "key", 4, scale(20, 100), scale(25, 100))
		})
	}
}

// TestOrderStrict: the same for all messages together.
func TestOrderStrict(t *testing.T) {
	t.Parallel()
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			checkOrder(t, b.start(t), "strict", 1, 1, scale(150, 2000))
		})
	}
}

// ordered is an agent "worker" whose handler fails at random.
type ordered struct {
	w      *world
	config func() *config.Config
	done   journal[Job] // completions, in their order
	failed atomic.Int64
}

func checkOrder(t *testing.T, w *world, order string, shards, keys, each int) {
	t.Helper()
	needsOrder(t, w.caps, order)
	o := &ordered{w: w, config: func() *config.Config {
		return &config.Config{
			Topics: map[string]config.Topic{"jobs": {Shards: shards}},
			Agents: map[string]config.Agent{"worker": {Consumes: "jobs", Order: order, Policy: config.Policy{
				Lease: value.Duration(time.Second),
				Retry: config.Retry{Immediate: new(0), Delayed: new(20), Backoff: backoff(5, 20)},
			}}},
		}
	}}
	first, second := run(t, o.app()), run(t, o.app())
	o.publish(t, first.App, keys, 1, each/2)
	await(t, "a quarter is handled", func() bool { return o.handled() >= keys*each/4 }, o.state)
	first.crash(t)
	third := run(t, o.app())
	o.publish(t, second.App, keys, each/2+1, each)
	await(t, "everything is handled", func() bool { return o.handled() >= keys*each }, o.state)
	o.check(t, keys, each)
	if o.failed.Load() == 0 {
		t.Error("no handler failed: the test shows nothing")
	}
	for _, r := range []*running{second, third} {
		if err := r.stop(); err != nil {
			t.Errorf("drain: %v", err)
		}
	}
	if dead := browse(t, anywireOf(t, w), "worker.dead"); len(dead) > 0 {
		t.Errorf("%d healthy messages among the dead letters", len(dead))
	}
}

// anywireOf is an app of the world that runs no agents.
func anywireOf(t *testing.T, w *world) *anywire.App {
	t.Helper()
	app := anywire.New(w.options(&config.Config{}))
	t.Cleanup(func() {
		if err := app.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return app
}

func backoff(from, to int) value.Range {
	return value.Range{Min: value.Duration(time.Duration(from) * time.Millisecond), Max: value.Duration(time.Duration(to) * time.Millisecond)}
}

func (o *ordered) app() *anywire.App {
	app := anywire.New(o.w.options(o.config()))
	anywire.Consume(app, "worker", func(ctx context.Context, j Job) error {
		if fails(j, anywire.Envelope(ctx).Attempt) {
			o.failed.Add(1)
			return errors.New("as told")
		}
		if err := pause(ctx, time.Millisecond); err != nil {
			return err
		}
		o.done.note(j)
		return nil
	})
	return app
}

// fails is the same in every run: one attempt of five, and never the sixth.
func fails(j Job, attempt int) bool {
	h := fnv.New32a()
	fmt.Fprintf(h, "%s/%d/%d", j.Key, j.N, attempt)
	return attempt < 6 && h.Sum32()%5 == 0
}

// pause is work that takes d.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// publish sends from..to of every key.
func (o *ordered) publish(t *testing.T, app *anywire.App, keys, from, to int) {
	t.Helper()
	for n := from; n <= to; n++ {
		for k := range keys {
			publish(t, app, "jobs", Job{Key: fmt.Sprintf("k%d", k), N: n})
		}
	}
}

// firsts are the first completions, in their order.
func firsts(all []Job) []Job {
	seen := map[Job]bool{}
	var list []Job
	for _, j := range all {
		if !seen[j] {
			seen[j] = true
			list = append(list, j)
		}
	}
	return list
}

func (o *ordered) handled() int { return len(firsts(o.done.all())) }

func (o *ordered) state() any { return fmt.Sprintf("%d handled", o.handled()) }

func (o *ordered) check(t *testing.T, keys, each int) {
	t.Helper()
	last := map[string]int{}
	for _, j := range firsts(o.done.all()) {
		if j.N != last[j.Key]+1 {
			t.Errorf("key %s: %d completed after %d", j.Key, j.N, last[j.Key])
		}
		last[j.Key] = j.N
	}
	for k := range keys {
		if key := fmt.Sprintf("k%d", k); last[key] != each {
			t.Errorf("key %s ended with %d of %d", key, last[key], each)
		}
	}
}
