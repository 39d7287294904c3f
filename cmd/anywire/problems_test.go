package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// want is one problem: its place, and parts of its message and hint. Source line
// and caret are wanted unless the line is empty.
type want struct {
	place, message, hint string

	noExcerpt bool
}

func TestProblems(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		text string
		want []want
	}{
		"unknown keys": {
			"version: 1\nagentz: {}\nagents:\n  a: { consumes: in, timout: 3s }\ntopics: { in: { shard: 2 } }\n",
			[]want{
				{place: "2:1", message: `unknown key "agentz"`, hint: `did you mean "agents"?`},
				{place: "4:22", message: `agents.a: unknown key "timout"`, hint: `did you mean "timeout"?`},
				{place: "5:17", message: `topics.in: unknown key "shard"`, hint: `did you mean "shards"?`},
			},
		},
		"duplicate keys": {
			"version: 1\nagents:\n  a: { consumes: in, consumes: out }\n  a: { consumes: in }\nversion: 1\n",
			[]want{
				{place: "3:22", message: `duplicate key "consumes": the first is at line 3, column 8`, hint: "keep one of them"},
				{place: "4:3", message: `duplicate key "a"`, hint: "keep one of them"},
				{place: "5:1", message: `duplicate key "version"`, hint: "keep one of them"},
			},
		},
		"wrong types": {
			"version: one\nagents:\n  a: { consumes: [in], concurrency: many, timeout: 30, retry: 3 }\ntopics: [in]\n",
			[]want{
				{place: "1:10", message: "version: must be a whole number"},
				{place: "3:18", message: "agents.a.consumes: must be a text, not a list"},
				{place: "3:37", message: "agents.a.concurrency: must be a whole number"},
				{place: "3:52", message: `duration "30" has no unit`},
				{place: "3:63", message: "agents.a.retry: must be"},
				{place: "4:9", message: "topics: must be"},
			},
		},
		"undefined variable": {
			"version: 1\nname: ${ANYWIRE_TEST_NO_SUCH_VARIABLE}\n",
			[]want{{place: "2:7", message: "the variable ANYWIRE_TEST_NO_SUCH_VARIABLE is not set", hint: "give a default: ${ANYWIRE_TEST_NO_SUCH_VARIABLE:-default}"}},
		},
		"file of a variable": {
			"version: 1\nname: ${file:nowhere.txt}\n",
			[]want{{place: "2:7", message: "nowhere.txt"}},
		},
		"unquoted variable in flow style": {
			"version: 1\nagents: { a: { consumes: ${TOPIC} } }\n",
			[]want{{place: "2:", message: "not valid YAML", hint: `inside { } and [ ] a variable must be quoted: "${NAME}"`}},
		},
		"second document": {
			"version: 1\n---\nversion: 1\n",
			[]want{{place: "2:1", message: "a second document begins here", hint: "one file holds one document"}},
		},
		"empty":         {"", []want{{place: "1:1", message: "the file is empty", hint: "a file begins with: version: 1", noExcerpt: true}}},
		"a list":        {"- version: 1\n", []want{{place: "1:1", message: "the file must be a map of keys"}}},
		"no version":    {"agents: { a: { consumes: in } }\n", []want{{place: "1:1", message: "version: is missing", hint: "version: 1"}}},
		"a later one":   {"version: 2\n", []want{{place: "1:10", message: "version: is 2, and this version of anywire reads 1", hint: "write version: 1"}}},
		"tabs":          {"version: 1\nagents:\n\ta: { consumes: in }\n", []want{{place: "3:", message: "not valid YAML", hint: "indent with spaces, not with tabs"}}},
		"open quote":    {"version: 1\nname: \"newsroom\n", []want{{place: "2:", message: "not valid YAML", hint: "a quote is not closed"}}},
		"not text":      {"version: 1\nname: \x01\n", []want{{place: "2:7", message: "the file is not plain text: byte 0x01", hint: "save it as UTF-8"}}},
		"not UTF-8":     {"version: 1\nname: caf\xe9\n", []want{{place: "2:10", message: "the file is not plain text: byte 0xe9", hint: "save it as UTF-8"}}},
		"custom tag":    {"version: 1\nname: !shell date\n", []want{{place: "2:7", message: "!shell"}}},
		"unknown alias": {"version: 1\nname: *lost\n", []want{{place: "2:", message: "anchor"}}},
		"alias bomb": {
			bomb(), []want{{place: "", message: "alias"}},
		},
		"unknown kind": {
			"version: 1\ntransport: bus\ntransports:\n  bus: { kind: natz }\n",
			[]want{{place: "4:", message: `kind "natz"`}},
		},
		"unknown kind by its name": {
			"version: 1\ntransport: natz\ntransports:\n  natz: {}\n",
			[]want{{place: "4:3", message: `kind "natz"`}},
		},
		"wrong driver option": {
			"version: 1\ntransport: nats\ntransports:\n  nats: { urls: nats://localhost }\n",
			[]want{{place: "4:11", message: `transports.nats: unknown key "urls"`, hint: `did you mean "url"?`}},
		},
		"wrong type of a driver option": {
			"version: 1\ntransport: nats\ntransports:\n  nats: { max_pending: lots, connect_timeout: 5 }\n  memory: { capacity: [] }\n",
			[]want{
				{place: "4:24", message: "transports.nats.max_pending: must be a whole number"},
				{place: "4:47", message: `transports.nats.connect_timeout: duration "5" has no unit`},
				{place: "5:23", message: "transports.memory.capacity: must be a whole number"},
			},
		},
		"agents on an unknown transport": {
			"version: 1\ntransport: nast\ntransports: { nats: {} }\nagents:\n  a: { consumes: in }\n  b: { consumes: x, transport: kafka }\n",
			[]want{
				{place: "2:12", message: `transport: there is no transport "nast"`, hint: `did you mean "nats"?`},
				{place: "6:32", message: `agents.b.transport: there is no transport "kafka": there is nats, memory`, hint: "add it under transports"},
			},
		},
		"a topic on two transports": {
			"version: 1\ntransports: { nats: {} }\ntransport: memory\nagents:\n  a: { consumes: in, transport: memory }\n  b: { consumes: in, transport: nats }\n",
			[]want{{place: "5:33", message: `in`, hint: "name it once, under topics"}},
		},
		"order refused": {
			"version: 1\ntopics: { in: { shards: 8 } }\nagents:\n  a: { consumes: in, order: strict }\n  b: { consumes: in, order: keys }\n",
			[]want{
				{place: "4:29", message: "agents.a.order: strict order needs one shard, and the topic in has 8", hint: "use order: key, or shards: 1"},
				{place: "5:29", message: `agents.b.order: "keys" must be none | key | strict`, hint: `did you mean "key"?`},
			},
		},
		"a nameless agent": {
			"version: 1\nagents:\n  \"\": { consumes: in }\n",
			[]want{{place: "3:3", message: "a key is empty"}},
		},
		"own dead letters": {
			"version: 1\nagents:\n  a: { consumes: in, dead_letter: in }\n",
			[]want{{place: "3:35", message: "the dead-letter topic in is also the topic that the agent consumes", hint: "give one of them another name"}},
		},
		"one group twice": {
			"version: 1\nagents:\n  a: { consumes: in, group: g }\n  b: { consumes: in, group: g }\n",
			[]want{{place: "4:29", message: `"g" is also the group of agent a`, hint: "give each agent a group of its own"}},
		},
		"out of bounds": {
			"version: 1\ndefaults: { concurrency: 0, window: 48 }\nagents:\n  a: { consumes: in, concurrency: 64, retry: { delayed: -1, backoff: 1m..1s } }\n",
			[]want{
				{place: "2:26", message: "defaults.concurrency: is 0"},
				{place: "4:35", message: "agents.a.concurrency: is 64, more than the window of 48", hint: "raise window, too"},
				{place: "4:57", message: "agents.a.retry.delayed: is -1"},
				{place: "4:70", message: "agents.a.retry.backoff: range \"1m..1s\" ends before it begins: write 1s..1m"},
			},
		},
		"what a later version has": {
			"version: 1\ngateways: {}\n",
			[]want{{place: "2:1", message: `"gateways"`}},
		},
		"stores that are not there": {
			"version: 1\ntransport: kafka\ntransports: { kafka: {} }\nidempotency: { store: legder }\nstores: { ledger: { kind: sqlite } }\n" +
				"agents: { a: { consumes: b, idempotency_key: order_id, rate: 0/s } }\n",
			[]want{
				{place: "4:23", message: `there is no store "legder"`, hint: `did you mean "ledger"?`},
				{place: "6:46", message: "does not say where the key is"},
				{place: "6:62", message: "is 0/s"},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checkProblems(t, test.text, test.want)
		})
	}
}

// bomb would be 10^9 values.
func bomb() string {
	var b strings.Builder
	b.WriteString("version: 1\na0: &a0 [x]\n")
	for i := range 9 {
		fmt.Fprintf(&b, "a%d: &a%d [%s*a%d]\n", i+1, i+1, strings.Repeat(fmt.Sprintf("*a%d, ", i), 9), i)
	}
	return b.String()
}

// checkProblems wants exactly these problems, each with place, line and caret.
func checkProblems(t *testing.T, text string, wants []want) {
	t.Helper()
	file := writeNew(t, text)
	r := call("validate", "-c", file)
	if r.code != exitUsage || r.out != "" {
		t.Errorf("exit %d, stdout %q", r.code, r.out)
	}
	problems := strings.Split("\n"+strings.TrimSuffix(r.errs, "\n"), "\n"+file+":")
	if got := strings.TrimSpace(problems[0]); got != "" {
		t.Errorf("it begins with %q", got)
	}
	problems = problems[1:]
	for i, p := range problems {
		if i == len(problems)-1 {
			p = withoutCount(t, p, len(problems))
		}
		if !slices.ContainsFunc(wants, func(w want) bool { return w.fits(p) }) {
			t.Errorf("not wanted:\n%s", p)
		}
	}
	for _, w := range wants {
		if !slices.ContainsFunc(problems, w.fits) {
			t.Errorf("%+v is not among:\n%s", w, r.errs)
		}
	}
	checkJSON(t, file, len(problems))
}

// withoutCount cuts the last line off, which counts the problems.
func withoutCount(t *testing.T, p string, n int) string {
	t.Helper()
	rest, ok := strings.CutSuffix(p, "\n"+count(n, "problem"))
	if !ok {
		t.Errorf("the last line does not count %d problems: %s", n, p)
	}
	return rest
}

// fits holds a problem, after its file, against what is wanted: the place and
// message on the first line, the source line, the caret, and the hint.
func (w want) fits(p string) bool {
	first, rest, _ := strings.Cut(p, "\n")
	if !strings.HasPrefix(first, w.place) || !strings.Contains(first, w.message) {
		return false
	}
	if w.hint != "" && !strings.Contains(rest, w.hint) {
		return false
	}
	lines := strings.Split(rest, "\n")
	return w.noExcerpt || len(lines) > 1 && strings.TrimSpace(lines[1]) == "^"
}

// checkJSON wants the same number of problems there, each with its place.
func checkJSON(t *testing.T, file string, n int) {
	t.Helper()
	r := call("validate", "-c", file, "--json")
	var v verdict
	if err := json.Unmarshal([]byte(r.out), &v); err != nil || r.code != exitUsage || r.errs != "" {
		t.Fatalf("json: exit %d, %v, %q", r.code, err, r.both())
	}
	if v.Valid || len(v.Problems) != n {
		t.Errorf("json has %d problems, want %d: %s", len(v.Problems), n, r.out)
	}
	for _, p := range v.Problems {
		if p.File != file || p.Line == 0 || p.Column == 0 || p.Message == "" {
			t.Errorf("json: %+v", p)
		}
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	large := filepath.Join(dir, "large.yaml")
	if err := os.WriteFile(large, []byte("version: 1\n"+strings.Repeat("# ten million\n", 10<<20/14)), 0o600); err != nil {
		t.Fatal(err)
	}
	for file, wants := range map[string][]string{
		filepath.Join(dir, "none.yaml"): {"the file does not exist", "name another with -c FILE, or begin with: anywire init"},
		dir:                             {"cannot read the file: is a directory", "name a readable file with -c FILE"},
		large:                           {"more than the 1MiB that are read", "is it the right file?"},
	} {
		r := call("validate", "-c", file)
		if r.code != exitUsage || r.out != "" || !strings.HasPrefix(r.errs, file+": ") || !strings.HasSuffix(r.errs, "\n1 problem\n") {
			t.Errorf("%s: exit %d, %q", file, r.code, r.both())
		}
		for _, want := range wants {
			if !strings.Contains(r.errs, want) {
				t.Errorf("%s: %q lacks %q", file, r.errs, want)
			}
		}
	}
}

func TestProblemsOfOverlays(t *testing.T) {
	t.Parallel()
	base := writeNew(t, "version: 1\nagents:\n  a: { consumes: in, window: 8 }\n  b: { consumes: in, timeot: 1s }\n")
	prod := writeNew(t, "agents:\n  a: { concurrency: 64 }\n")
	if r := call("validate", "-c", base, "-c", prod); r.code != exitUsage ||
		!strings.Contains(r.errs, base+":4:22: agents.b: unknown key") || // wrong by itself
		!strings.Contains(r.errs, base+":3:30: agents.a.window: is 8, less than the concurrency of 64") { // by what is laid over it
		t.Errorf("exit %d, %s", r.code, r.both())
	}
	repaired := writeNew(t, "agents: { a: { window: 128 } }\n")
	sound := writeNew(t, "version: 1\nagents:\n  a: { consumes: in, window: 8 }\n")
	if r := call("validate", "-c", sound, "-c", prod); r.code != exitUsage {
		t.Errorf("exit %d, %s", r.code, r.both())
	}
	if r := call("validate", "-c", sound, "-c", prod, "-c", repaired); r.code != exitFine {
		t.Errorf("repaired by the last file: exit %d, %s", r.code, r.both())
	}
}
