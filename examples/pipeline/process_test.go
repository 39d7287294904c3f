package main

import (
	"bytes"
	"context"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/anywire/anywire/internal/brokertest"
)

// asProgram in the environment has the test binary be the program itself, so
// that tests can kill it.
const asProgram = "PIPELINE_TEST_AS_PROGRAM"

// process is the program in a process of its own.
type process struct {
	*exec.Cmd

	out, err bytes.Buffer
	ended    chan struct{} // closed when it has
}

func start(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{Cmd: exec.Command(self, args...), ended: make(chan struct{})}
	p.Env = append(append(os.Environ(), asProgram+"=1"), env...)
	p.Stdout, p.Stderr = &p.out, &p.err
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.Wait() // its end is read from ProcessState
	}()
	t.Cleanup(func() {
		_ = p.Process.Kill()
		<-p.ended
	})
	return p
}

// code waits for the end and returns the exit code. A process that does not end
// has to say where it stands.
func (p *process) code(t *testing.T) int {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(2 * time.Minute):
		_ = p.Process.Signal(syscall.SIGQUIT)
		<-p.ended
		t.Fatalf("it did not end:\n%s%s", &p.out, &p.err)
	}
	return p.ProcessState.ExitCode()
}

// until waits for something to become true while the process runs.
func (p *process) until(t *testing.T, what string, is func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for !is() {
		select {
		case <-p.ended:
			t.Fatalf("ended before %s, exit code %d:\n%s%s", what, p.code(t), &p.out, &p.err)
		case <-ctx.Done():
			t.Fatalf("still not: %s", what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Killed with SIGKILL in the middle, three times, and started again, the program
// ends with every brief, and none of them half written.
func TestKilledThreeTimes(t *testing.T) {
	t.Parallel()
	const documents = 60
	slow := fakeModel(t, func(int64, http.ResponseWriter) bool {
		<-time.After(100 * time.Millisecond)
		return false
	})
	in, out := tree(t, corpus(documents)), t.TempDir()
	env := []string{"OPENAI_BASE_URL=" + slow.URL, "PIPELINE_DATA=" + t.TempDir()}
	args := []string{"-c", "embedded.yaml", "-in", in, "-out", out}
	for kill := range 3 {
		p := start(t, env, args...)
		p.until(t, "more briefs", func() bool { return len(finished(t, out)) > 4+8*kill })
		if err := p.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		p.code(t)
		if n := len(finished(t, out)); n >= documents {
			t.Fatalf("kill %d came too late: all %d briefs are there", kill, n)
		}
	}
	p := start(t, env, args...)
	if code := p.code(t); code != 0 {
		t.Fatalf("exit code %d:\n%s%s", code, &p.out, &p.err)
	}
	wantClosing(t, p.out.String(), documents, documents, 0)

	again := filepath.Join(t.TempDir(), "again")
	if p := start(t, env[:1], "-c", "memory.yaml", "-in", in, "-out", again); p.code(t) != 0 {
		t.Fatalf("on memory:\n%s", &p.err)
	}
	if got, want := briefs(t, out), briefs(t, again); !maps.Equal(got, want) {
		t.Errorf("%d files after the kills, %d without any, and not the same bytes", len(got), len(want))
	}
}

// finished are the briefs that are there, without what is half written.
func finished(t *testing.T, out string) map[string]string {
	t.Helper()
	found := briefs(t, out)
	maps.DeleteFunc(found, func(name, _ string) bool { return !strings.HasSuffix(name, suffix) })
	return found
}

// Ctrl-C ends well, and what was left does not get into the way of another job:
// each brief goes where its own job wants it.
func TestInterruptedByASignal(t *testing.T) {
	t.Parallel()
	slow := fakeModel(t, func(int64, http.ResponseWriter) bool {
		<-time.After(50 * time.Millisecond)
		return false
	})
	env := []string{"OPENAI_BASE_URL=" + slow.URL, "PIPELINE_DATA=" + t.TempDir()}
	out := t.TempDir()
	p := start(t, env, "-c", "embedded.yaml", "-in", tree(t, corpus(60)), "-out", out)
	p.until(t, "briefs", func() bool { return len(finished(t, out)) > 5 })
	if err := p.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if code := p.code(t); code != 0 || !strings.Contains(p.out.String(), "interrupted with ") || !closing.MatchString(p.out.String()) {
		t.Fatalf("exit code %d:\n%s%s", code, &p.out, &p.err)
	}
	other := t.TempDir()
	p = start(t, env, "-c", "embedded.yaml", "-in", tree(t, map[string]string{"a.md": "Another text."}), "-out", other)
	if code := p.code(t); code != 0 {
		t.Fatalf("exit code %d:\n%s%s", code, &p.out, &p.err)
	}
	if got := briefs(t, other); len(got) != 1 || got["a.md.brief.md"] == "" {
		t.Errorf("the other job's folder holds %d files", len(got))
	}
}

// Workers in other processes do the work, and their dead letters count; a signal
// drains them.
func TestWorkersInOtherProcesses(t *testing.T) {
	t.Parallel()
	server := brokertest.NATS(t)
	files := corpus(20)
	files["bad.md"] = "fa\xe7ade"
	in, out := tree(t, files), t.TempDir()
	env := []string{"NATS_URL=" + server.URL}
	worker := start(t, env, "-c", "nats.yaml", "-agents", "researcher,writer")
	job := start(t, env, "-c", "nats.yaml", "-agents", "collector", "-in", in, "-out", out)
	if code := job.code(t); code != 0 {
		t.Fatalf("exit code %d:\n%s%s", code, &job.out, &job.err)
	}
	wantClosing(t, job.out.String(), 21, 20, 1)
	if !strings.Contains(job.out.String(), "dead letter: bad.md: researcher: ") {
		t.Errorf("the output does not name the dead letter:\n%s", &job.out)
	}
	if err := worker.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if code := worker.code(t); code != 0 {
		t.Errorf("the worker's exit code %d:\n%s", code, &worker.err)
	}
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	in := tree(t, map[string]string{"docs/a.md": "A text.", "empty/": "", "bad.yaml": "version: 1\nagentz: {}\n"})
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"fine":           {[]string{"-c", "memory.yaml", "-in", filepath.Join(in, "docs"), "-out", filepath.Join(in, "out")}, 0, ""},
		"no such folder": {[]string{"-c", "memory.yaml", "-in", filepath.Join(in, "nowhere")}, 1, "give another with -in"},
		"empty folder":   {[]string{"-c", "memory.yaml", "-in", filepath.Join(in, "empty")}, 1, "give another with -in"},
		"empty flag":     {[]string{"-c", "memory.yaml", "-in", ""}, 2, "names no folder"},
		"bad file":       {[]string{"-c", filepath.Join(in, "bad.yaml"), "-in", in}, 2, "bad.yaml:2:1"},
		"missing file":   {[]string{"-c", filepath.Join(in, "no.yaml"), "-in", in}, 2, "no.yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, nil, c.args...)
			if code := p.code(t); code != c.code || !strings.Contains(p.err.String(), c.says) {
				t.Errorf("exit code %d, want %d, and %q in:\n%s", code, c.code, c.says, &p.err)
			}
		})
	}
}
