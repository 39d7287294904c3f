package anywire

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/internal/graph"
	"github.com/anywire/anywire/transport/memory"
)

// mermaid draws the agents of the configuration with the types that this
// program's handlers take.
func (a *App) mermaid() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var agents []graph.Agent
	for name := range a.config.Agents {
		c, _ := a.config.Agent(name)
		agent := graph.Agent{Name: name, Consumes: c.Consumes, Produces: c.Produces}
		if c.Produces == config.None {
			agent.Produces = ""
		}
		if r := a.handlers[name]; r != nil {
			agent.Label = strings.Join(r.wires(), ", ")
		}
		agents = append(agents, agent)
	}
	return graph.Mermaid(agents)
}

// wires lists the types that an agent takes.
func (r *registered) wires() []string {
	var wires []string
	for _, in := range r.inputs {
		if in.wire != "" {
			wires = append(wires, in.wire)
		}
	}
	return wires
}

// starter is a configuration for the registered agents: each reads a topic of
// its own, and answers go to whoever takes their type.
func (a *App) starter() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "version: 1\ntransport: %s   # this program links %s\nagents:", memory.Kind().KindName(), a.kindNames())
	if len(a.handlers) == 0 {
		b.WriteString(" {}   # the program registers no handler\n")
		return b.String()
	}
	b.WriteString("\n")
	for _, name := range slices.Sorted(maps.Keys(a.handlers)) {
		r := a.handlers[name]
		fmt.Fprintf(&b, "  %s:\n    consumes: %s.in", name, name)
		if wires := r.wires(); len(wires) > 0 {
			fmt.Fprintf(&b, "   # %s", strings.Join(wires, ", "))
		}
		b.WriteString("\n")
		if r.answers != "" {
			fmt.Fprintf(&b, "    produces: %s   # %s\n", a.readerOf(r), strings.Join(r.outputs, ", "))
		}
	}
	return b.String()
}

// readerOf is the topic of the agent that takes what r answers.
func (a *App) readerOf(r *registered) string {
	for _, name := range slices.Sorted(maps.Keys(a.handlers)) {
		for _, in := range a.handlers[name].inputs {
			if name != r.agent && slices.Contains(r.outputs, in.wire) {
				return name + ".in"
			}
		}
	}
	return r.agent + ".out"
}
