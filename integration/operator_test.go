package integration

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/anywire/anywire"
	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/internal/faultproxy"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
)

// TestDeletedLive: an operator deletes the topic or the group under a running
// agent, or all that is stored. What is published afterwards is handled, by itself
// and soon, and the log says what has happened.
func TestDeletedLive(t *testing.T) {
	t.Parallel()
	eachBrokerOrder(t, func(t *testing.T, b *broker, order string) {
		t.Helper()
		for name, do := range map[string]func(ctx context.Context, h hands, topic, group string) error{
			"topic": func(ctx context.Context, h hands, topic, _ string) error { return h.deleteTopic(ctx, topic) },
			"group": func(ctx context.Context, h hands, topic, group string) error { return h.deleteGroup(ctx, topic, group) },
			"messages": func(ctx context.Context, h hands, topic, _ string) error {
				return h.trim(ctx, topic)
			},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				if name == "group" && b.protocol == faultproxy.Kafka {
					t.Skip("Kafka keeps groups that have members")
				}
				server := b.shared(t)
				w := b.world(t, server)
				d := &deletion{t: t, w: w, order: order, hold: make(chan struct{}), seen: map[Job]int{}}
				d.start()
				err := do(t.Context(), b.hands(t, server.URL), w.entry.Prefix+"jobs", w.entry.Prefix+"worker")
				if err != nil {
					t.Fatal(err)
				}
				d.check(name != "messages")
			})
		}
	})
}

// TestVanishedShowsInHealth: what somebody deletes while no agent runs is counted by
// the next one. On NATS an operator's purge moves the group's place, so that nothing
// tells of it; what a stream's limits take is tested in the driver.
func TestVanishedShowsInHealth(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"redis", "kafka"} {
		for _, order := range []string{"none", "key"} {
			t.Run(name+"/"+order, func(t *testing.T) {
				t.Parallel()
				b := brokers[name]
				server := b.shared(t)
				w := b.world(t, server)
				handled := journal[Job]{}
				start := func() *running {
					app := anywire.New(w.options(&config.Config{Agents: map[string]config.Agent{"worker": {Consumes: "jobs", Order: order}}}))
					anywire.Consume(app, "worker", func(_ context.Context, j Job) error {
						handled.note(j)
						return nil
					})
					return run(t, app)
				}
				has := func(j Job) func() bool { return func() bool { return slices.Contains(handled.all(), j) } }
				first := start()
				publish(t, first.App, "jobs", Job{Key: "first"})
				await(t, "the group is there", has(Job{Key: "first"}))
				if err := first.stop(); err != nil {
					t.Fatal(err)
				}
				writer := anywire.New(w.options(&config.Config{}))
				t.Cleanup(func() { _ = writer.Close() })
				const lost = 5
				for n := range lost {
					publish(t, writer, "jobs", Job{Key: "lost", N: n})
				}
				if err := b.hands(t, server.URL).trim(t.Context(), w.entry.Prefix+"jobs"); err != nil {
					t.Fatal(err)
				}
				again := start()
				publish(t, writer, "jobs", Job{Key: "last"})
				await(t, "the last is handled", has(Job{Key: "last"}))
				await(t, "health counts what vanished", func() bool { return again.Health().Agents[0].Vanished == lost },
					func() any { return fmt.Sprintf("%+v", again.Health()) })
				if n := len(handled.all()); n != 2 {
					t.Errorf("%d messages were handled, want two", n)
				}
			})
		}
	}
}

// deletion is an agent with handled, running and waiting messages.
type deletion struct {
	t     *testing.T
	w     *world
	order string
	app   *running
	log   logbook
	hold  chan struct{} // handlers wait for it to be closed

	mu   sync.Mutex
	seen map[Job]int
}

func (d *deletion) start() {
	d.t.Helper()
	o := d.w.options(&config.Config{Agents: map[string]config.Agent{
		"worker": {Consumes: "jobs", Order: d.order, Policy: config.Policy{Concurrency: 2}},
	}})
	o.Logger = slog.New(&d.log)
	app := anywire.New(o)
	anywire.Consume(app, "worker", func(ctx context.Context, j Job) error {
		d.mu.Lock()
		d.seen[j]++
		d.mu.Unlock()
		if j.Do != "hold" {
			return nil
		}
		select {
		case <-d.hold:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
	d.app = run(d.t, app)
	publish(d.t, app, "jobs", Job{Key: "a"}, Job{Key: "b"})
	await(d.t, "messages are handled", func() bool { return d.count() == 2 })
	for n := range 6 {
		publish(d.t, app, "jobs", Job{Key: fmt.Sprintf("h%d", n), Do: "hold"})
	}
	await(d.t, "handlers run", func() bool { return d.count() == 4 })
}

func (d *deletion) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.seen)
}

func (d *deletion) has(j Job) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.seen[j] > 0
}

// check first publishes until the agent has noticed: a broker may take a while to
// do what it was told.
func (d *deletion) check(noticed bool) {
	d.t.Helper()
	close(d.hold)
	if noticed {
		await(d.t, "the log says it", func() bool {
			_ = d.app.Publish(d.t.Context(), "jobs", Job{Key: "meanwhile"}) // what comes of it depends on when it comes
			return d.log.says("deleted")
		}, d.state)
	}
	for n := range 3 {
		j := Job{Key: "after", N: n}
		await(d.t, "publishing works", func() bool { return d.app.Publish(d.t.Context(), "jobs", j, anywire.WithKey(j.Key)) == nil })
		await(d.t, "what is published is handled", func() bool { return d.has(j) }, d.state)
	}
	await(d.t, "the agent runs", func() bool { return d.app.Health().Agents[0].State == transport.Running }, d.state)
}

func (d *deletion) state() any {
	return fmt.Sprintf("health %+v; log:\n%s", d.app.Health(), strings.Join(d.log.all(), "\n"))
}

// logbook notes what an app logs, from info on.
type logbook struct{ journal[string] }

var _ slog.Handler = (*logbook)(nil)

func (l *logbook) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

func (l *logbook) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", r.Level, r.Message)
	r.Attrs(func(a slog.Attr) bool {
		fmt.Fprintf(&b, " %s", a)
		return true
	})
	l.note(b.String())
	return nil
}

func (l *logbook) WithAttrs([]slog.Attr) slog.Handler { return l }
func (l *logbook) WithGroup(string) slog.Handler      { return l }

// says reports whether a line has the text.
func (l *logbook) says(text string) bool {
	return slices.ContainsFunc(l.all(), func(line string) bool { return strings.Contains(line, text) })
}

// TestDeadLettersRefused: while a dead-letter topic takes nothing, what belongs
// there is kept, health says so, and all else goes on. Once it takes messages
// again, they are there.
func TestDeadLettersRefused(t *testing.T) {
	t.Parallel()
	eachBrokerOrder(t, func(t *testing.T, b *broker, order string) {
		t.Helper()
		server := b.shared(t)
		w := b.world(t, server)
		var seen journal[Job]
		app := anywire.New(w.options(&config.Config{Agents: map[string]config.Agent{"worker": {Consumes: "jobs", Order: order}}}))
		anywire.Consume(app, "worker", func(_ context.Context, j Job) error {
			if j.Do == "reject" {
				return anywire.Reject(errors.New("as told"))
			}
			seen.note(j)
			return nil
		})
		r := run(t, app)
		dead := func() int { return tally(t, app, "worker.dead") }
		publish(t, app, "jobs", Job{Key: "a", N: 1, Do: "reject"})
		await(t, "a dead letter is stored", func() bool { return dead() == 1 })
		operator, topic := b.hands(t, server.URL), w.entry.Prefix+"worker.dead"
		if err := operator.jam(t.Context(), topic); err != nil {
			t.Fatal(err)
		}
		rejected, stalled := 1, func() bool { return r.Health().Agents[0].Stalled != "" }
		for !stalled() && rejected < 100 { // a broker may take a while to do what it was told
			rejected++
			publish(t, app, "jobs", Job{Key: "b", N: rejected, Do: "reject"})
			await(t, "it is stored, or health says why not", func() bool { return dead() == rejected || stalled() },
				func() any { return r.Health() })
		}
		publish(t, app, "jobs", Job{Key: "c", N: 3})
		await(t, "others are handled", func() bool { return len(seen.all()) == 1 })
		if err := operator.clear(t.Context(), topic); err != nil {
			t.Fatal(err)
		}
		await(t, "it is stored at last", func() bool { return dead() >= rejected }, func() any { return r.Health() })
		await(t, "health is well", func() bool { return r.Health().Agents[0].Stalled == "" }, func() any { return r.Health() })
	})
}

// tally counts what a topic holds; -1: it cannot be read.
func tally(t *testing.T, app *anywire.App, topic string) int {
	t.Helper()
	n := 0
	if reader(t, app).Browse(t.Context(), topic, driver.Start{}, false, func(*transport.Delivery) bool { n++; return true }) != nil {
		return -1
	}
	return n
}
