package anywire

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/transport"
)

// The exit codes of [App.Main].
const (
	exitDrained = 0
	exitFailed  = 1
	exitUsage   = 2 // wrong use, or an invalid configuration
	exitForced  = 3
)

// Main is the usual program: it parses the command line, reads the
// configuration, runs the agents until a signal, drains, and exits. It does not
// return.
//
// Its flags join flag.CommandLine, so a program's own, defined before, work
// beside them:
//
//	-c FILE       configuration; repeat it to lay files over each other
//	              (default anywire.yaml, or Options.Config)
//	-agents a,b   run only these
//
// "validate" as the first argument only reports what is wrong; "graph" prints
// who talks to whom as a Mermaid flowchart. Without a configuration Main prints
// one for the registered agents to start from.
//
// SIGINT and SIGTERM drain; a second one stops at once. Exit codes: 0 drained, 1
// failed, 2 wrong use or an invalid configuration, 3 stopped by force.
func (a *App) Main() {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	p := &program{app: a, flags: flag.CommandLine, args: os.Args[1:], out: os.Stdout, err: os.Stderr, signals: signals, exit: os.Exit}
	os.Exit(p.run())
}

// program is one run of Main.
type program struct {
	app      *App
	flags    *flag.FlagSet
	args     []string
	out, err io.Writer
	signals  <-chan os.Signal
	exit     func(code int)

	files  fileList
	agents string
}

// fileList is a flag that may be repeated.
type fileList []string

func (l *fileList) String() string { return strings.Join(*l, ",") }

func (l *fileList) Set(file string) error {
	*l = append(*l, file)
	return nil
}

func (p *program) run() int {
	command, err := p.parse()
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitDrained
	case err != nil:
		return p.fail(exitUsage, err)
	}
	if p.app.unlogged {
		p.app.options.Logger = slog.New(slog.NewTextHandler(p.err, nil))
	}
	if code, ok := p.configure(); !ok {
		return code
	}
	switch command {
	case "validate":
		return p.validate()
	case "graph":
		return p.graph()
	default:
		return p.serve()
	}
}

// parse reads flags and command, in either order.
func (p *program) parse() (command string, err error) {
	p.flags.Var(&p.files, "c", "configuration `FILE`; repeat it to lay files over each other (default "+config.DefaultName+")")
	p.flags.StringVar(&p.agents, "agents", "", "run only these agents, as in `a,b`")
	p.flags.Usage = p.usage
	args := p.args
	if len(args) > 0 && isCommand(args[0]) {
		command, args = args[0], args[1:]
	}
	if err := p.flags.Parse(args); err != nil {
		return "", err
	}
	rest := p.flags.Args()
	if command == "" && len(rest) > 0 && isCommand(rest[0]) {
		command, rest = rest[0], rest[1:]
	}
	if len(rest) > 0 {
		return "", fmt.Errorf("argument %q is not understood: the commands are validate and graph", rest[0])
	}
	for name := range strings.SplitSeq(p.agents, ",") {
		if name = strings.TrimSpace(name); name != "" {
			p.app.only = append(p.app.only, name)
		}
	}
	return command, nil
}

func isCommand(arg string) bool { return arg == "validate" || arg == "graph" }

func (p *program) usage() {
	fmt.Fprintf(p.flags.Output(), `Usage: %s [validate | graph] [flags]

Runs agents until a signal, then drains. A second signal stops at once.
  validate   report what is wrong with the configuration, and exit
  graph      print who talks to whom, as a Mermaid flowchart, and exit

Flags:
`, p.flags.Name())
	p.flags.PrintDefaults()
}

// configure finds the configuration. Without any it shows one to start from.
func (p *program) configure() (code int, ok bool) {
	files := []string(p.files)
	if len(files) == 0 {
		if p.app.options.Config != nil {
			return 0, true
		}
		if _, err := os.Stat(config.DefaultName); err != nil {
			fmt.Fprintf(p.err, "error: there is no %s, and -c names no file: save this as %[1]s to start from\n", config.DefaultName)
			fmt.Fprint(p.out, p.app.starter())
			return exitUsage, false
		}
		files = []string{config.DefaultName}
	}
	c, err := config.Load(files...)
	if c == nil {
		return p.fail(exitUsage, err), false
	}
	p.app.config = c // what Load found is part of what Validate reports
	return 0, true
}

func (p *program) validate() int {
	if err := p.app.Validate(); err != nil {
		return p.fail(exitUsage, err)
	}
	fmt.Fprintln(p.out, "valid: "+p.source())
	return exitDrained
}

func (p *program) source() string {
	switch {
	case len(p.files) > 0:
		return p.files.String()
	case p.app.options.Config != nil:
		return "the program's own configuration"
	default:
		return config.DefaultName
	}
}

func (p *program) graph() int {
	if err := p.app.config.Check().Err(); err != nil {
		return p.fail(exitUsage, err)
	}
	fmt.Fprint(p.out, p.app.mermaid())
	return exitDrained
}

// serve runs the app until a signal has drained it.
func (p *program) serve() int {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ended := make(chan struct{})
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		p.watch(stop, ended)
	}()
	err := p.app.Run(ctx)
	close(ended)
	<-watching
	_, invalid := errors.AsType[config.Problems](err)
	switch {
	case err == nil:
		return exitDrained
	case invalid:
		return p.fail(exitUsage, err)
	case errors.Is(err, transport.ErrForced):
		return p.fail(exitForced, err)
	default:
		return p.fail(exitFailed, err)
	}
}

// watch lets the first signal drain and the second one stop at once.
func (p *program) watch(stop func(), ended <-chan struct{}) {
	for n := 1; ; n++ {
		select {
		case s := <-p.signals:
			if n == 1 {
				p.app.options.Logger.Info("stopping, a second signal stops at once", "signal", s.String())
				stop()
				continue
			}
			fmt.Fprintln(p.err, "error: stopped by a second signal, before what runs had finished")
			p.exit(exitForced)
			return
		case <-ended:
			return
		}
	}
}

// fail prints an error: problems as they are, since each says where it is.
func (p *program) fail(code int, err error) int {
	if problems, ok := errors.AsType[config.Problems](err); ok {
		noun := "problems"
		if len(problems) == 1 {
			noun = "problem"
		}
		fmt.Fprintf(p.err, "%v\n%d %s\n", problems, len(problems), noun)
		return code
	}
	if _, ok := errors.AsType[*entryError](err); ok {
		fmt.Fprintln(p.err, err)
		return code
	}
	fmt.Fprintf(p.err, "error: %v\n", err)
	return code
}
