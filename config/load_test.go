package config

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/anywire/anywire/config/value"
)

// written makes a file in a folder of the test and answers its name.
func written(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// parsed reads a text that must have no problem, with variables.
func parsed(t *testing.T, text string, env ...string) *Config {
	t.Helper()
	c, err := parsedWith(text, env...)
	if err != nil {
		t.Fatalf("problems:\n%v", err)
	}
	return c
}

func parsedWith(text string, env ...string) (*Config, error) {
	return load(surroundings{
		env: func(name string) (string, bool) {
			for _, pair := range env {
				if text, ok := strings.CutPrefix(pair, name+"="); ok {
					return text, true
				}
			}
			return "", false
		},
		read: func(name string) (string, error) { return "hunter2-from-" + filepath.Base(name), nil },
	}, []input{{name: "anywire.yaml", data: []byte(text)}})
}

// only answers the problem of an error that must have no other.
func only(t *testing.T, err error) Problem {
	t.Helper()
	var problems Problems
	if !errors.As(err, &problems) || len(problems) != 1 {
		t.Fatalf("got %v, want one problem", err)
	}
	return problems[0]
}

func TestLoadOfEverything(t *testing.T) {
	t.Parallel()
	c := parsed(t, `
version: 1
name: newsroom
transport: memory
transports:
  memory:
  staging: { kind: nats, prefix: staging., url: nats://localhost:4222 }
topics:
  tasks.research: { shards: 8, retention: { age: 7d, bytes: 1GiB }, replicas: 3, require: true, transport: memory }
idempotency: { store: none }
limits: { body: 1MiB, attributes: 32, attribute_bytes: 8KiB }
defaults: { concurrency: 8, timeout: 1m, retry: { immediate: 0, delayed: 3, backoff: 1s..10s }, max_hops: 16 }
agents:
  researcher:
    consumes: tasks.research
    produces: none
    group: researchers
    order: key
    transport: memory
    from: 2026-01-31T00:00:00Z
    dead_letter: lost
    others: ignore
    concurrency: 64
    window: 128
    lane_limit: 4
    timeout: 30s
    lease: 10s
    drain_timeout: 1m
    retry: { delayed: 7 }
    max_hops: 4
`)
	second := func(n int) value.Duration { return value.Duration(n) * value.Duration(time.Second) }
	want := &Config{
		Version: 1, Name: "newsroom", Transport: "memory",
		Transports: map[string]Transport{"memory": {}, "staging": {Kind: "nats", Prefix: "staging."}},
		Topics: map[string]Topic{"tasks.research": {
			Transport: "memory", Shards: 8, Retention: Retention{Age: value.Duration(7 * value.Day), Bytes: value.GiB}, Replicas: 3, Require: true,
		}},
		Idempotency: Idempotency{Store: "none"},
		Limits:      Limits{Body: value.MiB, Attributes: 32, AttributeBytes: 8 * value.KiB},
		Defaults: Policy{
			Concurrency: 8, Timeout: second(60), MaxHops: 16,
			Retry: Retry{Immediate: new(0), Delayed: new(3), Backoff: value.Range{Min: second(1), Max: second(10)}},
		},
		Agents: map[string]Agent{"researcher": {
			Consumes: "tasks.research", Produces: "none", Group: "researchers", Order: "key", Transport: "memory",
			From: "2026-01-31T00:00:00Z", DeadLetter: "lost", Others: "ignore",
			Policy: Policy{
				Concurrency: 64, Window: 128, LaneLimit: 4, Timeout: second(30), Lease: second(10), DrainTimeout: second(60),
				Retry: Retry{Delayed: new(7)}, MaxHops: 4,
			},
		}},
	}
	ignore := cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".doc" || p.Last().String() == ".Options" }, cmp.Ignore())
	if diff := cmp.Diff(want, c, ignore); diff != "" {
		t.Errorf("read something else (-want +got):\n%s", diff)
	}
	options, ok := c.Transports["staging"].Options.(Section)
	if !ok || !cmp.Equal(options.Keys(), []string{"url"}) || options.String() != "1 options" {
		t.Errorf("options are %v, want the key url", c.Transports["staging"].Options)
	}
}

func TestVariables(t *testing.T) {
	t.Parallel()
	c := parsed(t, `
version: ${VERSION}
name: "${NAME}"
agents:
  a: { consumes: "in.${NAME}", concurrency: "${MANY}", timeout: "${UNSET:-5s}", group: "${EMPTY:-g}", retry: { delayed: "${ZERO}" } }
  b: { consumes: "${file:topic.txt}" }
transports:
  memory: { money: 'a$b $$${NAME} $${NAME}', "${KEY}": 1 }
# ${COMMENT} is no variable, and ${this neither
`, "VERSION=1", "NAME=news", "MANY=8", "EMPTY=", "ZERO=0")
	a := c.Agents["a"]
	want := Agent{Consumes: "in.news", Group: "g", Policy: Policy{Concurrency: 8, Timeout: value.Duration(5 * time.Second), Retry: Retry{Delayed: new(0)}}}
	if diff := cmp.Diff(want, a); diff != "" || c.Name != "news" {
		t.Errorf("agent a (-want +got):\n%s", diff)
	}
	var o struct {
		Money string `yaml:"money"`
		Key   int    `yaml:"${KEY}"`
	}
	if err := c.Decode("transports.memory", &o); err != nil || o.Money != "a$b $news ${NAME}" || o.Key != 1 {
		t.Errorf("options are %+v, %v", o, err)
	}
}

func TestVariablesAreValuesOnly(t *testing.T) {
	t.Parallel()
	c, _ := parsedWith("version: 1\nname: ${EVIL}\nagents: { a: { consumes: a, group: \"${EVIL}\" } }\n", "EVIL=x\nagents: {}")
	if c.Name != "x\nagents: {}" || c.Agents["a"].Group != "x\nagents: {}" {
		t.Errorf("name is %q, group %q: the variable's text did not stay a value", c.Name, c.Agents["a"].Group)
	}
}

func TestFileVariables(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{"plain": "topic\n", "crlf": "group\r\n", "big": strings.Repeat("x", maxVariableFile+1), "binary": "\xff"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	absolute := filepath.Join(dir, "crlf")
	c, err := Parse(filepath.Join(dir, "anywire.yaml"), []byte(`
version: 1
agents:
  a: { consumes: "${file:plain}", group: "${file:`+absolute+`}" }
`))
	if err != nil || c.Agents["a"].Consumes != "topic" || c.Agents["a"].Group != "group" {
		t.Errorf("files gave %+v, %v", c.Agents["a"], err)
	}
	for name, want := range map[string]string{"big": "more than", "binary": "not UTF-8", ".": "not a regular file", "none": "no such file"} {
		_, err := Parse(filepath.Join(dir, "anywire.yaml"), []byte("version: 1\nname: ${file:"+name+"}\n"))
		if p := only(t, err); !strings.Contains(p.Message, want) || p.Line != 2 || p.Column != 7 {
			t.Errorf("the file %s is refused with %v, want %q", name, p, want)
		}
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "missing.yaml")
	c, err := Load(missing)
	if p := only(t, err); c != nil || p.File != missing || !strings.Contains(p.Message, "does not exist") || !strings.Contains(p.Hint, "-c FILE") {
		t.Errorf("a missing file gives %v, %v", c, err)
	}
	_, err = Load(t.TempDir())
	if p := only(t, err); !strings.Contains(p.Message, "is a directory") {
		t.Errorf("a folder gives %v", p)
	}
	_, err = Load()
	if p := only(t, err); !strings.Contains(p.Message, "no configuration file") {
		t.Errorf("no file gives %v", p)
	}
}

func TestLargeFileIsNotParsed(t *testing.T) {
	t.Parallel()
	file := written(t, "large.yaml", strings.Repeat("a: [b, c]\n", 1<<20))
	start := time.Now()
	_, err := Load(file)
	if p := only(t, err); p.Line != 0 || !strings.Contains(p.Message, "10485760 bytes, more than the 1MiB") {
		t.Errorf("10 MiB give %v", p)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("refusing 10 MiB took %v", took)
	}
	_, err = Parse("large.yaml", bytes.Repeat([]byte("#"), int(MaxFile)+1))
	if p := only(t, err); !strings.Contains(p.Message, "1048577 bytes") {
		t.Errorf("one byte too many gives %v", p)
	}
	full := append([]byte("version: 1\n"), bytes.Repeat([]byte("#"), int(MaxFile)-11)...)
	if _, err := Parse("full.yaml", full); err != nil {
		t.Errorf("the largest file gives %v", err)
	}
}

func TestTextThatIsNone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text         string
		line, column int
		want         string
	}{
		"latin 1":        {"version: 1\nname: caf\xe9\n", 2, 10, "byte 0xe9"},
		"zero":           {"version: 1\n# \x00\n", 2, 3, "byte 0x00"},
		"utf-16":         {"\xff\xfev\x00", 1, 1, "byte 0xff"},
		"deep":           {"version: 1\nagents: " + strings.Repeat("[", 200) + strings.Repeat("]", 200), 2, 109, "deeper than 100 levels"},
		"deeper":         {strings.Repeat("[", 100_000), 1, 1, "not valid YAML"},
		"second, broken": {"version: 1\n---\na: [\n", 3, 5, "not valid YAML"},
		"after the end":  {"version: 1\n...\nmore: 1\n", 3, 1, "second document"},
		"null":           {"~\n", 1, 1, "empty"},
		"text":           {"version\n", 1, 1, "must be a map"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse("bad.yaml", []byte(c.text))
			p := only(t, err)
			if !strings.Contains(p.Message, c.want) || name != "deeper" && (p.Line != c.line || p.Column != c.column) {
				t.Errorf("got %d:%d: %s, want %d:%d: %s", p.Line, p.Column, p.Message, c.line, c.column, c.want)
			}
		})
	}
}

func TestLineBreaks(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"windows":  "version: 1\r\nname: a\r\nwrong: 1\r\n",
		"old mac":  "version: 1\rname: a\rwrong: 1\r",
		"unicode":  "version: 1\u2028name: a\u0085wrong: 1\n",
		"with bom": "\ufeffversion: 1\nname: a\nwrong: 1",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse("x.yaml", []byte(text))
			if p := only(t, err); p.Line != 3 || p.Column != 1 || p.Source != "wrong: 1" {
				t.Errorf("got %d:%d %q, want 3:1 of wrong: 1", p.Line, p.Column, p.Source)
			}
		})
	}
}

func TestAnchorsAndMergeKeys(t *testing.T) {
	t.Parallel()
	c := parsed(t, `
version: 1
defaults: &calm { timeout: 5m, retry: &retry { delayed: 9 } }
agents:
  a: &a { consumes: a, <<: *calm, timeout: 1s }
  b: { <<: [*a, { order: key, timeout: 2s }], consumes: &b b }
  c: { consumes: c, retry: *retry, group: *b }
`)
	a, b, third := c.Agents["a"], c.Agents["b"], c.Agents["c"]
	if a.Timeout.String() != "1s" || *a.Retry.Delayed != 9 {
		t.Errorf("a is %+v, want its own timeout over the merged one", a)
	}
	if b.Consumes != "b" || b.Timeout.String() != "1s" || b.Order != "key" {
		t.Errorf("b is %+v, want the earlier of the merged ones to win", b)
	}
	if *third.Retry.Delayed != 9 || third.Group != "b" {
		t.Errorf("c is %+v, want aliases resolved", third)
	}
}

func TestOverlays(t *testing.T) {
	t.Parallel()
	base := written(t, "base.yaml", `
version: 1
transports: { memory: {}, nats: { url: nats://localhost:4222, servers: [a, b] } }
defaults: { retry: { immediate: 1, delayed: 2 } }
agents:
  a: { consumes: a, concurrency: 4 }
  b: { consumes: b }
`)
	prod := written(t, "prod.yaml", `
transport: nats
transports: { nats: { servers: [c] } }
defaults: { retry: { delayed: 8 } }
agents:
  a: { timeout: 9s }
  b:
  c: { consumes: c }
`)
	c, err := Load(base, prod)
	if err != nil {
		t.Fatal(err)
	}
	p := c.Policy("a")
	if p.Concurrency != 4 || p.Timeout.String() != "9s" || *p.Retry.Immediate != 1 || *p.Retry.Delayed != 8 {
		t.Errorf("the policy is %+v, want maps merged", p)
	}
	if len(c.Agents) != 3 || c.Agents["b"].Consumes != "b" || c.DefaultTransport() != "nats" {
		t.Errorf("agents are %+v on %s", c.Agents, c.DefaultTransport())
	}
	var o struct {
		URL     string   `yaml:"url"`
		Servers []string `yaml:"servers"`
	}
	if err := c.Decode("transports.nats", &o); err != nil || o.URL != "nats://localhost:4222" || !cmp.Equal(o.Servers, []string{"c"}) {
		t.Errorf("options are %+v, %v, want the list replaced", o, err)
	}
}

func TestLargeInputIsReadInTime(t *testing.T) {
	t.Parallel()
	const size = 128 << 10 // enough to see what grows with the square
	many := func(head, each, tail string) string {
		var b strings.Builder
		b.WriteString(head)
		for i := 0; b.Len()+len(each)+len(tail)+16 < size; i++ {
			fmt.Fprintf(&b, each, i)
		}
		return b.String() + tail
	}
	for name, text := range map[string]string{
		"many agents":              many("version: 1\nagents:\n", " a%d: { consumes: x }\n", ""),
		"wrong keys on one line":   many("version: 1\nagents: { a: { ", "x%d: 1, ", "} }\n"),
		"variables on one line":    many("version: 1\nagents: [ ", "'${X%d}', ", "]\n"),
		"one key again and again":  many("version: 1\n", "name: x # %d\n", ""),
		"entries of the same list": many("version: 1\ntopics: [ ", "%d, ", "]\n"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			_, err := Parse("large.yaml", []byte(text))
			var problems Problems
			if err != nil && !errors.As(err, &problems) {
				t.Fatal(err)
			}
			if length := len(problems.Error()); length > 20<<20 {
				t.Errorf("the problems take %d bytes", length)
			}
			if took := time.Since(start); took > 60*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}
