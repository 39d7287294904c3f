package router

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/transport"
)

// Options configure a [Router]. The zero value, and nil, describe one without
// agents.
type Options struct {
	System string  // part of the identity of outputs; default "anywire"
	Agents []Agent // run side by side
	// Route says where a topic lives, for outputs. It is called for every
	// output, concurrently, so it must be quick once it has answered.
	Route func(topic string) (*transport.Transport, error)
	// Middleware stands around every attempt of every agent, outermost first;
	// PublishMiddleware around every output.
	Middleware        []envelope.Middleware
	PublishMiddleware []envelope.PublishMiddleware
	Limits            *envelope.Limits      // of outputs; nil: the defaults
	Logger            *slog.Logger          // nil discards
	Observe           func(transport.Event) // must be quick; nil: none
	Host              string                // named in dead letters; default: the machine's name
}

// Router runs agents over transports. It is made by [New], and safe for
// concurrent use.
type Router struct {
	options Options
	sender  *Sender
	limits  envelope.Limits
	log     *slog.Logger
	agents  []*agent
	solo    solo
}

// New returns a router. It starts nothing.
func New(o *Options) *Router {
	r := &Router{}
	if o != nil {
		r.options = *o
	}
	r.options.System = cmp.Or(r.options.System, "anywire")
	r.log = cmp.Or(r.options.Logger, slog.New(slog.DiscardHandler))
	if r.options.Limits != nil {
		r.limits = *r.options.Limits
	}
	if r.options.Host == "" {
		r.options.Host, _ = os.Hostname() // a dead letter without a host is still one
	}
	r.sender = NewSender(r.options.Route, r.options.PublishMiddleware...)
	for i := range r.options.Agents {
		r.agents = append(r.agents, newAgent(r, &r.options.Agents[i]))
	}
	return r
}

// Run subscribes every agent and blocks until ctx ends and all of them have
// drained; then it returns nil. When one cannot start or stops by itself, the
// others are drained and its error is returned. An error that is
// [transport.ErrForced] says that handlers were still running.
func (r *Router) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	errs := make([]error, len(r.agents))
	for _, a := range r.agents {
		if err := a.join(ctx); err != nil {
			if ctx.Err() != nil {
				return nil // told to stop before anything was fetched
			}
			return fmt.Errorf("agent %q: %w", a.Name, err)
		}
	}
	var group sync.WaitGroup
	for i, a := range r.agents {
		group.Go(func() {
			defer stop() // also without an error: its transport was aborted
			if err := a.subscribe(ctx); err != nil {
				errs[i] = fmt.Errorf("agent %q: %w", a.Name, err)
			}
		})
	}
	ended := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() { r.watch(ended) })
	if len(r.agents) == 0 {
		<-ctx.Done()
	}
	group.Wait()
	close(ended)
	watching.Wait()
	return errors.Join(errs...)
}

// Health has a snapshot for every agent, in the order of the options.
func (r *Router) Health() []Health {
	now := time.Now()
	all := make([]Health, 0, len(r.agents))
	for _, a := range r.agents {
		all = append(all, a.health(now))
	}
	return all
}

func (r *Router) observe(e transport.Event) {
	if r.options.Observe != nil {
		r.options.Observe(e)
	}
}
