// Command testsum runs a go test -json command and prints what a reader wants
// of it: one line for each package, the whole output of what failed, every skip
// with its reason, and a closing line with the counts. It exits as the command
// did.
//
//	go run ./internal/testsum -- go test -json ./...
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	args := os.Args[1:]
	if i := slices.Index(args, "--"); i >= 0 {
		args = args[i+1:]
	}
	if len(args) == 0 {
		fmt.Fprintln(os.Stderr, "testsum: no command; try: testsum -- go test -json ./...")
		os.Exit(2) //nolint:gocritic // nothing is left to stop: the process ends here
	}
	os.Exit(run(ctx, args, os.Stdout))
}

// run runs the command and answers its exit code, or 1 where the command says 0
// although a test failed or none ran.
func run(ctx context.Context, args []string, out io.Writer) int {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...) //nolint:gosec // running its arguments is what it is for
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
	return 0
}
