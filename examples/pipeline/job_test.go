package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/anywire/anywire"
	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/memory"
)

// stub is an app whose agents never answer.
type stub struct {
	t       *transport.Transport
	publish func(Task) error
}

func (s stub) TransportOf(string) (*transport.Transport, error) { return s.t, nil }

func (s stub) Publish(_ context.Context, _ string, v anywire.Typed, _ ...anywire.SendOption) error {
	task, _ := v.(Task)
	return s.publish(task)
}

// plain hides every optional ability of a driver.
type plain struct{ driver.Driver }

func stubbed(t *testing.T, hide bool, publish func(Task) error) stub {
	t.Helper()
	var d driver.Driver = memory.New(nil)
	if hide {
		d = plain{d}
	}
	tr := transport.New(d, &transport.Options{OwnsDriver: true})
	t.Cleanup(func() {
		if err := tr.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return stub{tr, publish}
}

func TestJobWithoutFolderOnlyWorks(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	var out strings.Builder
	if err := (&job{terminal: &out}).run(ctx, nil); err != nil || out.Len() > 0 {
		t.Errorf("error %v, output %q", err, &out)
	}
	if ctx.Err() == nil {
		t.Error("it returned, and so would have drained the app")
	}
}

func TestJobEndsWhenItCannotPublish(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	j := &job{in: tree(t, corpus(3)), out: t.TempDir(), terminal: &out}
	err := j.run(t.Context(), stubbed(t, false, func(Task) error { return errors.New("no broker") }))
	if err == nil || !strings.Contains(err.Error(), "publish the task of part") || !strings.Contains(err.Error(), "no broker") {
		t.Errorf("error %v", err)
	}
	wantClosing(t, out.String(), 3, 0, 0)
}

func TestJobNeedsToSeeDeadLetters(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	j := &job{in: tree(t, corpus(1)), out: t.TempDir(), terminal: &out}
	err := j.run(t.Context(), stubbed(t, true, func(Task) error { return nil }))
	if !errors.Is(err, anywire.Unsupported) {
		t.Errorf("error %v, want that of a transport that shows no messages", err)
	}
}

// Only dead letters of this run's tasks count, and a brief counts more.
func TestRoundTakesItsOwnDeadLetters(t *testing.T) {
	t.Parallel()
	in, out := tree(t, corpus(2)), t.TempDir()
	r := newRound(nil)
	if _, err := r.prepare(in, out); err != nil {
		t.Fatal(err)
	}
	defer r.shelf.Close()
	r.tasks["mine"] = Task{Path: "part0/note-000.md"}
	letter := func(correlation string) *envelope.Envelope {
		e := &envelope.Envelope{CorrelationID: correlation}
		e.SetReserved(envelope.AttrDeadLetterError, "broken")
		return e
	}
	r.take(writer, letter("another's"))
	r.look()
	if briefs, dead := r.counts(); briefs != 0 || dead != 0 {
		t.Errorf("%d briefs, %d dead letters after another run's", briefs, dead)
	}
	r.take(writer, letter("mine"))
	r.look()
	if briefs, dead := r.counts(); briefs != 0 || dead != 1 || r.dead["part0/note-000.md"] != "writer: broken" {
		t.Errorf("%d briefs, %d dead letters: %v", briefs, dead, r.dead)
	}
	r.take(writer, letter("mine"))
	for name := range corpus(2) {
		if err := writeBrief(out, name, "text"); err != nil {
			t.Fatal(err)
		}
	}
	r.pending = append(r.pending, "part0/note-000.md")
	r.look()
	if briefs, dead := r.counts(); briefs != 2 || dead != 0 || len(r.pending) != 0 {
		t.Errorf("%d briefs, %d dead letters, pending %v", briefs, dead, r.pending)
	}
}

func TestReport(t *testing.T) {
	t.Parallel()
	in, out := tree(t, corpus(2)), t.TempDir()
	if err := writeBrief(out, "part0/note-000.md", "text"); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(filepath.Join(out, "part0", "note-000.md.brief.md"), old, old); err != nil {
		t.Fatal(err)
	}
	r := newRound(nil)
	if _, err := r.prepare(in, out); err != nil {
		t.Fatal(err)
	}
	defer r.shelf.Close()
	for i := range 25 {
		r.dead[strconv.Itoa(i)+".md"] = "researcher: broken"
	}
	ctx, interrupt := context.WithCancel(t.Context())
	interrupt()
	lines := r.report(ctx)
	text := strings.Join(lines, "\n")
	for _, want := range []string{
		"dead letter: 0.md: researcher: broken", "and 5 more dead letters", "1 briefs are older than their documents",
		"interrupted with 1 documents left",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q:\n%s", want, text)
		}
	}
	if len(lines) != maxReported+3 {
		t.Errorf("%d lines, want %d", len(lines), maxReported+3)
	}
}

func TestManyFailuresAreToldAsOne(t *testing.T) {
	t.Parallel()
	full := errors.New("no room")
	if err := firstOf([]error{nil, nil}); err != nil {
		t.Errorf("no failure: %v", err)
	}
	if err := firstOf([]error{nil, full, full, full}); !errors.Is(err, full) || err.Error() != "no room (and 2 more)" {
		t.Errorf("three failures: %v", err)
	}
}
