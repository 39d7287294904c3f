package config

import (
	"fmt"
	"math"
	"reflect"
	"strings"
	"time"

	"github.com/anywire/anywire/config/value"
)

// The sources of a value, as [Origin] names them.
const (
	FromFile     = "file"     // a file says it
	FromVariable = "variable" // a variable in a file says it
	FromProgram  = "program"  // Go code set it
	FromDefault  = "default"  // it is built in
	FromOthers   = "computed" // it follows from other values
)

// Origin is one value of the effective configuration and where it came from.
type Origin struct {
	Path, Value string // secrets are ***
	From        string // one of the From constants
	File        string // with Line and Column, where a file says it
	Line        int
	Column      int
	Variables   []string // as they stand in the file, such as ${HOME}
	Note        string   // how it came to be here; may be empty
}

// String answers the value and its origin on one line.
func (o Origin) String() string {
	from := o.From
	if o.File != "" {
		from = fmt.Sprintf("%s:%d:%d", o.File, o.Line, o.Column)
	}
	if len(o.Variables) > 0 {
		from += ", " + strings.Join(o.Variables, " ")
	}
	if o.Note != "" {
		from += ", " + o.Note
	}
	return fmt.Sprintf("%s: %s  (%s)", o.Path, o.Value, from)
}

// Explain answers every value at or below a path, such as
// agents.researcher.timeout, agents.researcher or nothing for all, with its
// origin. A path at which there is nothing is an error that lists what there is.
func (c *Config) Explain(path string) ([]Origin, error) {
	defer c.lock()()
	e := c.effective()
	all := c.dump(reflect.ValueOf(*e), "", "")
	at, exact := all.find(path)
	if !exact {
		return nil, fmt.Errorf("there is nothing at %q%s", path, alternatives(at, path))
	}
	x := explainer{Config: c, own: c.dump(reflect.ValueOf(*c), "", "")}
	x.explain(at, path)
	return x.list, nil
}

// alternatives names what there is instead, next to a wrong path.
func alternatives(at *node, path string) string {
	names := at.names
	if len(names) == 0 {
		return ""
	}
	if near := suggest(path[strings.LastIndexByte(path, '.')+1:], names); near != "" {
		return fmt.Sprintf(": did you mean %q?", near)
	}
	return ": there is " + strings.Join(names, ", ")
}

type explainer struct {
	*Config

	own  *node // what was given, without defaults
	list []Origin
}

func (x *explainer) explain(n *node, path string) {
	switch n.kind {
	case mapNode:
		for _, name := range n.names {
			x.explain(n.fields[name], join(path, name))
		}
	case listNode:
		for i, entry := range n.entries {
			x.explain(entry, index(path, i))
		}
	default:
		x.list = append(x.list, x.origin(n, path))
	}
}

// origin looks for the value where it may be given: at its path, and for a
// policy in the defaults.
func (x *explainer) origin(n *node, path string) Origin {
	o := Origin{Path: path, Value: n.text}
	if x.givenAt(&o, path) {
		return o
	}
	if agent, _, ok := x.agentOf(path); ok {
		rest := strings.TrimPrefix(path, "agents."+agent+".")
		if x.givenAt(&o, "defaults."+rest) {
			o.Note = strings.TrimPrefix(o.Note+", defaults", ", ")
			return o
		}
	}
	o.From, o.Note = FromDefault, ""
	if n.note != "" && n.note != "default" {
		o.From, o.Note = FromOthers, n.note
	}
	return o
}

// givenAt fills o from a path at which a value is given.
func (x *explainer) givenAt(o *Origin, path string) bool {
	if x.doc != nil {
		if n, exact := x.doc.root.find(path); exact && !n.isNull() && n.kind == scalarNode {
			x.fromFile(o, n)
			return true
		}
	}
	if n, exact := x.own.find(path); exact && n.kind == scalarNode {
		o.From = FromProgram
		return true
	}
	return false
}

func (x *explainer) fromFile(o *Origin, n *node) {
	o.From, o.File, o.Line, o.Column = FromFile, n.at.src.name, n.at.line, n.at.col
	for _, u := range n.uses {
		o.From = FromVariable
		o.Variables = append(o.Variables, u.shown())
		if u.unset {
			o.Note = "its default"
		}
	}
}

// agentOf answers the agent to which a path belongs.
func (c *Config) agentOf(path string) (name string, a Agent, ok bool) {
	rest, ok := strings.CutPrefix(path, "agents.")
	if !ok {
		return "", Agent{}, false
	}
	for agent, entry := range c.Agents {
		if strings.HasPrefix(rest+".", agent+".") && len(agent) > len(name) {
			name, a = agent, entry
		}
	}
	return name, a, name != ""
}

// Timeline is what a policy means for a message that always fails.
type Timeline struct {
	Attempts           int             // how often its handler is called
	Immediate, Delayed int             // retries at once, and after a wait
	Waits              []time.Duration // before each delayed retry, without jitter
	Timeout            time.Duration   // of one attempt
	// Longest is the time from the first attempt to the dead letter, if every
	// attempt times out and every wait has all its jitter.
	Longest time.Duration
}

// Timeline answers what the policy means for a message that always fails.
// Longest counts handling and waits: a message may also wait for its turn, and
// for a process that runs. It is rounded to milliseconds, and at most 146 years.
func (p Policy) Timeline() Timeline {
	p = p.filled()
	immediate, delayed := p.Retry.counts()
	t := Timeline{
		Attempts: 1 + immediate + delayed, Immediate: immediate, Delayed: delayed,
		Waits: p.Waits()[immediate:], Timeout: p.Timeout.Std(),
	}
	longest := float64(t.Attempts) * float64(t.Timeout)
	for _, wait := range t.Waits {
		longest += float64(wait) * (1 + Jitter)
	}
	t.Longest = time.Duration(min(longest, math.MaxInt64/2)).Round(time.Millisecond)
	return t
}

// String answers the timeline as three lines.
func (t Timeline) String() string {
	waits := "none"
	if len(t.Waits) > 0 {
		texts := make([]string, len(t.Waits))
		for i, wait := range t.Waits {
			texts[i] = value.Duration(wait).String()
		}
		waits = strings.Join(texts, ", ") + fmt.Sprintf(", each up to %.0f %% longer", Jitter*100)
	}
	return fmt.Sprintf("attempts: %d: the first, %d at once, %d after a wait; each at most %s\nwaits: %s\nlongest life: %s",
		t.Attempts, t.Immediate, t.Delayed, value.Duration(t.Timeout), waits, value.Duration(t.Longest))
}
