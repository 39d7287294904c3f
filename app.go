package anywire

import (
	"context"
	"log/slog"
	"sync"

	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/idempotency"
	"github.com/anywire/anywire/router"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
)

// Options configure an [App]. The zero value, and nil, are the defaults.
type Options struct {
	// Config is the configuration. Nil: [App.Main] reads the files that -c
	// names, and [App.Run] takes the zero Config. It must not be changed once
	// the app publishes or runs.
	Config *config.Config
	// Kinds are what the configuration may name as a transport, besides memory, and
	// as a store of idempotency records.
	Kinds []Kind
	// Drivers are open ones by the name of a transport, in place of what the
	// configuration says under that name. The app never closes them.
	Drivers map[string]driver.Driver
	// Store keeps the idempotency records of every agent, in place of what the
	// configuration says. The app never closes it.
	Store idempotency.Store
	// Logger gets one line per change of state, and per message that leaves the
	// normal path; never a payload. Nil discards; Main then logs text to stderr.
	Logger *slog.Logger
	// Observe gets the events of packages transport and router. It is called
	// while work waits, concurrently, so it must be quick. Nil: none.
	Observe func(transport.Event)
}

// Kind is a sort of transport, or of store, that a configuration may name: what the
// Kind function of a driver's or store's package returns.
type Kind interface{ KindName() string }

// App is a set of agents and what they run on. Apps share nothing: a process may
// have several.
type App struct {
	options Options

	mu                sync.Mutex
	config            *config.Config
	only              []string // the agents to run; nil: all
	handlers          map[string]*registered
	types             map[string]declared // by wire type
	middleware        []envelope.Middleware
	publishMiddleware []envelope.PublishMiddleware
	beside            []func(context.Context) error
	sealed            string // why nothing may be registered any more; empty: it may

	unlogged bool // no logger was given
	links    links
	stores   stores
	prepared *config.Config // what config is once it is completed
	sender   *router.Sender
	running  *run // nil: not running
	ran      bool
}

// New returns an app. It starts nothing and cannot fail: what is wrong with the
// options is reported by [App.Validate] and [App.Run].
func New(o *Options) *App {
	a := &App{handlers: map[string]*registered{}, types: map[string]declared{}}
	if o != nil {
		a.options = *o
	}
	if a.options.Logger == nil {
		a.unlogged = true
		a.options.Logger = slog.New(slog.DiscardHandler)
	}
	a.config = a.options.Config
	if a.config == nil {
		a.config = &config.Config{}
	}
	a.links.app = a
	return a
}

// Use puts middlewares around every attempt of every agent, the first outermost.
// They stand inside the policy: timeout, panics and retries include them.
func (a *App) Use(m ...envelope.Middleware) {
	mustNotBeNil("Use at "+caller(), m)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mustBeOpen("Use")
	a.middleware = append(a.middleware, m...)
}

// UsePublish puts middlewares around every message that is published: by
// [App.Publish] and by handlers, one call for each message, the first outermost.
func (a *App) UsePublish(m ...envelope.PublishMiddleware) {
	mustNotBeNil("UsePublish at "+caller(), m)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mustBeOpen("UsePublish")
	a.publishMiddleware = append(a.publishMiddleware, m...)
}

// Beside has fn run beside the agents, in [App.Run]: a server, a producer, a
// timer. When fn returns the app drains, and its error is Run's. Its context
// ends when the drain begins; Run waits until it has returned.
func (a *App) Beside(fn func(ctx context.Context) error) {
	if fn == nil {
		panic("anywire: Beside at " + caller() + ": the function is nil")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mustBeOpen("Beside")
	a.beside = append(a.beside, fn)
}

// Transport returns a transport by its name in the configuration, the layer
// below the agents, and opens it if need be. An empty name is the default
// transport. It stays the app's: do not close it.
func (a *App) Transport(name string) (*transport.Transport, error) {
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	a.mu.Lock()
	a.prepare()
	a.mu.Unlock()
	if name == "" {
		name = a.config.DefaultTransport()
	}
	return a.links.open(ctx, name)
}

// TransportOf returns the transport on which a topic lives, and opens it if need
// be: that of the agent that consumes it or whose dead letters it holds, else the
// default. It stays the app's: do not close it.
func (a *App) TransportOf(topic string) (*transport.Transport, error) {
	a.mu.Lock()
	a.prepare()
	a.mu.Unlock()
	return a.links.route(topic)
}

// mustBeOpen panics where registration is over. The caller holds the lock.
func (a *App) mustBeOpen(what string) {
	if a.sealed != "" {
		panic("anywire: " + what + " after " + a.sealed + ": register everything before")
	}
}
