package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
)

// patience bounds what must happen.
const patience = 60 * time.Second

// live is a configuration on the shared NATS server, under a prefix of its own.
type live struct {
	file, prefix string
	url          string
}

const liveAgents = `
topics:
  tasks.research: { shards: 2, retention: { age: 7d } }
agents:
  researcher: { consumes: tasks.research, produces: tasks.write, order: key }
  writer: { consumes: tasks.write, produces: briefs }
`

func onNATS(t *testing.T, rest string) live {
	t.Helper()
	return onServer(t, brokertest.SharedNATS(t).URL, 20*time.Second, rest)
}

func onServer(t *testing.T, url string, connectTimeout time.Duration, rest string) live {
	t.Helper()
	l := on(t, "nats", fmt.Sprintf("url: %q, connect_timeout: %v, monitoring: none", url, connectTimeout), rest)
	l.url = url
	return l
}

// on writes a configuration with one transport.
func on(t *testing.T, kind, options, rest string) live {
	t.Helper()
	if !strings.Contains(rest, "\nidempotency:") {
		rest += "\nidempotency: { store: none }\n"
	}
	l := live{prefix: strings.ToLower(nuid.Next()) + "."}
	l.file = writeNew(t, fmt.Sprintf("version: 1\ntransport: %s\ntransports:\n  %[1]s: { prefix: %q, %s }\n%s",
		kind, l.prefix, options, rest))
	return l
}

// call runs a command on the configuration.
func (l live) call(args ...string) result { return l.callWith("", args...) }

func (l live) callWith(in string, args ...string) result {
	return callWith(context.Background(), in, append(args, "-c", l.file)...)
}

// transport is another program's on the same broker.
func (l live) transport(t *testing.T) *transport.Transport {
	t.Helper()
	c, err := config.Load(l.file)
	if err != nil {
		t.Fatal(err)
	}
	s := newSystem(c, io.Discard)
	tr, err := s.open(t.Context(), s.DefaultTransport(), true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { leave(t.Context(), tr) })
	return tr
}

// group makes a group that has read nothing.
func (l live) group(t *testing.T, topic, group string) {
	t.Helper()
	src, err := l.transport(t).Driver().Subscribe(t.Context(), driver.Subscription{
		Topic: l.prefix + topic, Group: l.prefix + group, Window: 10, Lease: 30 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := src.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// must wants exit 0 and nothing on stderr beside what is allowed.
func (r result) must(t *testing.T, allowed string) result {
	t.Helper()
	if r.code != exitFine || r.errs != allowed {
		t.Fatalf("exit %d, stderr %q, want %q; stdout:\n%s", r.code, r.errs, allowed, r.out)
	}
	return r
}

var scrubs = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}`), "ID"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)`), "TIME"},
	{regexp.MustCompile(`(last|from) [0-9][0-9.hms]*s( ago)?`), "$1 AGE$2"},
	{regexp.MustCompile(`nats-server [0-9.]+`), "nats-server VERSION"},
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "HOST:PORT"},
	{regexp.MustCompile(`-?\d+(\.\d+)?m?s from this machine`), "SKEW from this machine"},
	{regexp.MustCompile(`/\S*/new\.yaml`), "new.yaml"},
	{regexp.MustCompile(`[0-9.]+(KiB|MiB|GiB|TiB) free`), "ROOM free"},
	{regexp.MustCompile(`(?m)(\d  +)[0-9][0-9.hms]*s$`), "${1}AGE"},
}

// scrubbed is a call as it looks in every run.
func (l live) scrubbed(args []string, r result) string {
	text := r.transcript(append(args, "-c", "new.yaml"))
	for _, prefix := range []string{l.prefix, strings.ReplaceAll(l.prefix, ".", "~")} { // streams have other names
		text = strings.ReplaceAll(text, prefix, "")
	}
	text = strings.ReplaceAll(text, filepath.Dir(l.file)+string(filepath.Separator), "")
	for _, s := range scrubs {
		text = s.pattern.ReplaceAllString(text, s.with)
	}
	return text
}

// safeBuffer may be read while a command writes.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// running is a command that has not ended.
type running struct {
	out, errs safeBuffer
	stop      context.CancelFunc
	code      chan int
}

func (l live) start(t *testing.T, in io.Reader, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{stop: cancel, code: make(chan int, 1)}
	go func() { r.code <- run(ctx, append(args, "-c", l.file), in, &r.out, &r.errs) }()
	t.Cleanup(cancel)
	return r
}

// shows waits until the output has a text so many times.
func (r *running) shows(t *testing.T, text string, times int) {
	t.Helper()
	deadline := time.After(patience)
	for strings.Count(r.out.String(), text) < times {
		select {
		case <-time.After(10 * time.Millisecond):
		case code := <-r.code:
			t.Fatalf("it ended with %d before it showed %q:\n%s%s", code, text, r.out.String(), r.errs.String())
		case <-deadline:
			t.Fatalf("it does not show %d times %q:\n%s%s", times, text, r.out.String(), r.errs.String())
		}
	}
}

// ends waits for the exit code.
func (r *running) ends(t *testing.T) int {
	t.Helper()
	select {
	case code := <-r.code:
		return code
	case <-time.After(patience):
		t.Fatalf("it does not end:\n%s%s", r.out.String(), r.errs.String())
		return 0
	}
}

// A system from nothing to a backlog, through every command.
func TestTheCommandsAgree(t *testing.T) {
	t.Parallel()
	l := onNATS(t, liveAgents)
	var transcript strings.Builder
	do := func(in string, args ...string) {
		transcript.WriteString(l.scrubbed(args, l.callWith(in, args...)) + "\n")
	}
	do("", "topics")
	do("", "lag")
	do("", "validate", "--connect")
	do("", "tail", "tasks.write")
	do("", "publish", "tasks.write", "--type", "facts@1", "--data", `{"n":1}`, "--key", "rivers", "--ext", "desk=north")
	do("{\"n\":2}\n\n{\"n\":3}\n", "publish", "tasks.write", "--type", "facts@1", "--lines", "--quiet")
	do("{\"n\":4}\n", "publish", "tasks.write", "--type", "facts@2", "--json")
	do("", "validate", "--connect")
	l.group(t, "tasks.write", "writer")
	do("", "tail", "tasks.write")
	do("", "tail", "tasks.write", "--type", "facts@2", "--body")
	do("", "tail", "tasks.write", "--key", "rivers", "--json", "--body")
	do("", "tail", "tasks.write", "--type", "facts", "--limit", "2", "--body")
	do("", "topics")
	do("", "topics", "--json", "--transport", "nats")
	do("", "lag", "--max-waiting", "4")
	do("", "lag", "writer", "--max-waiting", "3", "--max-age", "1h")
	do("", "doctor")
	golden(t, "live/nats", transcript.String())
}

func TestPublishRefuses(t *testing.T) {
	t.Parallel()
	l := onNATS(t, liveAgents+"limits: { body: 100B }\n")
	big := `"` + strings.Repeat("x", 200) + `"`
	for _, c := range []struct {
		in   string
		args []string
		code int
		want string
	}{
		{"{\"n\":1}\n{n}\n", []string{"tasks.write", "--lines"}, 1, `line 2: the payload is not JSON at column 2: invalid character 'n'`},
		{"{\"n\":1}\n{n}\n", []string{"tasks.write", "--lines"}, 1, `; 1 message was published`},
		{"1\n2\n" + big + "\n3\n", []string{"tasks.write", "--lines"}, 1, "line 3 is larger than limits.body, 100:"},
		{big, []string{"tasks.write"}, 1, "the payload is larger than limits.body, 100:"},
		{"", []string{"tasks.write"}, 1, "the payload is empty, which is no JSON"},
		{"", []string{"tasks.write", "--data", "{\n]"}, 1, "the payload is not JSON at line 2, column 1"},
		{"", []string{"tasks.wirte", "--data", "1"}, 1, `there is no topic "tasks.wirte" on transport "nats": the configuration names briefs,`},
		{"", []string{"tasks.wirte", "--data", "1"}, 1, `did you mean tasks.write?; --create makes it`},
		{"", []string{"tasks write", "--data", "1"}, 2, "tasks write"},
		{"", []string{"tasks.write", "--data", "1", "--transport", "kafka"}, 2, `there is no transport "kafka" in the configuration: there is nats`},
		{"", []string{"tasks.write", "--data", "1", "--delay", "1h"}, 1, "cannot deliver later"},
		{"", []string{"tasks.write", "--data", "1", "--ext", "Bad=1"}, 2, "Bad"},
		{"", []string{"tasks.write", "--file", "/nowhere"}, 2, "/nowhere"},
	} {
		r := l.callWith(c.in, append([]string{"publish", "--type", "a@1"}, c.args...)...)
		if r.code != c.code || !strings.Contains(r.errs, c.want) || !strings.HasPrefix(r.errs, "error: ") {
			t.Errorf("%q %v: exit %d, want %d and %q:\n%s", c.in, c.args, r.code, c.code, c.want, r.errs)
		}
	}
	if r := l.call("publish", "tasks.write", "--data", "1"); r.code != exitUsage || !strings.Contains(r.errs, "--type is missing") {
		t.Errorf("no type: exit %d, %s", r.code, r.errs)
	}
	if r := l.call("publish", "elsewhere", "--type", "a@1", "--data", "1", "--create"); r.code != exitFine {
		t.Errorf("--create: exit %d, %s", r.code, r.errs)
	}
	if r := l.call("publish", "elsewhere", "--type", "a@1", "--data", "no json", "--content-type", "text/plain"); r.code != exitFine {
		t.Errorf("text on a topic that only the broker knows: exit %d, %s", r.code, r.errs)
	}
	if r := l.call("tail", "elsewhere", "--body").must(t, ""); !strings.Contains(r.out, "    no json\n") {
		t.Errorf("tail shows %q", r.out)
	}
}

func TestPublishStopsInGoodOrder(t *testing.T) {
	t.Parallel()
	l := onNATS(t, liveAgents)
	in, feed := io.Pipe()
	r := l.start(t, in, "publish", "tasks.write", "--type", "a@1", "--lines", "--json")
	if _, err := io.WriteString(feed, "1\n2\n"); err != nil { // and no end
		t.Fatal(err)
	}
	r.shows(t, `"transport":"nats"`, 2)
	r.stop()
	code := r.ends(t)
	_ = feed.Close()
	if code != exitFailed || r.errs.String() != "error: interrupted; 2 messages were published\n" {
		t.Errorf("exit %d, %q", code, r.errs.String())
	}
}

func TestPublishKeepsItsPace(t *testing.T) {
	t.Parallel()
	l := onNATS(t, liveAgents)
	began := time.Now()
	r := l.callWith("1\n2\n3\n4\n", "publish", "tasks.write", "--type", "a@1", "--lines", "--rate", "10", "-q")
	r.must(t, "published 4 messages to tasks.write on nats\n")
	if took := time.Since(began); took < 300*time.Millisecond {
		t.Errorf("4 messages at 10 per second took %v", took)
	}
}

func TestTailFollows(t *testing.T) {
	t.Parallel()
	l := onNATS(t, liveAgents)
	l.call("publish", "briefs", "--type", "brief@1", "--data", `"before"`).must(t, "")
	r := l.start(t, strings.NewReader(""), "tail", "briefs", "--follow", "--body", "--from", "oldest")
	r.shows(t, `"before"`, 1)
	l.call("publish", "briefs", "--type", "brief@1", "--data", `"after"`).must(t, "")
	r.shows(t, `"after"`, 1)
	r.stop()
	if code := r.ends(t); code != exitFine || r.errs.String() != "" {
		t.Errorf("exit %d, %q", code, r.errs.String())
	}
	limited := l.start(t, strings.NewReader(""), "tail", "briefs", "-f", "--from", "1h", "-n", "2")
	if code := limited.ends(t); code != exitFine || strings.Count(limited.out.String(), "\n") != 2 {
		t.Errorf("with a limit: exit %d, %q", code, limited.out.String())
	}
}

// What others send is shown as what it is, and moves no cursor.
func TestTailShowsWhatIsNoMessage(t *testing.T) {
	t.Parallel()
	l := onNATS(t, liveAgents)
	l.call("publish", "briefs", "--type", "brief@1", "--data", `"one"`).must(t, "")
	nc, err := nats.Connect(l.url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := nc.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{"\x1b[2Jhidden\u202e", "\xff\xfe"} {
		if _, err := js.PublishMsg(&nats.Msg{Subject: l.prefix + "briefs", Data: []byte(body), Header: nats.Header{"x-who": {"me"}}}); err != nil {
			t.Fatal(err)
		}
	}
	r := l.call("tail", "briefs", "--body").must(t, "")
	for _, want := range []string{
		"no message of anywire: header ce-specversion is missing", `    \u001b[2Jhidden\u202e` + "\n", "    base64://4=\n", "brief@1",
	} {
		if !strings.Contains(r.out, want) {
			t.Errorf("tail does not show %q:\n%s", want, r.out)
		}
	}
	if strings.Contains(r.out, "\x1b") {
		t.Errorf("tail lets a message draw: %q", r.out)
	}
	r = l.call("tail", "briefs", "--json").must(t, "")
	if !strings.Contains(r.out, `"error":"header ce-specversion is missing","headers":[{"name":"x-who","value":"me"}]`) {
		t.Errorf("as JSON:\n%s", r.out)
	}
	if r := l.call("tail", "briefs", "--type", "brief").must(t, ""); strings.Count(r.out, "\n") != 1 {
		t.Errorf("a filter lets pass what cannot be read:\n%s", r.out)
	}
}

// A plain topic says itself of which type its messages are, and takes what other
// clients write for them.
func TestPlainTopics(t *testing.T) {
	t.Parallel()
	l := onNATS(t, "topics: { raw: { plain: note@2 } }\nagents: { clerk: { consumes: raw } }\n")
	l.call("publish", "raw", "--data", `{"n":1}`).must(t, "")
	nc, err := nats.Connect(l.url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := nc.Request(l.prefix+"raw", []byte(`{"n":2}`), patience); err != nil {
		t.Fatal(err)
	}
	if r := l.call("tail", "raw", "--body").must(t, ""); strings.Count(r.out, "  note@2  ") != 2 || !strings.Contains(r.out, `{"n":2}`) {
		t.Errorf("tail shows\n%s", r.out)
	}
}

func TestLagWatches(t *testing.T) {
	t.Parallel()
	l := onNATS(t, liveAgents)
	l.call("publish", "tasks.write", "--type", "a@1", "--data", "1").must(t, "")
	l.group(t, "tasks.write", "writer")
	for _, c := range []struct {
		args []string
		want string
	}{{[]string{"--json"}, `"waiting":1`}, {nil, "WAITING"}} {
		r := l.start(t, strings.NewReader(""), append([]string{"lag", "writer", "--watch", "20ms"}, c.args...)...)
		r.shows(t, c.want, 3)
		r.stop()
		if code := r.ends(t); code != exitFine || r.errs.String() != "" {
			t.Errorf("%v: exit %d, %q", c.args, code, r.errs.String())
		}
	}
}

func TestLagBounds(t *testing.T) {
	t.Parallel()
	r := lagRow{Waiting: 3, Pending: 2, Age: 90}
	for _, c := range []struct {
		waiting int64
		age     time.Duration
		want    string
	}{
		{-1, 0, ""},
		{5, 0, ""},
		{4, 0, "5 messages are more than 4"},
		{0, 0, "5 messages are more than 0"},
		{-1, 2 * time.Minute, ""},
		{-1, time.Minute, "1m30s is older than 1m"},
	} {
		row := r
		if row.judge(c.waiting, c.age); row.Exceeded != c.want {
			t.Errorf("%d, %v: %q, want %q", c.waiting, c.age, row.Exceeded, c.want)
		}
	}
}

func TestColoursAreForTerminals(t *testing.T) {
	t.Parallel()
	if painterFor(&bytes.Buffer{}) {
		t.Error("a buffer is no terminal")
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if painterFor(f) {
		t.Error("a file is no terminal")
	}
	if got := painter(true).paint(red, "x"); got != "\x1b[31mx\x1b[0m" {
		t.Errorf("%q", got)
	}
	if got := painter(false).paint(red, "x"); got != "x" {
		t.Errorf("%q", got)
	}
}
