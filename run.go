package anywire

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/anywire/anywire/router"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
)

// run is one call of Run.
type run struct {
	app    *App
	stop   context.CancelFunc // begins the drain
	router *router.Router
	done   chan struct{} // closed when everything has ended
	err    error         // what Run returns; set before done is closed

	mu       sync.Mutex
	draining bool
}

// Run validates, starts every agent that the configuration names (of those that
// -agents selects) and what runs [App.Beside] them, and blocks until ctx ends.
// Then it drains: it fetches nothing more, hands back what has not started, lets
// handlers finish for the agent's drain timeout, publishes their outputs,
// settles, and closes what the app opened. After a clean drain it returns nil.
//
// It also drains when a function beside returns, with that one's error, and when
// an agent cannot go on. Validation's error is a [config.Problems]; one that is
// [transport.ErrForced] says that handlers had to be cancelled. An app runs once,
// and not after Close: that is [driver.ErrClosed]. With neither agents nor
// functions beside them Run warns, and blocks until ctx ends all the same.
func (a *App) Run(ctx context.Context) error {
	if a.current() == nil && a.links.isClosed() {
		return fmt.Errorf("run: the app is closed: %w", driver.ErrClosed)
	}
	if err := a.Validate(); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	r, err := a.begin(stop)
	if err != nil {
		return err
	}
	err = r.work(ctx)
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), openTimeout)
	defer cancel()
	err = errors.Join(err, a.shut(closing))
	r.end(err)
	return err
}

// begin claims the app's one run.
func (a *App) begin(stop context.CancelFunc) (*run, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ran {
		return nil, &Error{Code: Unsupported, Message: "the app runs already, or has run: make another with New"}
	}
	a.ran, a.sealed = true, "Run"
	a.running = &run{app: a, stop: stop, done: make(chan struct{})}
	return a.running, nil
}

func (r *run) work(ctx context.Context) error {
	o, err := r.app.plan(ctx)
	if err != nil {
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			return nil // told to stop before anything had started
		}
		return err
	}
	r.warnOfCycles()
	if len(o.Agents) == 0 && len(r.app.beside) == 0 {
		r.app.options.Logger.Warn("nothing runs here: the configuration names no agent, and no function runs beside")
	}
	r.mu.Lock()
	r.router = router.New(o)
	r.mu.Unlock()
	stopped := context.AfterFunc(ctx, r.drains)
	defer stopped()
	return r.together(ctx)
}

// together runs the agents and what runs beside them; the first to end, ends
// all.
func (r *run) together(ctx context.Context) error {
	errs := make([]error, len(r.app.beside)+1)
	var group sync.WaitGroup
	for _, outbox := range r.app.outboxes() {
		group.Go(func() {
			if err := outbox.RunOutbox(ctx, r.app.publishAll); err != nil {
				r.app.options.Logger.Error("the outbox is not published", "error", err)
			}
		})
	}
	for i, fn := range r.app.beside {
		group.Go(func() {
			defer r.stop()
			if err := fn(ctx); err != nil && (ctx.Err() == nil || !errors.Is(err, context.Canceled)) {
				errs[i+1] = err
			}
		})
	}
	errs[0] = r.router.Run(ctx)
	r.stop()
	group.Wait()
	return errors.Join(errs...)
}

func (r *run) drains() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.draining {
		r.draining = true
		r.app.options.Logger.Info("draining")
	}
}

func (r *run) end(err error) {
	r.err = err
	close(r.done)
}

func (r *run) warnOfCycles() {
	for _, cycle := range r.app.config.Cycles() {
		r.app.options.Logger.Warn("agents go round in a circle, the hop limit ends what never leaves it",
			"agents", cycle, "max_hops", r.app.config.Policy(cycle[0]).MaxHops)
	}
}

// Shutdown drains the running app, as the end of Run's context does, and returns
// when Run is about to. When ctx ends first, handlers are cancelled, what they
// had goes back to the broker, and the error is [transport.ErrForced]. An app
// that does not run only closes what it opened. Calling it again is harmless; a
// handler must not call it.
func (a *App) Shutdown(ctx context.Context) error {
	r := a.current()
	if r == nil {
		return a.shut(ctx)
	}
	r.stop()
	select {
	case <-r.done:
	case <-ctx.Done():
		a.links.abort()
		<-r.done
		return fmt.Errorf("shutdown: %w: %w", transport.ErrForced, context.Cause(ctx))
	}
	if errors.Is(r.err, transport.ErrForced) {
		return fmt.Errorf("shutdown: %w", transport.ErrForced)
	}
	return nil
}

// Close drops everything at once: handlers are cancelled, and what they had goes
// back to the broker. Publish fails from then on. Calling it again is harmless; a
// handler must not call it.
func (a *App) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	if r := a.current(); r != nil {
		r.stop()
		a.links.abort()
		<-r.done
	}
	return a.shut(ctx)
}

func (a *App) current() *run {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.running
}
