// Package graph draws who talks to whom: agents, and the topics between them.
package graph

import (
	"fmt"
	"slices"
	"strings"
)

// Agent is one node: it reads a topic and may write one.
type Agent struct {
	Name, Consumes, Produces string // Produces empty: nothing
	Label                    string // shown below the name, such as its types; may be empty
}

func sorted(agents []Agent) []Agent {
	return slices.SortedFunc(slices.Values(agents), func(a, b Agent) int { return strings.Compare(a.Name, b.Name) })
}

// Mermaid draws the agents as a Mermaid flowchart: boxes are agents, rounded
// ones topics. Equal input gives equal bytes.
func Mermaid(agents []Agent) string {
	var b strings.Builder
	b.WriteString("flowchart LR\n")
	ids := map[string]string{}
	topic := func(name string) string {
		if ids[name] == "" {
			ids[name] = fmt.Sprintf("t%d", len(ids)+1)
			fmt.Fprintf(&b, "  %s([%s])\n", ids[name], quoted(name))
		}
		return ids[name]
	}
	for i, a := range sorted(agents) {
		label := a.Name
		if a.Label != "" {
			label += "<br/>" + a.Label
		}
		from := topic(a.Consumes)
		fmt.Fprintf(&b, "  a%d[%s]\n  %s --> a%d\n", i+1, quoted(label), from, i+1)
		if a.Produces != "" {
			to := topic(a.Produces)
			fmt.Fprintf(&b, "  a%d --> %s\n", i+1, to)
		}
	}
	return b.String()
}

// quoted is text as Mermaid takes it between quotation marks.
func quoted(text string) string {
	return `"` + strings.NewReplacer(`"`, "#quot;", "#", "#35;").Replace(text) + `"`
}
