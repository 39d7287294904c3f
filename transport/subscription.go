package transport

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/anywire/anywire/transport/driver"
)

// subscription is one running Subscribe. One lock guards all of it, and nobody
// waits while holding it. The work is divided by file: fetch.go fills the window,
// lanes.go keeps order, worker.go runs handlers, settle.go ends deliveries,
// keeper.go renews leases, owner.go decides which shards to read, drain.go ends
// it all.
type subscription struct {
	t      *Transport
	topic  string // as the user names it
	o      SubscribeOptions
	handle Handler

	base   context.Context //nolint:containedctx // the parent of every handler's; this object is one call
	cancel context.CancelCauseFunc
	group  sync.WaitGroup // fetchers, settlers, the keeper, the owner
	owner  *owner         // of shards; nil where they have none here

	mu      sync.Mutex
	ready   queue
	lanes   map[string]*lane
	spare   []*lane // for reuse
	idle    []*worker
	workers int
	running int
	used    int     // slots of the window: fetched and not settled, or asked for
	hungry  int     // sources that wait for slots
	broken  backoff // of sources that end soon after they were opened
	sources []*source

	draining bool
	aborted  bool
	stopped  bool          // workers leave
	forced   bool          // a handler was cancelled, or left behind
	awaited  int           // goroutines in await
	changed  chan struct{} // closed and replaced for those in await

	state       State
	since       time.Time
	reason      string
	lastSettled time.Time
	vanished    uint64  // messages that the broker dropped, as far as they were told
	events      []Event // told after unlock
}

func newSubscription(t *Transport, topic string, handle Handler, o SubscribeOptions) *subscription {
	return &subscription{
		t: t, topic: topic, o: o, handle: handle,
		lanes:   map[string]*lane{},
		changed: make(chan struct{}),
		state:   Starting, since: time.Now(), reason: "connecting",
	}
}

// unlock tells the observer what happened under the lock.
func (s *subscription) unlock() {
	events := s.events
	s.events = nil
	s.mu.Unlock()
	for _, e := range events {
		s.tell(e)
	}
}

func (s *subscription) tell(e Event) {
	s.t.observe(e)
	log := s.t.log.With("transport", s.t.Name(), "topic", s.topic, "group", s.o.Group)
	switch e := e.(type) {
	case Changed:
		write := log.Info
		if e.trouble {
			write = log.Warn
		}
		write("subscription changed", "state", string(e.Health.State), "reason", e.Health.Reason)
	case Lost:
		log.Warn("delivery lost: it runs again elsewhere", "id", e.ID, "reason", e.Reason)
	}
}

// note keeps an event for unlock, where somebody listens.
func (s *subscription) note(e Event) {
	if s.t.options.Observe != nil {
		s.events = append(s.events, e)
	}
}

// await blocks until cond, which is called under the lock, or ctx ends; it
// returns the last answer of cond.
func (s *subscription) await(ctx context.Context, cond func() bool) bool {
	s.mu.Lock()
	defer s.unlock()
	s.awaited++
	defer func() { s.awaited-- }()
	for !cond() {
		changed := s.changed
		s.unlock()
		select {
		case <-changed:
			s.mu.Lock()
		case <-ctx.Done():
			s.mu.Lock()
			return cond()
		}
	}
	return true
}

// notify wakes those in await.
func (s *subscription) notify() {
	if s.awaited > 0 {
		close(s.changed)
		s.changed = make(chan struct{})
	}
}

// setState notes what the subscription does; only changes are told.
func (s *subscription) setState(state State, reason string) {
	s.change(state, reason, state == Waiting || state == Blocked)
}

// standby waits as it should: other members own all that there is.
func (s *subscription) standby(reason string) {
	s.mu.Lock()
	defer s.unlock()
	s.change(Waiting, reason, false)
}

func (s *subscription) change(state State, reason string, trouble bool) {
	if s.draining && state != Draining || s.state == state && s.reason == reason {
		return
	}
	s.state, s.reason, s.since = state, reason, time.Now()
	s.events = append(s.events, Changed{Health: s.health(), trouble: trouble})
}

func (s *subscription) snapshot() Health {
	s.mu.Lock()
	defer s.unlock()
	return s.health()
}

func (s *subscription) health() Health {
	h := Health{
		Transport: s.t.Name(), Topic: s.topic, Group: s.o.Group,
		State: s.state, Since: s.since, Reason: s.reason,
		Window: s.o.Window, Running: s.running, LastSettled: s.lastSettled,
		Vanished: s.vanished,
	}
	for _, src := range s.sources {
		h.InFlight += src.tasks.size
		if src.shard >= 0 {
			h.Shards = append(h.Shards, src.shard)
		}
		h.Vanished += src.newlyVanished()
		src.tell(&h)
	}
	slices.Sort(h.Shards)
	return h
}

// tell adds what the driver knows of a source that runs.
func (src *source) tell(h *Health) {
	teller, ok := src.driver.(driver.Teller)
	if !ok || h.State != Running {
		return
	}
	if err := teller.Trouble(); err != nil {
		h.State, h.Reason = Blocked, err.Error()
	}
}

// newlyVanished is how many messages the broker dropped that were not told yet.
func (src *source) newlyVanished() uint64 {
	teller, ok := src.driver.(driver.LossTeller)
	if !ok {
		return 0
	}
	return teller.Vanished() - src.vanished
}

// noteVanished tells of them.
func (src *source) noteVanished() {
	n := src.newlyVanished()
	if n == 0 {
		return
	}
	s := src.sub
	src.vanished += n
	s.vanished += n
	s.note(Vanished{s.t.Name(), s.topic, s.o.Group, n})
}
