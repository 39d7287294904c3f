package router_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/router"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/memory"
)

// flaky is a memory broker that refuses some of what handlers publish.
type flaky struct {
	*memory.Broker

	mu   sync.Mutex
	rng  *rand.Rand
	calm bool
}

func (f *flaky) roll(n int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rng.IntN(n)
}

func (f *flaky) Publish(ctx context.Context, topic string, msgs []*driver.Message) error {
	f.mu.Lock()
	fails := !f.calm && topic != "in" && f.rng.IntN(5) == 0
	some := f.rng.IntN(2) == 0
	f.mu.Unlock()
	switch {
	case !fails:
		return f.Broker.Publish(ctx, topic, msgs)
	case some && len(msgs) > 1:
		failed := driver.BatchError{}
		for i := 1; i < len(msgs); i++ {
			failed[i] = errors.New("no answer")
		}
		if err := f.Broker.Publish(ctx, topic, msgs[:1]); err != nil {
			return err
		}
		return failed
	default:
		return errors.New("no answer")
	}
}

var errMood = errors.New("in a mood")

// moody fails in every way that a handler can, and answers in the end.
func (f *flaky) moody(ctx context.Context, e *envelope.Envelope) ([]*envelope.Envelope, error) {
	select {
	case <-time.After(time.Duration(f.roll(50)) * time.Millisecond):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	switch f.roll(20) {
	case 0, 1:
		return nil, errMood
	case 2:
		return nil, envelope.RetryAfter(time.Duration(f.roll(3000))*time.Millisecond, errMood)
	case 3:
		panic(errMood)
	case 4:
		runtime.Goexit()
	case 5:
		<-ctx.Done() // its timeout
		return nil, ctx.Err()
	case 6:
		return nil, envelope.Reject(errMood)
	}
	var outs []*envelope.Envelope
	for i := range f.roll(3) {
		outs = append(outs, &envelope.Envelope{Type: "t.out", SchemaVersion: 1, Subject: e.Subject, Data: strconv.AppendInt(nil, int64(i), 10)})
	}
	return append(outs, &envelope.Envelope{Type: "t.last", SchemaVersion: 1, Subject: e.Subject}), nil
}

// TestStress checks that every message ends once: as its answer, complete, or as
// a dead letter; and that the answers of a key keep its order.
func TestStress(t *testing.T) {
	t.Parallel()
	seeds := uint64(12)
	if os.Getenv("ANYWIRE_TEST_FULL") != "" {
		seeds = 1000
	}
	for seed := uint64(1); seed <= seeds; seed++ {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { stress(t, seed) })
		})
	}
}

func stress(t *testing.T, seed uint64) {
	t.Helper()
	const messages = 200
	rng := rand.New(rand.NewPCG(seed, 0))
	var o memory.Options
	if rng.IntN(2) == 0 {
		o.Paranoid = &memory.Paranoid{Seed: seed}
	}
	broker := &flaky{Broker: memory.New(&o), rng: rand.New(rand.NewPCG(seed, 1))}
	wire := transport.New(broker, &transport.Options{OwnsDriver: true})
	agent := router.Agent{
		Name: "agent", Transport: wire, Topic: "in", Produces: "out", Routes: []router.Route{{Handle: broker.moody}},
		Policy: router.Policy{
			Timeout: 5 * time.Second, Immediate: rng.IntN(3), Delayed: rng.IntN(4), BackoffMin: time.Second, BackoffMax: 5 * time.Second,
		},
		Subscription: transport.SubscribeOptions{
			Order: transport.Order(rng.IntN(2)), Concurrency: 1 + rng.IntN(8), Window: 1 + rng.IntN(40), Lease: 3 * time.Second,
		},
	}
	t.Logf("seed %d: paranoid %v, %+v %+v", seed, o.Paranoid != nil, agent.Policy, agent.Subscription)
	for i := range messages {
		e := &envelope.Envelope{
			ID: "m" + strconv.Itoa(i), Source: "/t", Type: "t.in", SchemaVersion: 1, Key: "k" + strconv.Itoa(i%5), Subject: strconv.Itoa(i),
		}
		if err := wire.Publish(t.Context(), "in", e); err != nil {
			t.Fatal(err)
		}
	}
	r := router.New(&router.Options{
		Agents: []router.Agent{agent}, Route: func(string) (*transport.Transport, error) { return wire, nil },
	})
	for round := range 4 { // with restarts between
		ctx, stop := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- r.Run(ctx) }()
		time.Sleep(time.Duration(rng.IntN(20_000)) * time.Millisecond)
		if round == 3 {
			broker.mu.Lock()
			broker.calm = true
			broker.mu.Unlock()
			time.Sleep(2 * time.Hour)
		}
		stop()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	}
	check(t, wire, messages, agent.Subscription.Order == transport.OrderKey)
	if err := wire.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// check holds the outputs against what must be.
func check(t *testing.T, wire *transport.Transport, messages int, ordered bool) {
	t.Helper()
	answered, dead, last := map[string]bool{}, map[string]bool{}, map[string]int{}
	read := func(topic string, see func(e *envelope.Envelope)) {
		err := wire.Browse(t.Context(), topic, driver.Start{}, false, func(d *transport.Delivery) bool {
			see(d.Envelope)
			return true
		})
		if err != nil && !errors.Is(err, driver.ErrNotFound) {
			t.Error(err)
		}
	}
	read("out", func(e *envelope.Envelope) {
		if e.Type != "t.last" || answered[e.Subject] {
			return
		}
		answered[e.Subject] = true
		n, err := strconv.Atoi(e.Subject)
		if err != nil || ordered && n < last[e.Key] {
			t.Errorf("the answer to %s comes after that to %d (%v)", e.Subject, last[e.Key], err)
		}
		last[e.Key] = n
	})
	read("agent.dead", func(e *envelope.Envelope) { dead[e.Subject] = true })
	for i := range messages {
		if id := fmt.Sprint(i); !answered[id] && !dead[id] {
			t.Errorf("message %s has no answer and is no dead letter", id)
		}
	}
	if lag, err := wire.Lag(t.Context(), "in", "agent"); err != nil || lag.Waiting+lag.Pending > 0 {
		t.Errorf("left at the broker: %+v, %v", lag, err)
	}
}
