package transport_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/memory"
)

// model is what must hold, whatever the broker and the handlers do.
type model struct {
	t       *testing.T
	ordered bool

	mu      sync.Mutex
	done    map[string]bool
	byKey   map[string][]int // first completions
	running map[int]int      // by member
	most    map[int]int
	handled int
	failed  int
}

func newModel(t *testing.T) *model {
	t.Helper()
	return &model{t: t, done: map[string]bool{}, byKey: map[string][]int{}, running: map[int]int{}, most: map[int]int{}}
}

func (m *model) failf(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failed++; m.failed <= 5 {
		m.t.Errorf(format, args...)
	}
}

func (m *model) isDone(id string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.done[id]
}

func (m *model) completed() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.done)
}

func (m *model) enter(member int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.handled++
	m.running[member]++
	m.most[member] = max(m.most[member], m.running[member])
}

func (m *model) leave(member int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.running[member]--
}

// complete notes the first completion of a message. Its number counts the
// messages of its key.
func (m *model) complete(e *envelope.Envelope) {
	n, err := strconv.Atoi(e.Subject)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil || m.done[e.ID] {
		return
	}
	m.done[e.ID] = true
	before := m.byKey[e.Key]
	m.byKey[e.Key] = append(before, n)
	if m.ordered && e.Key != "" && n != len(before) {
		if m.failed++; m.failed <= 5 {
			m.t.Errorf("key %s: number %d is done after %v", e.Key, n, before)
		}
	}
}

// scene is one randomised run: a broker, members that come and go, messages.
type scene struct {
	*model

	seed     uint64
	rng      *rand.Rand
	broker   *memory.Broker
	options  transport.SubscribeOptions
	unruly   bool
	shards   int
	messages int
	members  []*actor
}

// actor is one member of the group.
type actor struct {
	wire   *transport.Transport
	link   *unruly
	stop   context.CancelFunc
	result chan error
}

// newScene draws one from a seed.
func newScene(t *testing.T, seed uint64) *scene {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 0))
	s := &scene{model: newModel(t), seed: seed, rng: rng, messages: 300, unruly: rng.IntN(4) > 0, shards: 1 + rng.IntN(4)}
	var o memory.Options
	if rng.IntN(2) == 0 {
		o.Paranoid = &memory.Paranoid{Seed: seed}
	}
	s.broker = memory.New(&o)
	s.options = transport.SubscribeOptions{
		Group: "g", Order: transport.Order(rng.IntN(2)), Concurrency: 1 + rng.IntN(8), Window: 1 + rng.IntN(40),
		LaneLimit: rng.IntN(6), Lease: time.Duration(1+rng.IntN(10)) * time.Second, DrainTimeout: time.Duration(1+rng.IntN(20)) * time.Second,
	}
	if rng.IntN(8) == 0 {
		s.options.Order, s.shards = transport.OrderStrict, 1
	}
	s.ordered = s.options.Order != transport.OrderNone
	t.Logf("seed %d: unruly %v, shards %d, paranoid %v, %+v", seed, s.unruly, s.shards, o.Paranoid != nil, s.options)
	if _, err := s.broker.EnsureTopic(t.Context(), driver.Topic{Name: "topic", Shards: s.shards}); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *scene) join() {
	n := len(s.members)
	a := &actor{result: make(chan error, 1), link: newUnruly(s.broker, s.model, s.seed, uint64(n)+1)}
	if !s.unruly {
		a.link.calmDown()
	}
	a.wire = transport.New(a.link, nil)
	ctx, stop := context.WithCancel(context.WithoutCancel(s.t.Context()))
	a.stop = stop
	o := s.options
	o.Member = "member" + strconv.Itoa(n)
	moods := rand.New(rand.NewPCG(s.seed, 1000+uint64(n)))
	var mu sync.Mutex
	roll := func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return moods.IntN(n)
	}
	s.members = append(s.members, a)
	go func() {
		a.result <- a.wire.Subscribe(ctx, "topic", func(ctx context.Context, d *transport.Delivery) transport.Outcome {
			s.enter(n)
			defer s.leave(n)
			return s.handle(ctx, d, roll)
		}, &o)
	}()
}

// handle is a handler of every mood. Mostly it does its work.
func (s *scene) handle(ctx context.Context, d *transport.Delivery, roll func(int) int) transport.Outcome {
	work := time.Duration(roll(20)) * time.Millisecond
	if roll(50) == 0 {
		work = time.Duration(roll(12000)) * time.Millisecond
	}
	if roll(4) == 0 {
		time.Sleep(work) // it does not look at its context
	} else {
		select {
		case <-time.After(work):
		case <-ctx.Done():
			return transport.HandBack()
		}
	}
	switch mood := roll(60); {
	case mood < 4:
		return transport.WaitInLane(time.Duration(roll(3000)) * time.Millisecond)
	case mood < 6:
		return transport.RedeliverAfter(time.Duration(roll(3000))*time.Millisecond, 1)
	case mood == 6:
		return transport.HandBack()
	case mood == 7:
		runtime.Goexit()
	}
	s.complete(d.Envelope)
	return transport.Done()
}

// publish sends all messages, in pieces.
func (s *scene) publish() {
	wire := transport.New(s.broker, nil)
	rng := rand.New(rand.NewPCG(s.seed, 2000))
	numbers := map[string]int{}
	for sent := 0; sent < s.messages; {
		var es []*envelope.Envelope
		for range 1 + rng.IntN(30) {
			key := ""
			if k := rng.IntN(7); k > 0 {
				key = "k" + strconv.Itoa(k)
			}
			if s.options.Order == transport.OrderStrict {
				key = "all"
			}
			es = append(es, &envelope.Envelope{
				ID: fmt.Sprint("m", sent), Source: "/t", Type: "t.m", SchemaVersion: 1, Key: key, Subject: strconv.Itoa(numbers[key]),
			})
			numbers[key]++
			sent++
		}
		if err := wire.Publish(s.t.Context(), "topic", es...); err != nil {
			s.t.Error(err)
		}
		time.Sleep(time.Duration(rng.IntN(400)) * time.Millisecond)
		s.messages = max(s.messages, sent)
	}
}

// upset lets members come and go.
func (s *scene) upset() {
	for range 6 {
		time.Sleep(time.Duration(s.rng.IntN(6000)) * time.Millisecond)
		switch s.rng.IntN(5) {
		case 0, 1:
			s.join()
		case 2:
			a := s.members[s.rng.IntN(len(s.members))]
			a.stop()
		case 3:
			s.members[s.rng.IntN(len(s.members))].wire.Abort()
		}
	}
	s.join()
	for _, a := range s.members {
		a.link.calmDown()
	}
}

func (s *scene) play() {
	s.join()
	var both sync.WaitGroup
	both.Go(s.publish)
	s.upset()
	both.Wait()
	for range 600 {
		if s.completed() >= s.messages && s.left() == 0 {
			break
		}
		time.Sleep(time.Second)
	}
	s.settled()
	s.end()
}

func (s *scene) left() int64 {
	lag, err := s.broker.Lag(s.t.Context(), "topic", "g")
	if err != nil {
		s.t.Error(err)
	}
	return lag.Waiting + lag.Pending
}

// settled checks that nothing is lost, left or held.
func (s *scene) settled() {
	if n, left := s.completed(), s.left(); n != s.messages || left != 0 {
		s.t.Errorf("%d of %d messages were handled, %d are still at the broker", n, s.messages, left)
	}
	pass(15 * time.Second) // handlers of lost deliveries return
	for i, a := range s.members {
		for _, h := range a.wire.Health() {
			if taken, asked := transport.Slots(a.wire); h.InFlight != 0 || taken != asked {
				s.t.Errorf("member %d: %d slots are taken, fetches asked for %d: %+v", i, taken, asked, h)
			}
		}
	}
}

func (s *scene) end() {
	window := s.options.Window
	if s.ordered {
		window = max(window, 2*s.shards)
	}
	for i, a := range s.members {
		a.stop()
		began := time.Now()
		if err := <-a.result; err != nil && !errors.Is(err, transport.ErrForced) {
			s.t.Errorf("member %d: %v", i, err)
		}
		if took := time.Since(began); took > time.Minute {
			s.t.Errorf("member %d ends after %v", i, took)
		}
		if s.most[i] > s.options.Concurrency {
			s.t.Errorf("member %d: %d handlers at once", i, s.most[i])
		}
		if a.link.most > window && !s.unruly { // what is lost frees its slot before the broker hears of it
			s.t.Errorf("member %d: %d deliveries at once", i, a.link.most)
		}
	}
	time.Sleep(15 * time.Second) // those that were left behind return
	if err := s.broker.Close(context.WithoutCancel(s.t.Context())); err != nil {
		s.t.Error(err)
	}
}

// TestStress runs what nobody would think of. ANYWIRE_TEST_FULL=1 plays more of
// it, ANYWIRE_TEST_SEED one scene.
func TestStress(t *testing.T) {
	t.Parallel()
	seeds := slices.Collect(func(yield func(uint64) bool) {
		n := uint64(40)
		if os.Getenv("ANYWIRE_TEST_FULL") != "" {
			n = 1000
		}
		for seed := uint64(1); seed <= n && yield(seed); seed++ {
		}
	})
	if one, err := strconv.ParseUint(os.Getenv("ANYWIRE_TEST_SEED"), 10, 64); err == nil {
		seeds = []uint64{one}
	}
	for _, seed := range seeds {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { newScene(t, seed).play() })
		})
	}
}
