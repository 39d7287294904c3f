// Command testsum runs a go test -json command and prints what a reader wants
// of it: one line for each package, the whole output of what failed, every skip
// with its reason, and a closing line with the counts. It exits as the command
// did.
//
//	go run ./internal/testsum -- go test -json ./...
//
// With -matrix it also compares what conformance tests report with the table of
// transports in that file, and exits with 1 where they differ; with -update it
// writes what was reported into the file.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	flag.StringVar(&o.matrix, "matrix", "", "file of the table of transports; empty: it is not looked at")
	flag.BoolVar(&o.update, "update", false, "write what was reported into the table, in place of comparing")
	flag.Parse()
	if flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "testsum: no command; try: testsum -- go test -json ./...")
		os.Exit(2) //nolint:gocritic // nothing is left to stop: the process ends here
	}
	o.skips = os.Getenv("ANYWIRE_TEST_SKIP")
	os.Exit(run(ctx, o, flag.Args(), os.Stdout))
}

// options are what the command line and the environment say.
type options struct {
	matrix string // the file of the table; empty: none
	update bool
	skips  string // servers that tests do without
}

// run runs the command and answers its exit code, or 1 where the command says 0
// although a test failed or none ran.
func run(ctx context.Context, o options, args []string, out io.Writer) int {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	cmd.Stderr = os.Stderr
	events, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "testsum:", err)
		return 2
	}
	s := newSummary(out)
	readErr := s.read(events)
	err = cmd.Wait()
	s.close()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.ExitCode() > 0:
		return exit.ExitCode()
	case err != nil || readErr != nil:
		fmt.Fprintln(os.Stderr, "testsum:", errors.Join(err, readErr))
		return 1
	case !s.green():
		return 1
	}
	if err := s.transports(o); err != nil {
		fmt.Fprintln(os.Stderr, "testsum:", err)
		return 1
	}
	return 0
}
