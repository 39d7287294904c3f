package anywire

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/router"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
)

// plan opens the transports of the agents that run here and describes those
// agents to the router. The configuration is valid.
func (a *App) plan(ctx context.Context) (*router.Options, error) {
	o := &router.Options{
		System: a.config.System(), Route: a.links.route,
		Middleware: a.middleware, PublishMiddleware: a.publishMiddleware,
		Limits: a.limits(), Logger: a.options.Logger, Observe: a.options.Observe,
	}
	onCycle := map[string]bool{}
	for _, cycle := range a.config.Cycles() {
		for _, name := range cycle {
			onCycle[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(a.config.Agents)) {
		if !a.selected(name) {
			continue
		}
		agent, err := a.planAgent(ctx, name)
		if _, ofEntry := errors.AsType[*entryError](err); ofEntry {
			return nil, err // it names the entry that is at fault
		}
		if err != nil {
			return nil, fmt.Errorf("agent %q: %w", name, err)
		}
		agent.OnCycle = onCycle[name]
		o.Agents = append(o.Agents, agent)
	}
	return o, nil
}

func (a *App) planAgent(ctx context.Context, name string) (router.Agent, error) {
	c, _ := a.config.Agent(name)
	t, err := a.links.open(ctx, c.Transport)
	if err != nil {
		return router.Agent{}, err
	}
	if err := a.ensureTopics(ctx, t, &c); err != nil {
		return router.Agent{}, err
	}
	noInbox, err := a.ensureInbox(ctx, t, inboxOf(name))
	if err != nil {
		return router.Agent{}, err
	}
	guard, err := a.guard(ctx, name, &c)
	if err != nil {
		return router.Agent{}, err
	}
	agent := router.Agent{
		NoInbox: noInbox,
		Guard:   guard, ProcessOnStoreError: a.config.Idempotency.OnStoreError == "process",
		Name: name, Transport: t, Topic: c.Consumes, Produces: c.Produces, DeadLetter: c.DeadLetter,
		Policy: policyOf(&c), Subscription: subscriptionOf(name, &c),
	}
	if c.Produces == config.None {
		agent.Produces, agent.Discard = "", true
	}
	if c.Others == "ignore" {
		agent.Others = router.OthersIgnore
	}
	for _, in := range a.handlers[name].inputs {
		agent.Routes = append(agent.Routes, in.route)
	}
	return agent, nil
}

// ensureTopics creates, or checks, what an agent reads and writes. Dead letters
// have no age limit unless they are given one.
func (a *App) ensureTopics(ctx context.Context, t *transport.Transport, c *config.Agent) error {
	if err := a.ensure(ctx, t, c.Consumes, 0); err != nil {
		return err
	}
	if err := a.ensure(ctx, t, c.DeadLetter, -1); err != nil {
		return err
	}
	if c.Produces == "" || c.Produces == config.None {
		return nil
	}
	on, err := a.links.where(c.Produces)
	if err != nil {
		return err
	}
	to, err := a.links.open(ctx, on)
	if err != nil {
		return err
	}
	return a.ensure(ctx, to, c.Produces, 0)
}

// inboxTimeout bounds what makes an inbox: a broker need not answer who has no
// right to ask.
const inboxTimeout = 10 * time.Second

// ensureInbox creates, or checks, an inbox that the router reads. An agent that
// may not have one does without it: that is why.
func (a *App) ensureInbox(ctx context.Context, t *transport.Transport, topic string) (why string, err error) {
	if caps := t.Capabilities(); !caps.Browse || caps.DelaysByCopy {
		return "", nil // nobody reads it, or the driver makes it
	}
	bounded, cancel := context.WithTimeoutCause(ctx, inboxTimeout, fmt.Errorf("no answer within %v", inboxTimeout))
	defer cancel()
	err = a.ensure(bounded, t, topic, 0)
	late := err != nil && bounded.Err() != nil && ctx.Err() == nil
	if late || errors.Is(err, driver.ErrDenied) || errors.Is(err, driver.ErrNotFound) {
		return err.Error(), nil
	}
	return "", err
}

// inboxOf is the topic that an agent alone reads.
func inboxOf(agent string) string { return agent + ".inbox" }

func policyOf(c *config.Agent) router.Policy {
	p := router.Policy{
		Timeout: c.Timeout.Std(),
		Rate:    float64(c.Rate), Breaker: c.Breaker,
		BackoffMin: c.Retry.Backoff.Min.Std(), BackoffMax: c.Retry.Backoff.Max.Std(), MaxHops: c.MaxHops,
	}
	if c.Retry.Immediate != nil {
		p.Immediate = *c.Retry.Immediate
	}
	if c.Retry.Delayed != nil {
		p.Delayed = *c.Retry.Delayed
	}
	return p
}

func subscriptionOf(name string, c *config.Agent) transport.SubscribeOptions {
	o := transport.SubscribeOptions{
		Group: c.Group, Inbox: inboxOf(name), Concurrency: c.Concurrency, Window: c.Window, LaneLimit: c.LaneLimit,
		Lease: c.Lease.Std(), DrainTimeout: c.DrainTimeout.Std(), Order: orderOf(c.Order),
	}
	if from, err := config.ParseFrom(c.From); err == nil {
		o.Start = startOf(from)
	}
	return o
}

func orderOf(name string) transport.Order {
	switch name {
	case "key":
		return transport.OrderKey
	case "strict":
		return transport.OrderStrict
	default:
		return transport.OrderNone
	}
}

func startOf(from config.From) driver.Start {
	switch {
	case from.Now:
		return driver.Start{At: driver.StartNow}
	case !from.Time.IsZero():
		return driver.Start{At: driver.StartTime, Time: from.Time}
	default:
		return driver.Start{}
	}
}
