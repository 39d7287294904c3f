package anywire

import (
	"github.com/anywire/anywire/router"
	"github.com/anywire/anywire/transport"
)

// Health is a snapshot of an app.
type Health struct {
	// Ready: the app runs and every agent has subscribed; false again as soon as
	// it drains. It stays true while a broker is away, which the agents outlast:
	// their State and Reason tell. Live: a restart would not help; false when half
	// of an agent's slots are held by handlers that ignore the end of their
	// context.
	Ready, Live bool
	// Reason says why one of them is false; once Run has returned it is "stopped",
	// or Run's error.
	Reason string
	// Agents has one entry for each agent that runs here, by name.
	Agents []router.Health
}

// Health says how the app is. It is cheap and may be called at any time.
func (a *App) Health() Health {
	h := Health{Live: true}
	r := a.current()
	if r == nil {
		h.Reason = "not running"
		return h
	}
	h.of(r)
	select {
	case <-r.done:
		h.Ready, h.Reason = false, "stopped"
		if r.err != nil {
			h.Reason = r.err.Error()
		}
	default:
	}
	return h
}

// of fills in what a call of Run says.
func (h *Health) of(r *run) {
	r.mu.Lock()
	agents, draining := r.router, r.draining
	r.mu.Unlock()
	if agents == nil {
		h.Reason = "opening transports"
		return
	}
	h.Agents = agents.Health()
	h.Ready = !draining
	if draining {
		h.Reason = "draining"
	}
	for i := range h.Agents {
		h.judge(&h.Agents[i])
	}
}

// judge lets one agent's state count.
func (h *Health) judge(agent *router.Health) {
	if live, reason := agent.Live(); !live {
		h.Live, h.Reason = false, reason
	}
	for _, state := range [...]transport.State{agent.State, agent.Inbox.State} {
		switch state {
		case transport.Starting, transport.Draining, router.Stopped:
			if h.Ready {
				h.Ready, h.Reason = false, "agent "+agent.Agent+" is "+string(state)
			}
		}
	}
}
