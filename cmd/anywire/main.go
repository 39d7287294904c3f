// Command anywire helps to build and run systems of agents: it starts a project,
// checks and explains configurations, and draws who talks to whom.
//
//	anywire init newsroom
//	anywire validate -c anywire.yaml -c prod.yaml
//	anywire explain agents.researcher
//
// Exit codes: 0 fine, 1 failed, 2 wrong use or an invalid configuration.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
)

const (
	exitFine   = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run is the whole program, for tests too.
func run(args []string, out, errs io.Writer) (code int) {
	root := newRoot(out, errs)
	root.SetArgs(args)
	err := root.Execute()
	if err == nil {
		return exitFine
	}
	if _, shown := errors.AsType[*shownError](err); !shown {
		fmt.Fprintf(errs, "error: %v\n", err)
	}
	if misuse, ok := errors.AsType[*usageError](err); ok {
		fmt.Fprintf(errs, "how it is used: %s --help\n", misuse.of.CommandPath())
	}
	if _, failed := errors.AsType[*failure](err); failed {
		return exitFailed
	}
	return exitUsage
}

// failure is an error that is not the user's: it exits with 1.
type failure struct{ error }

func (f *failure) Unwrap() error { return f.error }

// shownError has been printed already.
type shownError struct{ error }

func (e *shownError) Unwrap() error { return e.error }

// The groups of commands in the help of the root.
const (
	projectGroup = "project"
	configGroup  = "config"
	otherGroup   = "other"
)

func newRoot(out, errs io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:   "anywire",
		Short: "Agents whose messages travel where a YAML file says",
		Long: `anywire helps to build and run systems of agents: you write an agent once, as a
function over typed messages, and say in YAML where the messages travel.

Exit codes: 0 fine, 1 failed, 2 wrong use or an invalid configuration.`,
		Version:       versionOf().String(),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetOut(out)
	root.SetErr(errs)
	root.AddGroup(
		&cobra.Group{ID: projectGroup, Title: "A project:"},
		&cobra.Group{ID: configGroup, Title: "A configuration:"},
		&cobra.Group{ID: otherGroup, Title: "More:"},
	)
	root.AddCommand(inGroup(projectGroup, initCommand())...)
	root.AddCommand(inGroup(configGroup, validateCommand(), printCommand(), explainCommand(), graphCommand())...)
	root.AddCommand(inGroup(otherGroup, schemaCommand(), versionCommand())...)
	root.SetHelpCommand(helpCommand())
	root.SetHelpCommandGroupID(otherGroup)
	root.SetCompletionCommandGroupID(otherGroup)
	root.InitDefaultCompletionCmd("") // now that it knows where to print, and to make it a parent like the others
	for _, c := range root.Commands() {
		if c.HasSubCommands() {
			makeParent(c)
		}
		if c.Name() == "completion" {
			c.Short = "Print a script that completes commands, for a shell"
		}
	}
	makeParent(root)
	root.SetUsageTemplate(usageTemplate)
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(wrongFlag)
	return root
}

func inGroup(id string, commands ...*cobra.Command) []*cobra.Command {
	for _, c := range commands {
		c.GroupID = id
	}
	return commands
}
