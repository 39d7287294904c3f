package integration

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/anywire/anywire"
	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/config/value"
)

// TestRebalanceStorm: workers that come, leave and drop without a word, one after
// the other and under load, lose nothing, and the first completions of a key keep
// their order.
func TestRebalanceStorm(t *testing.T) {
	t.Parallel()
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			w := b.start(t).leased(stormLease)
			s := &storm{w: w, order: keyed(t, w.entry.Kind, w.caps)}
			s.test(t, scale(6, 60))
		})
	}
}

const stormLease = time.Second

// storm is one agent in ever other processes, with order by key if there is any.
type storm struct {
	w     *world
	order string
	done  journal[Job]

	mu   sync.Mutex
	sent int
}

func (s *storm) test(t *testing.T, changes int) {
	t.Helper()
	publisher := s.app()
	t.Cleanup(func() { _ = publisher.Close() })
	members := []*running{run(t, s.app()), run(t, s.app())}
	ctx, stop := context.WithCancel(t.Context())
	var group sync.WaitGroup
	t.Cleanup(group.Wait)
	t.Cleanup(stop)
	group.Go(func() { s.publish(ctx, t, publisher) })
	for i := range changes {
		s.awaitProgress(t)
		oldest := members[0]
		members = append(members[1:], run(t, s.app()))
		if i%3 == 2 {
			oldest.crash(t)
			continue
		}
		if err := oldest.stop(); err != nil {
			t.Errorf("drain: %v", err)
		}
	}
	s.awaitProgress(t)
	stop()
	group.Wait()
	await(t, "everything is handled", func() bool { return len(firsts(s.done.all())) == s.published() }, s.state)
	if s.order == "key" {
		checkRising(t, s.done.all())
	}
}

func (s *storm) app() *anywire.App {
	app := anywire.New(s.w.options(&config.Config{
		Topics: map[string]config.Topic{"jobs": {Shards: 4}},
		Agents: map[string]config.Agent{"worker": {Consumes: "jobs", Order: s.order, Policy: config.Policy{Lease: value.Duration(stormLease)}}},
	}))
	anywire.Consume(app, "worker", func(ctx context.Context, j Job) error {
		if err := pause(ctx, 2*time.Millisecond); err != nil {
			return err
		}
		s.done.note(j)
		return nil
	})
	return app
}

func (s *storm) publish(ctx context.Context, t *testing.T, app *anywire.App) {
	t.Helper()
	for n := 1; ctx.Err() == nil; n++ {
		j := Job{Key: fmt.Sprintf("k%d", n%16), N: n}
		if err := app.Publish(context.WithoutCancel(ctx), "jobs", j, anywire.WithKey(j.Key)); err != nil {
			t.Errorf("publish: %v", err)
			return
		}
		s.mu.Lock()
		s.sent++
		s.mu.Unlock()
		_ = pause(ctx, 2*time.Millisecond)
	}
}

func (s *storm) published() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent
}

// awaitProgress waits until messages that are published from now on come through.
func (s *storm) awaitProgress(t *testing.T) {
	t.Helper()
	sent := s.published()
	await(t, "messages flow", func() bool { return len(firsts(s.done.all())) >= sent+10 }, s.state)
}

func (s *storm) state() any {
	return fmt.Sprintf("%d published, %d handled", s.published(), len(firsts(s.done.all())))
}
