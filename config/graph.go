package config

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Where answers the transport on which a topic lives: the one that its entry
// under topics names, else that of the agents that consume it, else, for a
// dead-letter topic, that of the agent whose dead letters it takes, else the
// default. Agents that do not agree are an error.
func (c *Config) Where(topic string) (transport string, err error) {
	return c.wires().where(topic)
}

// wires says which agents meet at which topics.
type wires struct {
	*Config

	names   []string            // of all agents, sorted
	readers map[string][]string // agents by the topic that they consume
	failing map[string][]string // agents by their dead-letter topic
	known   map[string]string   // topics that where has answered
}

func (c *Config) wires() *wires {
	w := &wires{
		Config: c, names: slices.Sorted(maps.Keys(c.Agents)),
		readers: map[string][]string{}, failing: map[string][]string{}, known: map[string]string{},
	}
	for _, name := range w.names {
		a := c.Agents[name]
		dead := cmp.Or(a.DeadLetter, deadLetterOf(name))
		w.readers[a.Consumes] = append(w.readers[a.Consumes], name)
		w.failing[dead] = append(w.failing[dead], name)
	}
	return w
}

func (w *wires) where(topic string) (string, error) {
	if on, ok := w.known[topic]; ok {
		return on, nil
	}
	on, err := w.lives(topic, nil)
	if err == nil {
		w.known[topic] = on
	}
	return on, err
}

// lives is where; seen are the topics that asked, so that dead letters of dead
// letters come to an end.
func (w *wires) lives(topic string, seen []string) (string, error) {
	claims := w.claims(topic)
	if own := w.Topics[topic].Transport; own != "" {
		for _, by := range claims {
			if by.transport != own && by.explicit {
				return "", fmt.Errorf("topic %s lives on transport %s, and agent %s consumes it on %s", topic, own, by.agent, by.transport)
			}
		}
		return own, nil
	}
	if slices.ContainsFunc(claims, func(cl claim) bool { return cl.explicit }) {
		return agree(topic, "consumes", claims)
	}
	if owners := w.owners(topic, seen); len(owners) > 0 {
		return agree(topic, "sends its dead letters to", owners)
	}
	return w.DefaultTransport(), nil
}

// claim is an agent's say in where a topic lives.
type claim struct {
	agent, transport string
	explicit         bool // it names the transport itself
}

// claims lists the agents that consume a topic.
func (w *wires) claims(topic string) []claim {
	var list []claim
	for _, name := range w.readers[topic] {
		own := w.Agents[name].Transport
		list = append(list, claim{name, cmp.Or(own, w.DefaultTransport()), own != ""})
	}
	return list
}

// owners lists the agents whose dead letters a topic takes.
func (w *wires) owners(topic string, seen []string) []claim {
	var list []claim
	for _, name := range w.failing[topic] {
		consumes := w.Agents[name].Consumes
		if slices.Contains(seen, consumes) {
			continue
		}
		on, known := w.known[consumes]
		var err error
		if !known {
			on, err = w.lives(consumes, append(seen, topic))
		}
		if err == nil {
			list = append(list, claim{agent: name, transport: on})
		}
	}
	return list
}

// agree answers the transport that all agents name.
func agree(topic, verb string, claims []claim) (string, error) {
	for _, by := range claims[1:] {
		if first := claims[0]; by.transport != first.transport {
			return "", fmt.Errorf("topic %s lives on one transport, and agent %s %s it on %s, agent %s on %s",
				topic, first.agent, verb, first.transport, by.agent, by.transport)
		}
	}
	return claims[0].transport, nil
}

// Cycles answers the cycles in which agents feed each other, each as the names
// of its agents in the order of the messages, beginning with the first by name.
// Every agent that is on a cycle is in at least one of them. A cycle is no
// error: the hop limit ends what would go round for ever.
func (c *Config) Cycles() [][]string {
	var cycles [][]string
	covered := map[string]bool{}
	w := c.wires()
	for _, name := range w.names {
		if covered[name] {
			continue
		}
		cycle := w.wayBack(name)
		for _, on := range cycle {
			covered[on] = true
		}
		if cycle != nil {
			cycles = append(cycles, turned(cycle))
		}
	}
	return cycles
}

// turned begins a cycle with its first agent by name.
func turned(cycle []string) []string {
	first := slices.Index(cycle, slices.Min(cycle))
	return slices.Concat(cycle[first:], cycle[:first])
}

// wayBack answers the shortest way from an agent to itself, without its end.
func (w *wires) wayBack(start string) []string {
	from := map[string]string{}
	for queue := []string{start}; len(queue) > 0; queue = queue[1:] {
		for _, next := range w.readersOf(w.Agents[queue[0]].Produces) {
			if next == start {
				return trail(from, start, queue[0])
			}
			if _, seen := from[next]; !seen {
				from[next] = queue[0]
				queue = append(queue, next)
			}
		}
	}
	return nil
}

func trail(from map[string]string, start, end string) []string {
	way := []string{end}
	for end != start {
		end = from[end]
		way = append(way, end)
	}
	slices.Reverse(way)
	return way
}

// readersOf lists the agents that consume what goes to a topic.
func (w *wires) readersOf(topic string) []string {
	if topic == "" || topic == None {
		return nil
	}
	return w.readers[topic]
}

// CheckSelection answers what is wrong with running only some of the agents in
// a process: names that do not exist, and agents that would be cut off from a
// selected one because the topic between them does not leave the process.
// inProcess reports that of a transport by its name; nil stands for those of
// kind memory. No agents means all of them.
func (c *Config) CheckSelection(agents []string, inProcess func(transport string) bool) Problems {
	if inProcess == nil {
		inProcess = func(transport string) bool {
			kind, _ := c.Kind(transport)
			return kind == Memory
		}
	}
	var found Problems
	selected := map[string]bool{}
	for _, name := range agents {
		if _, ok := c.Agents[name]; !ok {
			found = append(found, c.unknownAgent(name))
		}
		selected[name] = true
	}
	if len(agents) > 0 {
		found = append(found, c.wires().cutOff(selected, inProcess)...)
	}
	return found.Sorted()
}

func (c *Config) unknownAgent(name string) Problem {
	names := slices.Sorted(maps.Keys(c.Agents))
	hint := ""
	if near := suggest(name, names); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	exist := "there is " + strings.Join(names, ", ")
	if len(names) == 0 {
		exist = "there are none"
	}
	return c.Problem("agents", fmt.Sprintf("there is no agent %q to select: %s", name, exist), hint)
}

// cutOff reports the topics of which only one end is selected.
func (w *wires) cutOff(selected map[string]bool, inProcess func(string) bool) Problems {
	var found Problems
	for _, from := range w.names {
		a := w.Agents[from]
		for _, out := range []struct{ key, topic string }{{"produces", a.Produces}, {"dead_letter", cmp.Or(a.DeadLetter, deadLetterOf(from))}} {
			for _, to := range w.readersOf(out.topic) {
				on, err := w.where(out.topic)
				if selected[from] == selected[to] || err != nil || !inProcess(on) {
					continue
				}
				found = append(found, w.severed(from, out.key, out.topic, to, on, selected[from]))
			}
		}
	}
	return found
}

func (c *Config) severed(from, key, topic, to, on string, fromSelected bool) Problem {
	path, left := "agents."+from+"."+key, to
	if !fromSelected {
		path, left = "agents."+to+".consumes", from
	}
	return c.Problem(path,
		fmt.Sprintf("agent %s is not selected, but topic %s goes from %s to %s on transport %s, which does not leave the process",
			left, topic, from, to, on),
		fmt.Sprintf("select %s, too, or put the topic on a transport that processes share", left))
}
