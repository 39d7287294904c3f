package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWhere(t *testing.T) {
	t.Parallel()
	c := &Config{
		Transport:  "nats",
		Transports: map[string]Transport{"nats": {}, "kafka": {}, "redis": {}},
		Topics:     map[string]Topic{"entry": {Transport: "kafka"}, "split.but.named": {Transport: "redis"}},
		Agents: map[string]Agent{
			"a":      {Consumes: "entry", Produces: "free"},
			"b":      {Consumes: "own", Transport: "redis"},
			"c":      {Consumes: "split", Transport: "redis"},
			"d":      {Consumes: "split"},
			"e":      {Consumes: "other.split", Transport: "redis", DeadLetter: "dead.split"},
			"f":      {Consumes: "other.split", Transport: "kafka"},
			"g":      {Consumes: "plain", DeadLetter: "shared.dead"},
			"h":      {Consumes: "b.dead"},
			"i":      {Consumes: "entry", DeadLetter: "shared.dead"},
			"j":      {Consumes: "a.dead", Transport: "nats"},
			"ring1":  {Consumes: "ring2.dead"},
			"ring2":  {Consumes: "ring1.dead"},
			"named":  {Consumes: "split.but.named"},
			"named2": {Consumes: "split.but.named", Transport: "redis"},
		},
	}
	for topic, want := range map[string]string{
		"entry": "kafka", "own": "redis", "free": "nats", "plain": "nats", "nobody": "nats",
		"a.dead": "nats",  // its reader says so
		"b.dead": "redis", // where its agent consumes, though a reader says nothing
		"h.dead": "redis", // where the dead letters of b are, which h reads
		"g.dead": "nats", "ring1.dead": "nats", "ring2.dead": "nats", "split.but.named": "redis",
		"dead.split": "nats", // its agent's own topic is disputed
	} {
		if got, err := c.Where(topic); err != nil || got != want {
			t.Errorf("%s lives on %s, %v, want %s", topic, got, err, want)
		}
	}
	for topic, want := range map[string]string{
		"split":       "topic split lives on one transport, and agent c consumes it on redis, agent d on nats",
		"other.split": "agent e consumes it on redis, agent f on kafka",
		"shared.dead": "agent g sends its dead letters to it on nats, agent i on kafka",
	} {
		if got, err := c.Where(topic); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s lives on %s, %v, want an error with %q", topic, got, err, want)
		}
	}
	if got := (&Config{}).DefaultTransport(); got != "memory" {
		t.Errorf("the default transport is %s", got)
	}
}

func TestCycles(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		agents map[string]string // name: consumes>produces
		want   [][]string
	}{
		"none":        {map[string]string{"a": "1>2", "b": "2>3", "c": "2>none", "d": "9>"}, nil},
		"itself":      {map[string]string{"a": "1>1"}, [][]string{{"a"}}},
		"two":         {map[string]string{"b": "1>2", "a": "2>1"}, [][]string{{"a", "b"}}},
		"long":        {map[string]string{"z": "1>2", "m": "2>3", "a": "3>1", "x": "3>4"}, [][]string{{"a", "z", "m"}}},
		"two of them": {map[string]string{"a": "1>2", "b": "2>1", "c": "5>6", "d": "6>5"}, [][]string{{"a", "b"}, {"c", "d"}}},
		"fan out":     {map[string]string{"a": "1>2", "b": "2>1", "c": "2>1"}, [][]string{{"a", "b"}, {"a", "c"}}},
		"none topic":  {map[string]string{"a": "none>none"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := &Config{Agents: map[string]Agent{}}
			for agent, way := range c.agents {
				consumes, produces, _ := strings.Cut(way, ">")
				config.Agents[agent] = Agent{Consumes: consumes, Produces: produces}
			}
			if diff := cmp.Diff(c.want, config.Cycles()); diff != "" {
				t.Errorf("cycles (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCheckSelection(t *testing.T) {
	t.Parallel()
	c := parsed(t, `
version: 1
transport: memory
transports: { memory: {}, nats: {} }
topics: { shared: { transport: nats } }
agents:
  a: { consumes: in, produces: middle }
  b: { consumes: middle, produces: shared }
  c: { consumes: shared, produces: none }
  d: { consumes: a.dead }
`)
	for name, want := range map[string][]string{
		"":        nil,
		"a b c d": nil,
		"c":       nil,
		"a b d":   nil,
		"b c": {
			"anywire.yaml:8:18: agents.b.consumes: agent a is not selected, but topic middle goes from a to b on transport memory",
		},
		"a": {
			"anywire.yaml:7:3: agents.a.dead_letter: agent d is not selected, but topic a.dead goes from a to d on transport memory",
			"anywire.yaml:7:32: agents.a.produces: agent b is not selected, but topic middle goes from a to b on transport memory",
		},
		"d": {"anywire.yaml:10:18: agents.d.consumes: agent a is not selected, but topic a.dead goes from a to d"},
		"c bb": {
			`anywire.yaml:6:1: agents: there is no agent "bb" to select: there is a, b, c, d`,
		},
	} {
		got := c.CheckSelection(strings.Fields(name), nil)
		if len(got) != len(want) {
			t.Errorf("selecting %q gives %d problems, want %d:\n%v", name, len(got), len(want), got)
			continue
		}
		for i, p := range got {
			if !strings.HasPrefix(p.String(), want[i]) {
				t.Errorf("selecting %q gives %s, want %s", name, p, want[i])
			}
		}
	}
	never := func(string) bool { return false }
	if got := c.CheckSelection([]string{"a"}, never); len(got) != 0 {
		t.Errorf("with no transport in the process: %v", got)
	}
	if got := (&Config{}).CheckSelection([]string{"a"}, nil); len(got) != 1 || !strings.Contains(got.Error(), "there are none") {
		t.Errorf("without agents: %v", got)
	}
}

func TestSuggest(t *testing.T) {
	t.Parallel()
	known := []string{"consumes", "produces", "order", "lease", "from", "drain_timeout"}
	for wrong, want := range map[string]string{
		"consume": "consumes", "comsumes": "consumes", "Consumes": "consumes", "drainTimeout": "drain_timeout", "drain-timeout": "drain_timeout",
		"oder": "order", "ordre": "order", "form": "from", "x": "", "": "", "colour": "", "leaze": "lease", strings.Repeat("x", 100): "",
	} {
		if got := suggest(wrong, known); got != want {
			t.Errorf("suggest(%q) = %q, want %q", wrong, got, want)
		}
	}
}
