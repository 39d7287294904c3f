package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/anywire/anywire"
	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/natsdriver/embedded"
	"github.com/anywire/anywire/transport/redisdriver"
)

// roleVariable holds the role of this process, as JSON, when a test started it.
const roleVariable = "ANYWIRE_INTEGRATION_ROLE"

// role is what a worker process does: it runs the agent "worker" on topic jobs.
type role struct {
	Broker, URL, Prefix string // of a server
	Dir                 string // of an embedded one
	Consumer            string // the stable name of a reader on Redis
	Order               string
	Lease               time.Duration
	Publish             int    // so many jobs first
	Main                bool   // as App.Main does
	Hang                bool   // in the handlers, for ever
	Gate                int    // after so many handlers all wait for a signal, and are slow then
	Killer              bool   // one job ends the process
	Journal             string // a file: lines "up PID", "published", "start K/N", "done K/N"
}

// playRole is the main function of a worker process. Its exit codes are those of
// App.Main. It ends with its parent.
func playRole(text string) int {
	var r role
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		return 2
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(4)
	}()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := r.play(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		return 1
	}
	return 0
}

func (r role) play(ctx context.Context) error {
	file, err := os.OpenFile(r.Journal, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	fmt.Fprintln(file, "up", os.Getpid()) // from here on a signal drains it
	note := func(format string, args ...any) { fmt.Fprintf(file, format+"\n", args...) }
	if r.Killer {
		return errors.Join(r.playKiller(ctx, note), file.Close())
	}
	app := r.app(ctx, note)
	for n := range r.Publish {
		j := Job{Key: strconv.Itoa(n % 7), N: n / 7}
		if err := app.Publish(ctx, "jobs", j, anywire.WithKey(j.Key)); err != nil {
			return errors.Join(err, app.Close())
		}
	}
	if r.Publish > 0 {
		fmt.Fprintln(file, "published")
	}
	if r.Main {
		app.Main() // exits
	}
	return errors.Join(app.Run(ctx), file.Close())
}

func (r role) app(signalled context.Context, note func(format string, args ...any)) *anywire.App {
	entry := config.Transport{Kind: "embedded", Options: embedded.Options{Dir: r.Dir}}
	var caps driver.Capabilities
	if b := brokers[r.Broker]; b != nil {
		entry = config.Transport{Kind: b.name, Prefix: r.Prefix, Options: b.options(r.URL, nil)}
		caps, _ = b.kind.Capabilities(entry.Options) // that they are valid the parent knows
	}
	if o, ok := entry.Options.(redisdriver.Options); ok {
		o.Consumer = r.Consumer
		entry.Options = o
	}
	longest := r.Lease
	if r.Hang || r.Gate > 0 { // until the test goes on, and not for a lease
		longest = bridgedLease
	}
	w := (&world{entry: entry, caps: caps}).leased(longest)
	app := anywire.New(w.options(&config.Config{Agents: map[string]config.Agent{"worker": {
		Consumes: "jobs", Order: r.Order,
		Policy: config.Policy{Concurrency: 4, Lease: value.Duration(r.Lease), Retry: config.Retry{Immediate: new(0), Delayed: new(0)}},
	}}}))
	var started atomic.Int64
	anywire.Consume(app, "worker", func(ctx context.Context, j Job) error {
		note("start %s/%d", j.Key, j.N)
		if r.Hang {
			<-ctx.Done()
			return context.Cause(ctx)
		}
		work := 5 * time.Millisecond
		if r.Gate > 0 && started.Add(1) > int64(r.Gate) {
			<-signalled.Done()
			work = 100 * time.Millisecond
		}
		if err := pause(ctx, work); err != nil {
			return err
		}
		note("done %s/%d", j.Key, j.N)
		return nil
	})
	return app
}

// child is a worker process.
type child struct {
	cmd     *exec.Cmd
	journal string
	stdin   io.WriteCloser
	out     strings.Builder
	ended   chan struct{}
}

// spawn starts a worker process; it ends with the test at the latest.
func spawn(t *testing.T, r role) *child {
	t.Helper()
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	c := &child{journal: r.Journal, cmd: exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0]), ended: make(chan struct{})}
	c.cmd.Env = append(os.Environ(), roleVariable+"="+string(text))
	c.cmd.Stdout, c.cmd.Stderr = &c.out, &c.out
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(c.ended)
		_ = c.cmd.Wait() // what it exits with is looked at in end
	}()
	t.Cleanup(func() {
		c.kill(t)
		if t.Failed() {
			t.Logf("worker process: %s", c.out.String())
		}
	})
	return c
}

// kill ends the process with SIGKILL and waits until it is gone.
func (c *child) kill(t *testing.T) {
	t.Helper()
	if err := c.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("kill: %v", err)
	}
	<-c.ended
	_ = c.stdin.Close()
}

// drain ends the process with SIGTERM, and wants exit code 0.
func (c *child) drain(t *testing.T) {
	t.Helper()
	await(t, "the process is up", func() bool { return linesOf(t, c.journal)[fmt.Sprintf("up %d", c.cmd.Process.Pid)] > 0 })
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Errorf("signal: %v", err)
	}
	select {
	case <-c.ended:
	case <-time.After(patience):
		t.Fatalf("the process did not drain within %v", patience)
	}
	if code := c.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d: %s", code, c.out.String())
	}
}

func journalFile(t *testing.T) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "journal")
}

// linesOf counts the lines of a journal; one that is not there yet is empty.
func linesOf(t *testing.T, file string) map[string]int {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	lines := map[string]int{}
	for line := range strings.Lines(string(text)) {
		lines[strings.TrimSpace(line)]++
	}
	return lines
}

// beginning counts the different lines that begin so.
func beginning(lines map[string]int, prefix string) int {
	n := 0
	for line := range lines {
		if strings.HasPrefix(line, prefix) {
			n++
		}
	}
	return n
}

// completions reads the "done" lines of a journal, in their order.
func completions(t *testing.T, file string) []Job {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all []Job
	for line := range strings.Lines(string(text)) {
		job, isDone := strings.CutPrefix(strings.TrimSpace(line), "done ")
		key, number, _ := strings.Cut(job, "/")
		n, err := strconv.Atoi(number)
		if !isDone || err != nil {
			continue
		}
		all = append(all, Job{Key: key, N: n})
	}
	return all
}
