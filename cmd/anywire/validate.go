package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/anywire/anywire/config"
)

func validateCommand() *cobra.Command {
	var f files
	var asJSON, connect bool
	cmd := &cobra.Command{
		Use:        "validate",
		SuggestFor: []string{"check", "verify"},
		Short:      "Report every problem of a configuration, with its place",
		Long: `Reads a configuration and reports every problem at once: file, line, column,
the source line, and what to do about it. Nothing is opened or connected to,
unless --connect is given: then every broker that is used is asked, too, whether
it can be reached, has the topics as they are described, and grants the rights
that the agents need. Nothing is made there. Each broker has 10 seconds.

Handlers are part of your own program, so they are left out here: run your
binary with "validate" to check agents against handlers, too.`,
		Example: `  anywire validate
  anywire validate -c base.yaml -c prod.yaml
  anywire validate --connect
  anywire validate -c anywire.yaml --json`,
		Args:              noArguments,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.read()
			var visits []*visit
			if err == nil && connect {
				visits = newSystem(c, cmd.ErrOrStderr()).visitAll(cmd.Context())
				err = problemsAt(visits)
			}
			switch {
			case asJSON:
				return printVerdict(cmd.OutOrStdout(), c, visits, err)
			case err != nil:
				printVisits(cmd.OutOrStdout(), visits)
				return unlessAway(visits, show(cmd.ErrOrStderr(), err))
			}
			printValid(cmd.OutOrStdout(), c)
			printVisits(cmd.OutOrStdout(), visits)
			fmt.Fprintln(cmd.OutOrStdout(), `handlers were left out: "validate" of your own binary checks them, too`)
			return nil
		},
	}
	cmd.Flags().BoolVar(&connect, "connect", false, "ask the brokers, too")
	f.flag(cmd)
	jsonFlag(cmd, &asJSON)
	return cmd
}

func printValid(w io.Writer, c *config.Config) {
	on := ""
	if used := transportsOf(c); len(used) > 0 {
		on = " on " + strings.Join(used, ", ")
	}
	fmt.Fprintf(w, "valid: %s%s\n", count(len(c.Agents), "agent"), on)
	for _, note := range notesOn(c) {
		fmt.Fprintln(w, "note: "+note)
	}
}

// problemsAt are those of all brokers, in the order of the files.
func problemsAt(visits []*visit) error {
	var all config.Problems
	for _, v := range visits {
		all = append(all, v.problems...)
	}
	return all.Sorted().Err()
}

// unlessAway is err, and not the user's fault if brokers that cannot be reached
// are all that is wrong.
func unlessAway(visits []*visit, err error) error {
	for _, v := range visits {
		if !v.away && len(v.problems) > 0 {
			return err
		}
	}
	if len(visits) == 0 {
		return err
	}
	return &failure{err}
}

func printVisits(w io.Writer, visits []*visit) {
	for _, v := range visits {
		if v.found != "" {
			fmt.Fprintf(w, "%s: %s\n", v.name, v.found)
		}
		for _, note := range v.notes {
			fmt.Fprintln(w, "note: "+note)
		}
	}
}

// transportsOf lists the transports that agents use.
func transportsOf(c *config.Config) []string {
	used := []string{}
	for name := range c.Agents {
		a, _ := c.Agent(name)
		used = append(used, a.Transport)
	}
	slices.Sort(used)
	return slices.Compact(used)
}

// notesOn says what is no problem and may surprise.
func notesOn(c *config.Config) []string {
	notes := []string{}
	for _, cycle := range c.Cycles() {
		notes = append(notes, fmt.Sprintf("messages may go round: %s; one that never leaves is stopped after %d handlers (max_hops)",
			strings.Join(append(slices.Clone(cycle), cycle[0]), " → "), c.Policy(cycle[0]).MaxHops))
	}
	return notes
}

// verdict is what validate --json prints.
type verdict struct {
	Valid      bool      `json:"valid"`
	Agents     int       `json:"agents"`
	Transports []string  `json:"transports"`
	Notes      []string  `json:"notes"`
	Problems   []problem `json:"problems"`
	Reached    []reached `json:"reached,omitempty"` // with --connect
}

// reached is what validate --connect --json says of a transport.
type reached struct {
	Transport string   `json:"transport"`
	Away      bool     `json:"away"` // it could not be reached
	Found     string   `json:"found,omitempty"`
	Notes     []string `json:"notes"`
}

type problem struct {
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Path    string `json:"path,omitempty"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	Source  string `json:"source,omitempty"`
}

func printVerdict(w io.Writer, c *config.Config, visits []*visit, err error) error {
	v := verdict{Valid: err == nil, Transports: []string{}, Notes: []string{}, Problems: jsonProblems(err)}
	if err == nil {
		v.Agents, v.Transports, v.Notes = len(c.Agents), transportsOf(c), notesOn(c)
	}
	for _, at := range visits {
		v.Reached = append(v.Reached, reached{at.name, at.away, at.found, orEmpty(at.notes)})
	}
	if failed := writeJSON(w, v); failed != nil {
		return failed
	}
	if err != nil {
		return unlessAway(visits, &shownError{err})
	}
	return nil
}

func jsonProblems(err error) []problem {
	list := []problem{}
	problems, ok := errors.AsType[config.Problems](err)
	if err != nil && !ok {
		return append(list, problem{Message: err.Error()})
	}
	for _, p := range problems {
		list = append(list, problem{p.File, p.Line, p.Column, p.Path, p.Message, p.Hint, p.Source})
	}
	return list
}
