package integration

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anywire/anywire"
	"github.com/anywire/anywire/all"
	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/transport/natsdriver/embedded"
)

// embeddedApp has two agents, one and two, on the broker in a folder.
func embeddedApp(dir string, two func(context.Context, Half) error) *anywire.App {
	o := all.Options()
	o.Kinds = append(o.Kinds, embedded.Kind())
	o.Config = &config.Config{
		Transport: bus, Idempotency: unremembered(),
		Transports: map[string]config.Transport{bus: {Kind: "embedded", Options: embedded.Options{Dir: dir, PublishTimeout: value.Duration(2 * time.Second)}}},
		Agents: map[string]config.Agent{
			"one": {Consumes: "first", Produces: "second"},
			"two": {Consumes: "second"},
		},
	}
	app := anywire.New(o)
	anywire.Handle(app, "one", func(_ context.Context, j Job) (Half, error) { return Half(j), nil })
	anywire.Consume(app, "two", two)
	return app
}

// TestSecondAppOnOneFolder: the second is told who has the folder and what to
// do, in this process and from another; the first goes on.
func TestSecondAppOnOneFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var done journal[Half]
	handler := func(_ context.Context, j Half) error {
		done.note(j)
		return nil
	}
	first := run(t, embeddedApp(dir, handler))
	publish(t, first.App, "first", Job{N: 1})
	await(t, "the first works", func() bool { return len(done.all()) == 1 })
	err := embeddedApp(dir, handler).Run(t.Context())
	if err == nil {
		t.Fatal("two apps run on one folder")
	}
	for _, want := range []string{dir, strconv.Itoa(os.Getpid()), "kind: nats", "another dir"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error does not say %q: %v", want, err)
		}
	}
	other := spawn(t, role{Dir: dir, Journal: journalFile(t)})
	<-other.ended
	if code := other.cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(other.out.String(), dir) {
		t.Errorf("another process: exit code %d: %s", code, other.out.String())
	}
	publish(t, first.App, "first", Job{N: 2})
	await(t, "the first goes on", func() bool { return len(done.all()) == 2 })
}

// TestFullDisk: a publish that finds no room is an error; what was confirmed
// before, and what was on its way between agents, is handled once there is room.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	mount := tinyFileSystem(t, "16m")
	ballast := filepath.Join(mount, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 8<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	done := map[int]bool{}
	app := run(t, embeddedApp(filepath.Join(mount, "data"), func(_ context.Context, j Half) error {
		mu.Lock()
		defer mu.Unlock()
		done[j.N] = true
		return nil
	}))
	confirmed := publishUntilFull(t, app.App)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	count := func() int {
		mu.Lock()
		defer mu.Unlock()
		n := 0
		for _, j := range confirmed {
			if done[j] {
				n++
			}
		}
		return n
	}
	await(t, "everything that was confirmed is handled", func() bool { return count() == len(confirmed) },
		func() any { return fmt.Sprintf("%d of %d; health %+v", count(), len(confirmed), app.Health()) })
	await(t, "publishing works again", func() bool {
		return app.Publish(t.Context(), "first", Job{N: 1 << 20}) == nil
	})
	for _, topic := range []string{"one.dead", "two.dead"} {
		if dead := browse(t, app.App, topic); len(dead) > 0 {
			t.Errorf("%d healthy messages in %s: %s", len(dead), topic, deadLetter(dead[0]))
		}
	}
}

// publishUntilFull returns the numbers of those that were confirmed.
func publishUntilFull(t *testing.T, app *anywire.App) []int {
	t.Helper()
	var confirmed []int
	padding := strings.Repeat("x", 100_000)
	for n := 1; n < 1000; n++ {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		err := app.Publish(ctx, "first", Job{N: n, Do: padding})
		cancel()
		if err != nil {
			t.Logf("publish %d: %v", n, err)
			if len(confirmed) == 0 {
				t.Fatal("nothing was confirmed")
			}
			return confirmed
		}
		confirmed = append(confirmed, n)
	}
	t.Fatal("the file system takes 100 MB")
	return nil
}

// tinyFileSystem mounts one, or skips where that is not allowed.
func tinyFileSystem(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "mount", "-t", "tmpfs", "-o", "size="+size, "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: no small file system without the right to mount: %v %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.CommandContext(context.WithoutCancel(t.Context()), "umount", "-l", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %s", out)
		}
	})
	return dir
}
