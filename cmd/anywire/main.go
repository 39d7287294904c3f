// Command anywire helps to build and run systems of agents: it starts a project,
// checks and explains configurations, draws who talks to whom, and looks into
// running systems.
//
//	anywire init newsroom
//	anywire validate -c anywire.yaml -c prod.yaml --connect
//	anywire publish tasks.research --type research.task@1 --data '{"topic":"rivers"}'
//	anywire lag --watch 2s
//	anywire doctor
//
// Exit codes: 0 fine, 1 failed, 2 wrong use or an invalid configuration, 3
// stopped by force.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/redis/go-redis/v9/logging"
	"github.com/spf13/cobra"

	"github.com/anywire/anywire/config"
)

const (
	exitFine   = 0
	exitFailed = 1
	exitUsage  = 2
	exitForced = 3
)

func main() {
	logging.Disable() // go-redis writes to stderr what the driver reports in its own words
	ctx, stop := interruptible()
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// interruptible is a context that ends with the first signal. The second one ends
// the process.
func interruptible() (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		cancel()
		<-signals
		os.Exit(exitForced)
	}()
	return ctx, cancel
}

// errInterrupted is why a command ended that had more to do.
var errInterrupted = &failure{errors.New("interrupted")}

// run is the whole program, for tests too.
func run(ctx context.Context, args []string, in io.Reader, out, errs io.Writer) (code int) {
	root := newRoot(out, errs) //nolint:contextcheck // commands get it when they are executed
	root.SetArgs(args)
	root.SetIn(in)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitFine
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = errInterrupted
	}
	report(errs, err)
	if _, failed := errors.AsType[*failure](err); failed {
		return exitFailed
	}
	return exitUsage
}

// report prints an error that nobody has shown yet. A problem of a configuration
// begins with its place, as compilers have it.
func report(errs io.Writer, err error) {
	_, shown := errors.AsType[*shownError](err)
	_, placed := errors.AsType[config.Problem](err)
	switch {
	case shown:
	case placed:
		fmt.Fprintln(errs, err)
	default:
		fmt.Fprintf(errs, "error: %v\n", err)
	}
	if misuse, ok := errors.AsType[*usageError](err); ok {
		fmt.Fprintf(errs, "how it is used: %s --help\n", misuse.of.CommandPath())
	}
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
	systemGroup  = "system"
	otherGroup   = "other"
)

func newRoot(out, errs io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:   "anywire",
		Short: "Agents whose messages travel where a YAML file says",
		Long: `anywire helps to build and run systems of agents: you write an agent once, as a
function over typed messages, and say in YAML where the messages travel.

Exit codes: 0 fine, 1 failed, 2 wrong use or an invalid configuration, 3 stopped
by force: a first Ctrl-C ends a command in good order, a second one at once.`,
		Version:       versionOf().String(),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetOut(out)
	root.SetErr(errs)
	root.AddGroup(
		&cobra.Group{ID: projectGroup, Title: "A project:"},
		&cobra.Group{ID: configGroup, Title: "A configuration:"},
		&cobra.Group{ID: systemGroup, Title: "A running system:"},
		&cobra.Group{ID: otherGroup, Title: "More:"},
	)
	root.AddCommand(inGroup(projectGroup, initCommand())...)
	root.AddCommand(inGroup(configGroup, validateCommand(), printCommand(), explainCommand(), graphCommand())...)
	root.AddCommand(inGroup(systemGroup,
		publishCommand(), tailCommand(), topicsCommand(), lagCommand(), deadCommand(), doctorCommand())...)
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
