package router

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/idempotency"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
)

// Grace is how long a handler may go on after its timeout before its slot
// counts as abandoned and its answer is no longer taken.
const Grace = 30 * time.Second

// Agent is one consumer group of one topic and what it does with messages.
type Agent struct {
	Name      string               // also the source of its outputs: /agents/<name>
	Transport *transport.Transport // where it consumes and keeps its dead letters
	Topic     string
	Produces  string // where outputs without a topic go; empty: nowhere, which is an error
	Discard   bool   // drop returned outputs that have nowhere to go, instead
	// Routes are the handlers by type and version. The one without a type takes
	// everything whose type no other names.
	Routes     []Route
	Middleware []envelope.Middleware // around its attempts, inside the router's; outermost first
	Others     Others                // what happens to types that no route names
	DeadLetter string                // topic of its dead letters; default <name>.dead
	// OnCycle says that Produces leads back to this agent: inside one process
	// its outputs must then never wait for room.
	OnCycle bool
	Policy  Policy
	// Guard remembers what was handled; nil: nothing is.
	Guard *idempotency.Guard
	// ProcessOnStoreError handles messages without records while the store does not
	// answer, instead of keeping them: a message may then be handled twice.
	ProcessOnStoreError bool
	// Subscription is passed to the transport. Its Group defaults to Name. An Inbox
	// that it names is read beside Topic, with the same handlers and slots: by the
	// driver where it delays by copies, else by the router, where the transport can
	// browse.
	Subscription transport.SubscribeOptions
	// NoInbox says why the router shall not read the inbox, which then shows in
	// health; empty: it does.
	NoInbox string
}

// Route is the handler of one version of one type.
type Route struct {
	Type    string // without version; empty: every other type
	Version int
	Handle  envelope.Handler
}

// Others says what happens to messages of types that no route names.
type Others uint8

// What happens to other types.
const (
	OthersDeadLetter Others = iota
	OthersIgnore            // acknowledged and counted
)

// Policy is how attempts are made and repeated. The zero value makes one
// attempt without a timeout.
type Policy struct {
	Timeout    time.Duration // of one attempt; 0: none
	Immediate  int           // retries at once, in place
	Delayed    int           // retries after a delay, after those
	BackoffMin time.Duration // before the first delayed retry; doubled for each further one; default 500 ms
	BackoffMax time.Duration // bound of the backoff, which jitter may pass by 20 %; default 1 min
	MaxHops    int           // handlers that a conversation may pass; default 32
	Rate       float64       // most attempts in a second, in this process; 0: no limit
	// Breaker stops the agent's attempts, without counting any, while half of the
	// last 20 fail over at least 5 messages; one message at a time then tries
	// whether that is over.
	Breaker bool
}

// attempts is how often a message is tried in all.
func (p *Policy) attempts() int { return 1 + p.Immediate + p.Delayed }

func (p *Policy) setDefaults() {
	if p.BackoffMin <= 0 {
		p.BackoffMin = 500 * time.Millisecond
	}
	if p.BackoffMax <= 0 {
		p.BackoffMax = time.Minute
	}
	p.BackoffMax = max(p.BackoffMax, p.BackoffMin)
	if p.MaxHops <= 0 {
		p.MaxHops = 32
	}
}

// agent is an Agent at work.
type agent struct {
	Agent

	router  *Router
	caps    driver.Capabilities
	source  string
	byType  map[string]versions
	rest    envelope.Handler
	running slots
	counts  counts
	stall   atomic.Pointer[stall]
	gate    gate                   // of topic and inbox
	noInbox atomic.Pointer[string] // why the inbox is not read
	beating sync.Mutex             // held by one of the two subscriptions

	breaker  breaker
	limit    limiter
	parked   parked
	settling settling
}

// versions are the handlers of one type.
type versions map[int]envelope.Handler

func newAgent(r *Router, described *Agent) *agent {
	a := &agent{Agent: *described, router: r, byType: map[string]versions{}}
	a.source = "/agents/" + a.Name
	a.Policy.setDefaults()
	if a.DeadLetter == "" {
		a.DeadLetter = a.Name + ".dead"
	}
	if a.Subscription.Group == "" {
		a.Subscription.Group = a.Name
	}
	if a.Guard == nil {
		a.Guard = idempotency.NewGuard(nil, &idempotency.Options{System: r.options.System, Group: a.Subscription.Group})
	}
	a.Subscription.Beat = a.beat
	if a.NoInbox != "" {
		a.noInbox.Store(&a.NoInbox)
	}
	a.breaker.on, a.limit = a.Policy.Breaker, newLimiter(a.Policy.Rate)
	if a.Transport != nil {
		a.caps = a.Transport.Capabilities()
	}
	a.running = newSlots(a.concurrency())
	a.gate.limit = int32(min(a.concurrency(), math.MaxInt32))
	for _, route := range a.Routes {
		a.add(route)
	}
	return a
}

func (a *agent) add(route Route) {
	handle := a.wrap(route.Handle)
	if route.Type == "" {
		a.rest = handle
		return
	}
	if a.byType[route.Type] == nil {
		a.byType[route.Type] = versions{}
	}
	a.byType[route.Type][route.Version] = handle
}

// wrap puts the middlewares around a handler: the agent's, and the router's
// around those.
func (a *agent) wrap(h envelope.Handler) envelope.Handler {
	for _, m := range slices.Backward(a.Middleware) {
		h = m(h)
	}
	for _, m := range slices.Backward(a.router.options.Middleware) {
		h = m(h)
	}
	return h
}

func (a *agent) concurrency() int {
	switch {
	case a.Subscription.Order == transport.OrderStrict:
		return 1
	case a.Subscription.Concurrency > 0:
		return a.Subscription.Concurrency
	default:
		return 16
	}
}

// join makes the agent's group, so that no other agent's is the only one.
func (a *agent) join(ctx context.Context) error {
	if a.Transport == nil {
		return nil // subscribe says so
	}
	return a.Transport.Join(ctx, a.Topic, &a.Subscription)
}

func (a *agent) subscribe(ctx context.Context) error {
	if a.Transport == nil {
		return &envelope.Error{Code: envelope.Invalid, Message: "it has no transport"}
	}
	var err error
	if a.readsInbox() {
		err = a.subscribeBoth(ctx)
	} else {
		err = a.Transport.Subscribe(ctx, a.Topic, a.handle, &a.Subscription)
	}
	a.flushSettled(ctx)
	return err
}

// handlerOf finds who handles e, or says why nobody does.
func (a *agent) handlerOf(e *envelope.Envelope) (envelope.Handler, error) {
	known, named := a.byType[e.Type]
	if h := known[e.SchemaVersion]; h != nil {
		return h, nil
	}
	if named {
		return nil, &envelope.Error{Code: envelope.UnknownVersion, Message: fmt.Sprintf(
			"version %d of %s is not known: this worker knows %s", e.SchemaVersion, e.Type, known.list())}
	}
	if a.rest != nil {
		return a.rest, nil
	}
	return nil, &envelope.Error{Code: envelope.UnknownType, Message: fmt.Sprintf(
		"no handler of agent %q takes type %q: it takes %s", a.Name, e.Type, a.typeList())}
}

func (v versions) list() string {
	numbers := make([]int, 0, len(v))
	for n := range v {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	names := make([]string, len(numbers))
	for i, n := range numbers {
		names[i] = strconv.Itoa(n)
	}
	return strings.Join(names, ", ")
}

func (a *agent) typeList() string {
	names := make([]string, 0, len(a.byType))
	for name := range a.byType {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
