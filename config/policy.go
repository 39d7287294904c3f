package config

import (
	"cmp"
	"reflect"
	"time"

	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/internal/backoff"
)

// Jitter is the largest part of a wait that is added to it at random, so that
// messages that failed together do not come back together.
const Jitter = backoff.Jitter

// Policy says how an agent's messages are handled. A zero field is not given:
// [Config.Policy] takes it from the defaults.
//
//nolint:lll // a key is described on one line
type Policy struct {
	Concurrency  int            `yaml:"concurrency" doc:"handlers that run at the same time in one process" default:"16" example:"64"`
	Window       int            `yaml:"window" doc:"messages that are fetched and not yet settled in one process" computed:"4 × concurrency, at least 64" example:"256"`
	LaneLimit    int            `yaml:"lane_limit" doc:"messages of one key that a blocked key may hold" computed:"window / 4" example:"16"`
	Timeout      value.Duration `yaml:"timeout" doc:"longest run of a handler for one message" default:"2m" example:"30s"`
	Lease        value.Duration `yaml:"lease" doc:"time after which a dead process's messages go to another" default:"30s" example:"30s"`
	DrainTimeout value.Duration `yaml:"drain_timeout" doc:"time that running handlers have to finish on shutdown" default:"30s" example:"1m"`
	Retry        Retry          `yaml:"retry" doc:"what happens when a handler fails" example:"{ immediate: 2, delayed: 5, backoff: 500ms..1m }"`
	Rate         value.Rate     `yaml:"rate" doc:"most attempts in a second, in one process" computed:"no limit" example:"100/s"`
	Breaker      bool           `yaml:"breaker" doc:"stop attempts while half of them fail, and try one message at a time until that is over" default:"false" example:"true"`
	MaxHops      int            `yaml:"max_hops" doc:"handlers that one conversation may pass before it counts as a loop" default:"32" example:"32"`
}

// Retry says how often and when a failed message is tried again. The numbers
// are pointers because 0 is a choice; new(0) writes one in Go.
//
//nolint:lll // a key is described on one line
type Retry struct {
	Immediate *int        `yaml:"immediate" doc:"retries at once, in place" default:"2" example:"2"`
	Delayed   *int        `yaml:"delayed" doc:"retries after a wait that doubles from the beginning of backoff to its end" default:"5" example:"5"`
	Backoff   value.Range `yaml:"backoff" doc:"first and longest wait before a delayed retry" default:"500ms..1m" example:"1s..5m"`
}

// Policy answers the policy of an agent with every field filled: the agent's
// own over the defaults of the file over the built-in ones. The policy of an
// agent that does not exist is that of one that gives nothing.
func (c *Config) Policy(agent string) Policy {
	p := c.Agents[agent].Policy
	overlayZero(reflect.ValueOf(&p).Elem(), reflect.ValueOf(c.Defaults))
	return p.filled()
}

// filled answers p with the built-in defaults in its zero fields. It shares
// nothing with p.
func (p Policy) filled() Policy {
	fillDefaults(reflect.ValueOf(&p).Elem())
	p.Retry.Immediate, p.Retry.Delayed = new(*p.Retry.Immediate), new(*p.Retry.Delayed)
	if p.Window == 0 {
		p.Window = max(4*p.Concurrency, 64)
	}
	if p.LaneLimit == 0 {
		p.LaneLimit = max(p.Window/4, 1)
	}
	return p
}

// Attempts is how often a message that always fails is tried: once, and every
// retry.
func (p Policy) Attempts() int { return len(p.Waits()) + 1 }

// Waits answers the wait before each retry, without jitter: the entry at i is
// the wait between attempt i+1 and attempt i+2. The immediate retries come
// first and wait 0; the delayed retry k, from 1, waits the beginning of the
// backoff doubled k-1 times, at most its end. Up to [Jitter] of each wait is
// added by whoever waits. Zero fields of p count as the built-in defaults.
func (p Policy) Waits() []time.Duration {
	p = p.filled()
	immediate, delayed := p.Retry.counts()
	waits := make([]time.Duration, immediate, immediate+delayed)
	for n := range delayed {
		waits = append(waits, backoff.Delay(p.Retry.Backoff.Min.Std(), p.Retry.Backoff.Max.Std(), n))
	}
	return waits
}

// The most retries that a policy may ask for.
const (
	maxImmediate = 100
	maxDelayed   = 1000
)

// counts answers how many retries there are, within what is allowed even where
// nobody checked.
func (r Retry) counts() (immediate, delayed int) {
	return min(max(*r.Immediate, 0), maxImmediate), min(max(*r.Delayed, 0), maxDelayed)
}

// Agent answers an agent with every field filled, as [Config.Policy] does for
// its policy, and whether it exists. Transport is where its topic lives, or
// what it names itself where that is disputed.
func (c *Config) Agent(name string) (Agent, bool) {
	if _, ok := c.Agents[name]; !ok {
		return Agent{}, false
	}
	return c.wires().agent(name), true
}

func (w *wires) agent(name string) Agent {
	a, c := w.Agents[name], w.Config
	a.Policy = c.Policy(name)
	fillDefaults(reflect.ValueOf(&a).Elem())
	if a.Group == "" {
		a.Group = name
	}
	if a.DeadLetter == "" {
		a.DeadLetter = deadLetterOf(name)
	}
	if lives, err := w.where(a.Consumes); err == nil {
		a.Transport = lives
	} else if a.Transport == "" {
		a.Transport = c.DefaultTransport()
	}
	return a
}

// System is the name of the system, or its default.
func (c *Config) System() string { return cmp.Or(c.Name, defaultName) }

// DefaultTransport is the name of the transport of whatever names none.
func (c *Config) DefaultTransport() string {
	if c.Transport == "" {
		return Memory
	}
	return c.Transport
}

// Kind answers the kind of a transport, and whether there is such a transport.
// Memory exists without an entry.
func (c *Config) Kind(transport string) (kind string, ok bool) {
	entry, ok := c.Transports[transport]
	switch {
	case ok && entry.Kind != "":
		return entry.Kind, true
	case ok || transport == Memory:
		return transport, true
	}
	return "", false
}

func deadLetterOf(agent string) string { return agent + ".dead" }
