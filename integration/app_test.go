package integration

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anywire/anywire"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
)

// patience bounds every wait for a condition. It is what a machine needs that
// has other work, not what the condition takes.
const patience = 120 * time.Second

// Job is the message of most tests: number N of a key, and what its handlers
// are to do with it.
type Job struct {
	Key string
	N   int
	Do  string
}

// WireType implements [anywire.Typed].
func (Job) WireType() string { return "it.job@1" }

// running is an app whose Run has been called.
type running struct {
	*anywire.App

	stop    func() error // ends Run's context, as a signal does, and returns Run's error
	dropped atomic.Bool  // by crash
}

// crash drops an app without a drain.
func (r *running) crash(t *testing.T) {
	t.Helper()
	r.dropped.Store(true)
	if err := r.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	_ = r.stop() // that handlers had to be cancelled is what this is about
}

// run runs an app until the test ends; it must end well, unless it is dropped.
func run(t *testing.T, app *anywire.App) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ran := make(chan error, 1)
	go func() { ran <- app.Run(ctx) }()
	r := &running{App: app, stop: sync.OnceValue(func() error {
		cancel()
		return <-ran
	})}
	t.Cleanup(func() {
		if err := r.stop(); err != nil && !r.dropped.Load() {
			t.Errorf("run: %v", err)
		}
	})
	return r
}

// await waits until cond holds; say tells how far it came.
func await(t *testing.T, what string, cond func() bool, say ...func() any) {
	t.Helper()
	if awaits(t.Context(), patience, cond) {
		return
	}
	for _, s := range say {
		t.Logf("%v", s())
	}
	t.Fatalf("%s: not within %v", what, patience)
}

func awaits(ctx context.Context, most time.Duration, cond func() bool) bool {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// browse lists what a topic holds, without taking part in a group.
func browse(t *testing.T, app *anywire.App, topic string) []*transport.Delivery {
	t.Helper()
	var found []*transport.Delivery
	err := reader(t, app).Browse(t.Context(), topic, driver.Start{}, false, func(d *transport.Delivery) bool {
		found = append(found, &transport.Delivery{Envelope: d.Envelope, DecodeErr: d.DecodeErr})
		return true
	})
	if err != nil && !errors.Is(err, driver.ErrNotFound) { // nothing was published there yet
		t.Fatal(err)
	}
	return found
}

// reader is the transport that can browse, and knows lags: the witness where there
// is one.
func reader(t *testing.T, app *anywire.App) *transport.Transport {
	t.Helper()
	tr, err := app.Transport(witness)
	if errors.Is(err, anywire.Invalid) {
		tr, err = app.Transport(bus)
	}
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func publish(t *testing.T, app *anywire.App, topic string, jobs ...Job) {
	t.Helper()
	for _, j := range jobs {
		if err := app.Publish(t.Context(), topic, j, anywire.WithKey(j.Key)); err != nil {
			t.Fatalf("publish %v: %v", j, err)
		}
	}
}

// journal notes what happened, in its order.
type journal[T any] struct {
	mu   sync.Mutex
	list []T
}

func (j *journal[T]) note(v T) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.list = append(j.list, v)
}

func (j *journal[T]) all() []T {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]T(nil), j.list...)
}
