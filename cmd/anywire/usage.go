package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// usageError is a wrong flag or argument of a command, whose help is a way out.
type usageError struct {
	error

	of *cobra.Command
}

func (e *usageError) Unwrap() error { return e.error }

// usageTemplate is cobra's, shorter and in the words of the rest.
const usageTemplate = `Usage:
  {{if .HasAvailableSubCommands}}{{.CommandPath}} COMMAND{{else}}{{.UseLine}}{{end}}
{{- if .HasExample}}

Examples:
{{.Example}}
{{- end}}
{{- if .HasAvailableSubCommands}}
{{- $commands := .Commands}}
{{- range $group := .Groups}}

{{.Title}}{{range $commands}}{{if and (eq .GroupID $group.ID) (or .IsAvailableCommand (eq .Name "help"))}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}
{{- end}}
{{- if not .Groups}}

Commands:{{range $commands}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}
{{- end}}
{{- end}}
{{- if .HasAvailableLocalFlags}}

Flags:
{{.LocalFlags.FlagUsagesWrapped 80 | trimTrailingWhitespaces}}
{{- end}}
`

// makeParent has a command that only holds others show its help, and refuse
// those that it does not hold.
func makeParent(c *cobra.Command) {
	c.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return unknownCommand(cmd, args[0])
		}
		return nil
	}
	c.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	c.ValidArgsFunction = cobra.NoFileCompletions
	c.DisableFlagsInUseLine = true
}

// unknownCommand names the commands that are meant, or else those that exist.
func unknownCommand(parent *cobra.Command, name string) error {
	const letters = 2 // that may be wrong
	parent.SuggestionsMinimumDistance = letters
	near := parent.SuggestionsFor(name)
	var there []string
	for _, c := range parent.Commands() {
		if c.IsAvailableCommand() {
			there = append(there, c.Name())
		}
	}
	hint := "there is " + strings.Join(there, ", ")
	if len(near) > 0 {
		hint = "did you mean " + strings.Join(near, " or ") + "?"
	}
	return &usageError{of: parent, error: fmt.Errorf("%s has no command %q: %s", parent.CommandPath(), name, hint)}
}

// helpCommand is cobra's, except that asking for what does not exist is an error.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Tell how a command is used",
		RunE: func(cmd *cobra.Command, args []string) error {
			at := cmd.Root()
			for _, name := range args {
				next, _, err := at.Find([]string{name})
				if err != nil || next == at {
					return unknownCommand(at, name)
				}
				at = next
			}
			at.InitDefaultHelpFlag() // cobra adds these on execution, and this one is not executed
			at.InitDefaultVersionFlag()
			return at.Help()
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			var names []string
			if at, rest, err := cmd.Root().Find(args); err == nil && len(rest) == 0 {
				for _, c := range at.Commands() {
					if c.IsAvailableCommand() {
						names = append(names, cobra.CompletionWithDesc(c.Name(), c.Short))
					}
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
	}
}

// noArguments refuses arguments. A file is what people try.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := ""
	if f := cmd.Flags().Lookup("config"); f != nil {
		hint = ": a file is named with -c, as in -c " + args[0]
	}
	return &usageError{of: cmd, error: fmt.Errorf("%s takes no argument such as %q%s", cmd.CommandPath(), args[0], hint)}
}

// oneArgument refuses more than one.
func oneArgument(name string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) <= 1 {
			return nil
		}
		return &usageError{of: cmd, error: fmt.Errorf("%s takes one %s, and there are %d arguments: %s",
			cmd.CommandPath(), name, len(args), strings.Join(args, " "))}
	}
}

// wrongFlag says what is wrong with a flag in the words of the rest.
func wrongFlag(cmd *cobra.Command, err error) error {
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok {
		name := "-" + unknown.GetSpecifiedName()
		if unknown.GetSpecifiedShortnames() == "" {
			name = "-" + name
		}
		return &usageError{of: cmd, error: fmt.Errorf("%s has no flag %s: there is %s", cmd.CommandPath(), name, flagsOf(cmd))}
	}
	if bare, ok := errors.AsType[*pflag.ValueRequiredError](err); ok {
		value, _ := pflag.UnquoteUsage(bare.GetFlag())
		return &usageError{of: cmd, error: fmt.Errorf("the flag --%s needs a %s", bare.GetFlag().Name, value)}
	}
	return &usageError{of: cmd, error: err}
}

func flagsOf(cmd *cobra.Command) string {
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, "--"+f.Name) })
	return strings.Join(names, ", ")
}

// needArgument wants exactly one.
func needArgument(name, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return &usageError{of: cmd, error: fmt.Errorf("%s needs a %s: the %s", cmd.CommandPath(), name, what)}
		}
		return oneArgument(name)(cmd, args)
	}
}

// completeTopic answers the topics of the configuration.
func (f *files) completeTopic(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	c, _ := f.read()
	if c == nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return newSystem(c, io.Discard).topicNames(), cobra.ShellCompDirectiveNoFileComp
}

// completeAgents answers the agents that are not named yet.
func (f *files) completeAgents(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	c, _ := f.read()
	if c == nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(c.Agents)), func(name string) bool { return slices.Contains(args, name) })
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeTransports has --transport complete what the configuration has.
func completeTransports(cmd *cobra.Command, f *files) {
	err := cmd.RegisterFlagCompletionFunc("transport", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		c, _ := f.read()
		if c == nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return newSystem(c, io.Discard).transportNames(), cobra.ShellCompDirectiveNoFileComp
	})
	if err != nil {
		panic(err) // the flag is there, and is completed once
	}
}
