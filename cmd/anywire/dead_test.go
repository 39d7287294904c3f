package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anywire/anywire"
	"github.com/anywire/anywire/all"
	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
)

const mortals = `
idempotency: { store: %s }
defaults: { retry: { immediate: 0, delayed: 0 } }
agents:
  clerk: { consumes: tasks, produces: none }
  other: { consumes: tasks, produces: none, order: key }
`

// mortal is an app whose agent clerk lets every message die until it is cured.
type mortal struct {
	live

	app   *anywire.App
	stop  func() // drains it
	cured atomic.Bool

	mu      sync.Mutex
	handled map[string]int // by agent and payload
	seen    []*envelope.Envelope
}

var errSick = errors.New("the desk is closed\nfor today")

func (m *mortal) handle(agent string) func(context.Context, *envelope.Envelope) ([]*envelope.Envelope, error) {
	return func(_ context.Context, e *envelope.Envelope) ([]*envelope.Envelope, error) {
		if agent == "clerk" && !m.cured.Load() {
			return nil, envelope.Reject(errSick)
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		m.handled[agent+" "+string(e.Data)]++
		m.seen = append(m.seen, e.Clone())
		return nil, nil
	}
}

func (m *mortal) counts() map[string]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.handled)
}

// run starts the agents and waits until they are ready.
func (m *mortal) run(t *testing.T) {
	t.Helper()
	c, err := config.Load(m.file)
	if err != nil {
		t.Fatal(err)
	}
	m.handled = map[string]int{}
	o := all.Options()
	o.Config = c
	m.app = anywire.New(o)
	m.app.HandleEnvelope("clerk", m.handle("clerk"))
	m.app.HandleEnvelope("other", m.handle("other"))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- m.app.Run(ctx) }()
	m.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(m.stop)
	m.until(t, "the agents are ready", func() bool {
		select {
		case err := <-done:
			done <- err
			t.Fatalf("it does not run: %v", err)
		default:
		}
		return m.app.Health().Ready
	})
}

func (m *mortal) until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s; handled %v", patience, what, m.counts())
		}
	}
}

// publish sends payloads 1 to n.
func (m *mortal) publish(t *testing.T, from, to int) {
	t.Helper()
	for i := from; i <= to; i++ {
		e := envelope.Raw{Type: "task@1", ContentType: "application/json", Data: fmt.Appendf(nil, `{"n":%d}`, i)}
		if err := m.app.Publish(t.Context(), "tasks", e, envelope.WithKey(fmt.Sprint("k", i%3))); err != nil {
			t.Fatal(err)
		}
	}
}

// letters waits for so many dead letters, by the command.
func (m *mortal) letters(t *testing.T, n int) {
	t.Helper()
	want := fmt.Sprintf(`"letters": %d,`, n)
	m.until(t, want, func() bool {
		r := m.call("dead", "list", "--summary", "--json")
		return r.code == exitFine && strings.Contains(r.out, want)
	})
}

// mortalBrokers are where the tests of dead letters run.
func mortalBrokers(t *testing.T) map[string]func(t *testing.T) *mortal {
	t.Helper()
	places := map[string]func(t *testing.T) *mortal{}
	for kind, options := range brokers(t) {
		places[kind] = func(t *testing.T) *mortal {
			t.Helper()
			store := "auto"
			if kind == "kafka" {
				store = "memory"
			}
			return &mortal{live: on(t, kind, options(t), fmt.Sprintf(mortals, store))}
		}
	}
	places["embedded"] = func(t *testing.T) *mortal {
		t.Helper()
		options := fmt.Sprintf("dir: %q, listen: %q", filepath.Join(t.TempDir(), "data"), deadEnds(t)["closed"])
		return &mortal{live: on(t, "embedded", options, fmt.Sprintf(mortals, "auto"))}
	}
	return places
}

func onMortals(t *testing.T, test func(t *testing.T, m *mortal)) {
	t.Helper()
	t.Parallel()
	for kind, place := range mortalBrokers(t) {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			m := place(t)
			m.run(t)
			test(t, m)
		})
	}
}

// The way of a letter, from its death to the agent alone that gave it up.
func TestDeadLettersComeBack(t *testing.T) {
	onMortals(t, func(t *testing.T, m *mortal) {
		t.Helper()
		m.publish(t, 1, 5)
		m.letters(t, 5)
		list := m.call("dead", "list").must(t, "5 dead letters\n")
		id := regexp.MustCompile(`(?m)^\S+  ([a-z2-7]{12})  clerk  rejected  attempts=1  task@1  key=k1  rejected: the desk is closed$`).FindStringSubmatch(list.out)
		if id == nil {
			t.Fatalf("list shows\n%s", list.out)
		}
		show := m.call("dead", "show", id[1]).must(t, "")
		body := regexp.MustCompile(`\{"n":(1|4)\}`).FindString(show.out) // of those with this key
		for _, want := range []string{body, "for today", "kept in", "clerk.dead", "read from", "tasks", "task@1"} {
			if !strings.Contains(show.out, want) {
				t.Errorf("show lacks %q:\n%s", want, show.out)
			}
		}
		dry := m.call("dead", "redrive", "--agent", "clerk", "--dry-run")
		if dry.code != exitFine || strings.Count(dry.out, "would redrive  ") != 5 || dry.errs != "would be redriven: 5 letters, 5 to clerk.inbox\n" {
			t.Errorf("dry run: exit %d\n%s", dry.code, dry.both())
		}
		m.letters(t, 5)

		m.cured.Store(true)
		m.call("dead", "redrive", id[1], "--data", `{"n":100}`).must(t, "redriven: 1 letter, 1 to clerk.inbox\n")
		m.letters(t, 4)
		drop := m.call("dead", "list", "--limit", "1", "--json").must(t, "")
		dropped := regexp.MustCompile(`^\{"id":"([a-z2-7]+)"`).FindStringSubmatch(drop.out)
		if dropped == nil {
			t.Fatalf("list --json shows %s", drop.out)
		}
		m.call("dead", "drop", dropped[1]).must(t, "dropped: 1 letter\n")
		m.letters(t, 3)
		m.call("dead", "redrive", "--all").must(t, "redriven: 3 letters, 3 to clerk.inbox\n")
		m.letters(t, 0)
		m.call("dead", "redrive", "--all").must(t, "redriven: 0 letters\n")
		m.until(t, "four letters were handled", func() bool {
			n := 0
			for what := range m.counts() {
				if strings.HasPrefix(what, "clerk ") {
					n++
				}
			}
			return n == 4
		})
		counts := m.counts()
		if counts[`clerk {"n":100}`] != 1 || body == "" || counts["clerk "+body] != 0 {
			t.Errorf("the edited letter: %v", counts)
		}
		for what, n := range counts {
			if n != 1 {
				t.Errorf("%s was handled %d times: the other agent gets nothing twice, and clerk neither", what, n)
			}
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, e := range m.seen {
			for name := range e.Extensions {
				if strings.HasPrefix(name, "dl") {
					t.Errorf("a handler sees attribute %s", name)
				}
			}
		}
	})
}

// What has no reader is told, and stays.
func TestRedriveWithoutAReader(t *testing.T) {
	t.Parallel()
	for kind, place := range mortalBrokers(t) {
		if kind == "embedded" {
			continue // as nats
		}
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			m := place(t)
			letter := &envelope.Envelope{ID: "1", Source: "/t", Type: "task", SchemaVersion: 1, Topic: "clerk.dead", Data: []byte("1")}
			letter.SetReserved(envelope.AttrDeadLetterID, "abcdefgh")
			letter.SetReserved(envelope.AttrDeadLetterReason, "timeout")
			letter.SetReserved(envelope.AttrDeadLetterAgent, "clerk")
			stranger := letter.Clone()
			stranger.ID = "2"
			stranger.SetReserved(envelope.AttrDeadLetterID, "ijklmnop")
			stranger.SetReserved(envelope.AttrDeadLetterAgent, "nobody")
			tr := m.transport(t)
			if _, err := tr.EnsureTopic(t.Context(), driver.Topic{Name: "clerk.dead"}); err != nil {
				t.Fatal(err)
			}
			if err := tr.Publish(t.Context(), "clerk.dead", letter, stranger, letter); err != nil {
				t.Fatal(err)
			}
			want := func(text string) {
				t.Helper()
				r := m.call("dead", "redrive", "--all")
				if r.code != exitFailed || !strings.Contains(r.errs, text) || !strings.Contains(r.errs, "redriven: 0 letters") ||
					!strings.Contains(r.errs, `agent "nobody" is not in the configuration`) {
					t.Errorf("exit %d, want %q\n%s", r.code, text, r.both())
				}
				if r := m.call("dead", "list", "--summary"); !regexp.MustCompile(`clerk +timeout +1 `).MatchString(r.out) {
					t.Errorf("lost:\n%s", r.both())
				}
			}
			want(`agent "clerk" has no inbox`)
			if _, err := tr.EnsureTopic(t.Context(), driver.Topic{Name: "clerk.inbox"}); err != nil {
				t.Fatal(err)
			}
			want(`group "clerk" of agent "clerk" does not read clerk.inbox`)
		})
	}
}

// Files hold all of a letter, on whatever broker they are read again.
func TestDeadLettersAsFiles(t *testing.T) {
	t.Parallel()
	for kind, place := range mortalBrokers(t) {
		if kind == "embedded" {
			continue // as nats
		}
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			m := place(t)
			file := filepath.Join(t.TempDir(), "letters.jsonl")
			text := `{"topic":"clerk.dead","attributes":[{"name":"specversion","value":"1.0"},{"name":"id","value":"1"},{"name":"source","value":"/t"},` +
				`{"name":"type","value":"task"},{"name":"schemaversion","value":"1"},{"name":"redrive","value":"2"},{"name":"partitionkey","value":"k\u00e9y"},` +
				`{"name":"dlagent","value":"clerk"},{"name":"dlerror","value":"a\ttab <b>"},{"name":"dlid","value":"abcdefgh"},{"name":"mine","value":"yes"}],"data":"{ \"n\" :\n1}"}` + "\n" +
				`{"topic":"clerk.dead","attributes":[{"name":"specversion","value":"1.0"},{"name":"id","value":"2"},{"name":"source","value":"/t"},` +
				`{"name":"type","value":"task"},{"name":"schemaversion","value":"1"},` +
				`{"name":"dlagent","value":"clerk"},{"name":"dlid","value":"bcdefghi"}],"data_base64":"//4="}` + "\n"
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			m.call("dead", "import", file).must(t, "imported 2 letters\n")
			m.call("dead", "import", file).must(t, "imported 2 letters\n") // which are repeats
			first := m.call("dead", "export", "-")
			again := filepath.Join(t.TempDir(), "again.jsonl")
			m.call("dead", "export", again).must(t, "exported 2 letters to "+again+"\n")
			if r := m.call("dead", "export", again); r.code != exitFailed || !strings.Contains(r.errs, "--force replaces it") {
				t.Errorf("over a file: exit %d, %s", r.code, r.both())
			}
			m.call("dead", "export", again, "--force").must(t, "exported 2 letters to "+again+"\n")
			got, err := os.ReadFile(again)
			if err != nil || string(got) != first.out {
				t.Fatalf("a file and stdout differ: %v\n%s\n%s", err, got, first.out)
			}
			r := m.call("dead", "drop", "--all")
			if r.code != exitFine || !strings.HasPrefix(r.errs, "dropped: 2 letters") {
				t.Fatalf("exit %d\n%s", r.code, r.both())
			}
			m.call("dead", "import", again)
			if back := m.call("dead", "export", "-"); back.out != first.out || !strings.Contains(back.out, `"data":"{ \"n\" :\n1}"`) || !strings.Contains(back.out, `"data_base64":"//4="`) {
				t.Errorf("from %s\nto %s", first.out, back.out)
			}
			for bad, want := range map[string]string{
				`{"topic":"clerk.dead","attributes":[]}`:                      "letter 1 of the file: ",
				strings.Split(text, "\n")[0] + "\n{":                          "letter 2 of the file: ",
				strings.ReplaceAll(text, `"clerk.dead"`, `"tasks"`):           `topic "tasks" takes the dead letters of no agent`,
				strings.ReplaceAll(text, `"name":"dlid"`, `"name":"notdlid"`): "it is no dead letter",
			} {
				if r := m.callWith(bad, "dead", "import", "-"); r.code != exitFailed || !strings.Contains(r.errs, want) {
					t.Errorf("%s: exit %d, want %q: %s", bad, r.code, want, r.both())
				}
			}
		})
	}
}

// What was no message of anywire goes back as it came.
func TestRedriveOfWhatCouldNotBeRead(t *testing.T) {
	onMortals(t, func(t *testing.T, m *mortal) {
		t.Helper()
		tr := m.transport(t)
		odd := &driver.Message{Key: "k", Headers: []driver.Header{{Name: "x-who", Value: "me"}}, Body: []byte("no\xffthing")}
		if err := tr.PublishRaw(t.Context(), "tasks", odd); err != nil {
			t.Fatal(err)
		}
		m.letters(t, 2) // one of each agent
		m.call("dead", "redrive", "--agent", "clerk").must(t, "redriven: 1 letter, 1 to clerk.inbox\n")
		found := false
		err := tr.Browse(t.Context(), "clerk.inbox", driver.Start{}, false, func(d *transport.Delivery) bool {
			found = true
			if d.DecodeErr == nil || !bytes.Equal(d.Raw.Body, odd.Body) || !slices.Contains(d.Raw.Headers, odd.Headers[0]) || d.Raw.Key != "k" {
				t.Errorf("the inbox has %+v", d.Raw)
			}
			return true
		})
		if err != nil || !found {
			t.Errorf("the inbox: found %v, %v", found, err)
		}
		m.letters(t, 2) // it cannot be read there either
	})
}

// Inside one process letters come back the same way.
func TestDeadLettersInsideOneProcess(t *testing.T) {
	t.Parallel()
	m := &mortal{live: live{file: writeNew(t, "version: 1\n"+fmt.Sprintf(mortals, "auto"))}}
	m.run(t)
	m.publish(t, 1, 300)
	broker, err := m.app.Transport("memory")
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(m.file)
	if err != nil {
		t.Fatal(err)
	}
	left := func() (n int) {
		_ = broker.Browse(t.Context(), "clerk.dead", driver.Start{}, false, func(*transport.Delivery) bool { n++; return true })
		return n
	}
	m.until(t, "all are dead", func() bool { return left() == 300 })
	m.cured.Store(true)
	cmd := deadRedriveCommand()
	cmd.SetErr(io.Discard)
	a := &deadAction{redrive: true, deads: deads{cmd: cmd, system: newSystem(c, io.Discard), agents: []string{"clerk"}}}
	a.pace, a.shown = newPace(0), &progress{}
	a.inboxes, a.sent, a.kept = map[string]error{}, map[string]int{}, map[string]int{}
	b, err := a.box(t.Context(), broker, a.topics()[0])
	if err == nil {
		err = a.work(t.Context(), b)
	}
	if err != nil || a.done != 300 || len(a.kept) > 0 {
		t.Fatalf("redriven %d, kept %v: %v", a.done, a.kept, err)
	}
	if n := left(); n != 0 {
		t.Errorf("%d letters are left", n)
	}
	m.until(t, "all are handled", func() bool { return len(m.counts()) == 600 })
}

func TestDeadRefuses(t *testing.T) {
	t.Parallel()
	l := onNATS(t, "agents: { clerk: { consumes: tasks } }\n")
	for args, want := range map[string]string{
		"redrive":                     "say which letters: by ID, by flags such as --agent, or --all",
		"drop":                        "say which letters",
		"drop --all abcdefgh":         "--all and an ID exclude each other",
		"redrive abc":                 `the id "abc" is too short`,
		"redrive --all --rate 5/year": "--rate: ",
		"list --agent clrk":           `there is no agent "clrk" in the configuration: there is clerk; did you mean clerk?`,
		"list --older soon":           `--older "soon": use an age`,
		"redrive --all --data x":      "--edit, or --data, changes one letter",
	} {
		if r := l.call(append([]string{"dead"}, strings.Fields(args)...)...); r.code != exitUsage || !strings.Contains(r.errs, want) {
			t.Errorf("%s: exit %d, want %q: %s", args, r.code, want, r.both())
		}
	}
	if r := l.call("dead", "show", "abcdefgh"); r.code != exitFailed || !strings.Contains(r.errs, `there is no dead letter "abcdefgh"`) {
		t.Errorf("exit %d, %s", r.code, r.both())
	}
	l.call("dead", "list").must(t, "0 dead letters\n")
	l.call("dead", "list", "--summary", "--json").must(t, "")
}

// asCommand has the test binary be the command itself, for tests that kill it.
const asCommand = "ANYWIRE_TEST_AS_COMMAND"

// A redrive that is killed in the middle goes on, and with a store nothing is
// handled twice.
func TestRedriveIsKilled(t *testing.T) {
	onMortals(t, func(t *testing.T, m *mortal) {
		t.Helper()
		const letters = 600
		m.publish(t, 1, letters)
		m.letters(t, letters)
		m.cured.Store(true)
		clerk := func() (n int) {
			for what := range m.counts() {
				if strings.HasPrefix(what, "clerk ") {
					n++
				}
			}
			return n
		}
		kills := 0
		for round := 1; round <= 3; round++ {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "dead", "redrive", "--all", "--rate", "200/s", "-c", m.file)
			cmd.Env = append(os.Environ(), asCommand+"=1")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			m.until(t, "some were redriven", func() bool { return clerk() >= round*letters/5 })
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err == nil {
				break // a slow machine: it had ended before
			}
			kills++
		}
		r := m.call("dead", "redrive", "--all")
		if kills == 0 || r.code != exitFine || strings.HasPrefix(r.errs, fmt.Sprintf("redriven: %d ", letters)) {
			t.Fatalf("the last redrive, after %d kills: exit %d\n%s", kills, r.code, r.both())
		}
		m.letters(t, 0)
		m.until(t, "all are handled", func() bool { return clerk() == letters })
		for what, n := range m.counts() {
			if n != 1 {
				t.Errorf("%s was handled %d times", what, n)
			}
		}
	})
}

// putLetters publishes dead letters of clerk, and says how long that took.
func putLetters(t *testing.T, tr *transport.Transport, n int) time.Duration {
	t.Helper()
	if _, err := tr.EnsureTopic(t.Context(), driver.Topic{Name: "clerk.dead", RetentionAge: -1}); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	batch := make([]*envelope.Envelope, 0, mostTogether)
	for i := 1; i <= n; i++ {
		e := &envelope.Envelope{ID: fmt.Sprint(i), Source: "/t", Type: "task", SchemaVersion: 1, Data: []byte(strings.Repeat("x", 256))}
		for name, text := range map[string]string{
			envelope.AttrDeadLetterID: fmt.Sprintf("letter%08d", i), envelope.AttrDeadLetterReason: "timeout",
			envelope.AttrDeadLetterAgent: "clerk", envelope.AttrDeadLetterLast: "2026-01-31T10:00:00Z",
		} {
			e.SetReserved(name, text)
		}
		if batch = append(batch, e); len(batch) < mostTogether && i < n {
			continue
		}
		if err := tr.Publish(t.Context(), "clerk.dead", batch...); err != nil {
			t.Fatal(err)
		}
		batch = batch[:0:0]
	}
	return time.Since(began)
}

// Many letters need no more memory than few, and go about as fast as messages are
// published. How fast depends on the machine's neighbours, so it is only told.
func TestRedriveOfMany(t *testing.T) {
	letters := 10_000
	if os.Getenv("ANYWIRE_TEST_FULL") != "" {
		letters = 100_000
	}
	for kind, place := range mortalBrokers(t) {
		if kind == "embedded" {
			continue // as nats
		}
		t.Run(kind, func(t *testing.T) {
			m := place(t)
			tr := m.transport(t)
			publishing := putLetters(t, tr, letters)
			m.cured.Store(true)
			m.run(t) // makes the inbox and its group, which Kafka knows once it has handled something
			m.publish(t, 1, 1)
			m.until(t, "both agents have handled it", func() bool { return len(m.counts()) == 2 })
			m.stop()
			began := time.Now()
			peak := heapPeak(t, func() {
				want := fmt.Sprintf("redriven: %d letters, %[1]d to clerk.inbox\n", letters)
				m.call("dead", "redrive", "--all").must(t, want)
			})
			redriving := time.Since(began)
			t.Logf("%s: %d letters published in %v, redriven in %v (%.2f of the speed), heap grew by %d KiB", kind, letters,
				publishing.Round(time.Millisecond), redriving.Round(time.Millisecond), publishing.Seconds()/redriving.Seconds(), peak>>10)
			if most := uint64(64 << 20); peak > most {
				t.Errorf("the heap grew by %d MiB, want less than %d", peak>>20, most>>20)
			}
			m.letters(t, 0)
		})
	}
}

// heapPeak is by how much the live heap grew while fn ran.
func heapPeak(t *testing.T, fn func()) uint64 {
	t.Helper()
	heap := func() uint64 {
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return s.HeapAlloc
	}
	before := heap()
	var most uint64
	done := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(200 * time.Millisecond):
				most = max(most, heap())
			}
		}
	})
	fn()
	close(done)
	watching.Wait()
	return max(most, before) - before
}
