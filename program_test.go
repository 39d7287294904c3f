package anywire

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

type ping struct{ N int }

func (ping) WireType() string { return "test.ping@1" }

type pong struct{ N int }

func (pong) WireType() string { return "test.pong@1" }

const pingpong = `version: 1
agents:
  pinger: { consumes: pings, produces: pongs }
  ponger: { consumes: pongs }
`

// invocation is one run of Main, without the process.
type invocation struct {
	app      *App
	flags    *flag.FlagSet
	out, err syncBuffer
	signals  chan os.Signal
	exited   chan int
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func newInvocation() *invocation {
	app := New(nil)
	Handle(app, "pinger", func(_ context.Context, p ping) (pong, error) { return pong(p), nil })
	Consume(app, "ponger", func(context.Context, pong) error { return nil })
	flags := flag.NewFlagSet("test", flag.ContinueOnError)
	return &invocation{app: app, flags: flags, signals: make(chan os.Signal, 2), exited: make(chan int, 1)}
}

func (i *invocation) run(args ...string) int {
	i.flags.SetOutput(&i.err)
	p := &program{
		app: i.app, flags: i.flags, args: args, out: &i.out, err: &i.err, signals: i.signals,
		exit: func(code int) { i.exited <- code },
	}
	return p.run()
}

func file(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "anywire.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestMainCommands(t *testing.T) {
	t.Parallel()
	good, bad := file(t, pingpong), file(t, pingpong+"  ghost: { consumes: x, order: sideways }\n")
	for name, test := range map[string]struct {
		args     []string
		code     int
		out, err string
	}{
		"validate":         {[]string{"validate", "-c", good}, exitDrained, "valid: " + good, ""},
		"validate last":    {[]string{"-c", good, "validate"}, exitDrained, "valid: ", ""},
		"invalid":          {[]string{"validate", "-c", bad}, exitUsage, "", bad + ":5:"},
		"run invalid":      {[]string{"-c", bad}, exitUsage, "", "has no handler"},
		"graph":            {[]string{"graph", "-c", good}, exitDrained, `a1["pinger<br/>test.ping@1"]`, ""},
		"no such file":     {[]string{"-c", good + ".missing"}, exitUsage, "", "anywire.yaml.missing"},
		"unknown flag":     {[]string{"-x"}, exitUsage, "", "flag provided but not defined: -x"},
		"unknown argument": {[]string{"dance"}, exitUsage, "", `argument "dance" is not understood`},
		"help":             {[]string{"-h"}, exitDrained, "", "Runs agents until a signal"},
		"unknown agent":    {[]string{"-c", good, "-agents", "pingr"}, exitUsage, "", `did you mean "pinger"?`},
		"cut off":          {[]string{"-c", good, "-agents", "pinger"}, exitUsage, "", "does not leave the process"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := newInvocation()
			if code := i.run(test.args...); code != test.code {
				t.Errorf("exit code %d, want %d", code, test.code)
			}
			if got := i.out.String(); !strings.Contains(got, test.out) {
				t.Errorf("output %q, want %q", got, test.out)
			}
			if got := i.err.String(); !strings.Contains(got, test.err) {
				t.Errorf("errors %q, want %q", got, test.err)
			}
		})
	}
}

func TestMainPrintsProblemsBareAndCountsThem(t *testing.T) {
	t.Parallel()
	bad := file(t, pingpong+"  ghost: { consumes: x, order: sideways }\n")
	for _, args := range [][]string{{"validate", "-c", bad}, {"graph", "-c", bad}, {"-c", bad}} {
		i := newInvocation()
		if code := i.run(args...); code != exitUsage {
			t.Errorf("exit code %d", code)
		}
		if got := i.err.String(); !strings.HasPrefix(got, bad+":5:") || !regexp.MustCompile(`\n\d problems?\n$`).MatchString(got) {
			t.Errorf("%v prints %q", args, got)
		}
	}
}

func TestMainWithoutAFileShowsOneThatWorks(t *testing.T) {
	t.Chdir(t.TempDir())
	i := newInvocation()
	if code := i.run(); code != exitUsage {
		t.Errorf("exit code %d", code)
	}
	if got := i.err.String(); !strings.Contains(got, "there is no anywire.yaml") {
		t.Errorf("errors %q", got)
	}
	starter := i.out.String()
	if !strings.Contains(starter, "produces: ponger.in   # test.pong@1") {
		t.Errorf("it does not connect the agents:\n%s", starter)
	}
	i = newInvocation()
	if code := i.run("validate", "-c", file(t, starter)); code != exitDrained {
		t.Errorf("the file does not validate: %s\n%s", i.err.String(), starter)
	}
}

func TestMainDrainsAtASignal(t *testing.T) {
	t.Parallel()
	i := newInvocation()
	verbose := i.flags.Bool("v", false, "the program's own flag")
	i.signals <- os.Interrupt
	if code := i.run("-v", "-c", file(t, pingpong)); code != exitDrained || !*verbose {
		t.Errorf("exit code %d, -v %v: %s", code, *verbose, i.err.String())
	}
	if !strings.Contains(i.err.String(), "a second signal stops at once") {
		t.Errorf("log %s", i.err.String())
	}
}

func TestMainStopsAtASecondSignal(t *testing.T) {
	t.Parallel()
	begun, release := make(chan struct{}), make(chan struct{})
	i := newInvocation()
	Consume(i.app, "ponger", func(context.Context, ping) error {
		close(begun)
		<-release
		return nil
	})
	i.app.Beside(func(ctx context.Context) error {
		if err := i.app.Publish(ctx, "pongs", ping{}); err != nil {
			return err
		}
		<-begun
		i.signals <- os.Interrupt
		i.signals <- syscall.SIGTERM
		<-ctx.Done()
		return nil
	})
	code := make(chan int, 1)
	go func() { code <- i.run("-c", file(t, pingpong)) }()
	select {
	case got := <-i.exited:
		if got != exitForced {
			t.Errorf("exit code %d", got)
		}
	case <-time.After(10 * time.Second):
		t.Error("the second signal did not stop it")
	}
	close(release)
	if got := <-code; got != exitDrained {
		t.Errorf("afterwards exit code %d: %s", got, i.err.String())
	}
}
