package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/config/value"
)

func printCommand() *cobra.Command {
	var f files
	cmd := &cobra.Command{
		Use:        "print",
		SuggestFor: []string{"show", "dump"},
		Short:      "Print the effective configuration, secrets hidden",
		Long: `Prints a configuration as it takes effect: files laid over each other, variables
replaced, every default filled in. Secrets are printed as ***.`,
		Example:           "  anywire print\n  anywire print -c base.yaml -c prod.yaml",
		Args:              noArguments,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.checked(cmd)
			if err != nil {
				return err
			}
			if err := c.Print(cmd.OutOrStdout()); err != nil {
				return &failure{err}
			}
			return nil
		},
	}
	f.flag(cmd)
	return cmd
}

func explainCommand() *cobra.Command {
	var f files
	var asJSON bool
	cmd := &cobra.Command{
		Use:        "explain [PATH]",
		SuggestFor: []string{"why", "origin"},
		Short:      "Say where values came from, and what a policy means over time",
		Long: `Prints every value at or below PATH (default: all) and where it came from: a
file's line, a variable, a default, or other values. For an agent it adds what
becomes of a message that always fails: its attempts, the waits between them,
and its longest life.`,
		Example: `  anywire explain agents.researcher
  anywire explain agents.researcher.timeout -c base.yaml -c prod.yaml
  anywire explain --json`,
		Args: oneArgument("PATH"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.checked(cmd)
			if err != nil {
				return err
			}
			return explain(cmd.OutOrStdout(), c, strings.Join(args, ""), asJSON)
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return f.completePath(typed)
		},
	}
	f.flag(cmd)
	jsonFlag(cmd, &asJSON)
	return cmd
}

// explanation is what explain --json prints.
type explanation struct {
	Values    []origin   `json:"values"`
	Timelines []timeline `json:"timelines"`
}

type origin struct {
	Path      string   `json:"path"`
	Value     string   `json:"value"`
	From      string   `json:"from"`
	File      string   `json:"file,omitempty"`
	Line      int      `json:"line,omitempty"`
	Column    int      `json:"column,omitempty"`
	Variables []string `json:"variables,omitempty"`
	Note      string   `json:"note,omitempty"`
}

type timeline struct {
	Agent     string `json:"agent,omitempty"` // empty: any without a policy of its own
	Attempts  int    `json:"attempts"`
	Immediate int    `json:"immediate"`
	Delayed   int    `json:"delayed"`
	Waits     []wait `json:"waits"`
	Timeout   string `json:"timeout"`
	Longest   string `json:"longest"`
}

// wait is one between attempts, and how often it comes in a row.
type wait struct {
	Wait  string `json:"wait"`
	Times int    `json:"times"`
}

func (w wait) String() string {
	if w.Times == 1 {
		return w.Wait
	}
	return fmt.Sprintf("%s × %d", w.Wait, w.Times)
}

func explain(w io.Writer, c *config.Config, path string, asJSON bool) error {
	origins, err := c.Explain(path)
	if err != nil {
		return err
	}
	agents := policiesAt(c, path)
	if asJSON {
		return writeJSON(w, explanationOf(c, origins, agents))
	}
	for _, o := range origins {
		fmt.Fprintln(w, o)
	}
	for _, name := range agents {
		timelineOf(c, name).write(w)
	}
	return nil
}

// policiesAt are the agents whose timeline a path shows, or shapes; "" stands for
// agents that give no policy.
func policiesAt(c *config.Config, path string) []string {
	if shapesTimeline("defaults", path) {
		return []string{""}
	}
	names := slices.Sorted(maps.Keys(c.Agents))
	if path == "" || path == "agents" {
		return names
	}
	return slices.DeleteFunc(names, func(name string) bool { return !shapesTimeline("agents."+name, path) })
}

// shapesTimeline reports whether a path is a policy or a part of it that its
// timeline depends on.
func shapesTimeline(policy, path string) bool {
	rest, ok := strings.CutPrefix(path, policy)
	return ok && (rest == "" || rest == ".timeout" || rest == ".retry" || strings.HasPrefix(rest, ".retry."))
}

func explanationOf(c *config.Config, origins []config.Origin, agents []string) explanation {
	x := explanation{Values: []origin{}, Timelines: []timeline{}}
	for _, o := range origins {
		x.Values = append(x.Values, origin(o))
	}
	for _, name := range agents {
		x.Timelines = append(x.Timelines, timelineOf(c, name))
	}
	return x
}

func timelineOf(c *config.Config, agent string) timeline {
	t := c.Policy(agent).Timeline()
	return timeline{
		Agent: agent, Attempts: t.Attempts, Immediate: t.Immediate, Delayed: t.Delayed, Waits: inRuns(t.Waits),
		Timeout: value.Duration(t.Timeout).String(), Longest: value.Duration(t.Longest).String(),
	}
}

// inRuns counts equal waits in a row: there may be a thousand.
func inRuns(waits []time.Duration) []wait {
	runs := []wait{}
	for _, d := range waits {
		text := value.Duration(d).String()
		if n := len(runs); n > 0 && runs[n-1].Wait == text {
			runs[n-1].Times++
		} else {
			runs = append(runs, wait{text, 1})
		}
	}
	return runs
}

func (t timeline) write(w io.Writer) {
	waits := "none"
	if len(t.Waits) > 0 {
		texts := make([]string, len(t.Waits))
		for i, run := range t.Waits {
			texts[i] = run.String()
		}
		waits = fmt.Sprintf("%s; each up to %.0f %% longer", strings.Join(texts, ", "), config.Jitter*100)
	}
	fmt.Fprintf(w, "\n%s, a message that always fails:\n", cmp.Or(t.Agent, "agents without a policy of their own"))
	fmt.Fprintf(w, "  attempts: %d: the first, %d at once, %d after a wait; each at most %s\n", t.Attempts, t.Immediate, t.Delayed, t.Timeout)
	fmt.Fprintf(w, "  waits: %s\n", waits)
	fmt.Fprintf(w, "  longest life: %s, then it is a dead letter\n", t.Longest)
}

// completePath answers what may follow in a path of the configuration, up to the
// next dot.
func (f *files) completePath(typed string) ([]string, cobra.ShellCompDirective) {
	directive := cobra.ShellCompDirectiveNoFileComp
	c, _ := f.read()
	if c == nil {
		return nil, directive
	}
	origins, err := c.Explain("")
	if err != nil {
		return nil, directive
	}
	var next []string
	for _, o := range origins {
		rest, ok := strings.CutPrefix(o.Path, typed)
		if !ok {
			continue
		}
		if dot := strings.IndexByte(rest, '.'); dot >= 0 {
			rest = rest[:dot+1]
			directive |= cobra.ShellCompDirectiveNoSpace
		}
		next = append(next, typed+rest)
	}
	slices.Sort(next)
	return slices.Compact(next), directive
}
