package config

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/anywire/anywire/config/value"
)

// pipeline is the smallest configuration of a program.
func pipeline() *Config {
	return &Config{Agents: map[string]Agent{
		"researcher": {Consumes: "tasks.research", Produces: "tasks.write"},
		"writer":     {Consumes: "tasks.write", Produces: "briefs"},
	}}
}

func TestLiteralWithZeroValues(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]*Config{"pipeline": pipeline(), "zero": {}} {
		if problems := c.Check(); len(problems) != 0 {
			t.Errorf("%s has problems:\n%v", name, problems)
		}
	}
	second := value.Duration(time.Second)
	want := Policy{
		Concurrency: 16, Window: 64, LaneLimit: 16, Timeout: 120 * second, Lease: 30 * second, DrainTimeout: 30 * second, MaxHops: 32,
		Retry: Retry{Immediate: new(2), Delayed: new(5), Backoff: value.Range{Min: second / 2, Max: 60 * second}},
	}
	c := pipeline()
	if diff := cmp.Diff(want, c.Policy("researcher")); diff != "" {
		t.Errorf("the built-in policy (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, c.Policy("nobody")); diff != "" {
		t.Errorf("the policy of nobody (-want +got):\n%s", diff)
	}
	a, ok := c.Agent("writer")
	wantAgent := Agent{
		Consumes: "tasks.write", Produces: "briefs", Group: "writer", Order: "none", Transport: "memory",
		From: "oldest", DeadLetter: "writer.dead", Others: "dead_letter", Policy: want,
	}
	if diff := cmp.Diff(wantAgent, a); diff != "" || !ok {
		t.Errorf("the agent (-want +got):\n%s", diff)
	}
	if _, ok := c.Agent("nobody"); ok {
		t.Error("there is an agent nobody")
	}
	if diff := cmp.Diff(pipeline(), c, cmp.AllowUnexported(Config{})); diff != "" {
		t.Errorf("the configuration was changed (-before +after):\n%s", diff)
	}
}

func TestLiteralProblemsNameThePath(t *testing.T) {
	t.Parallel()
	c := &Config{
		Version: 3, Transport: "natz", Name: "a b",
		Transports: map[string]Transport{"nats": {Kind: "n/a", Prefix: "-"}},
		Topics:     map[string]Topic{"x": {Shards: -1, Transport: "lost"}},
		Limits:     Limits{Body: -1},
		Defaults:   Policy{Retry: Retry{Immediate: new(-1), Backoff: value.Range{Min: 5, Max: 2}}},
		Agents: map[string]Agent{
			"a": {Consumes: "x", Order: "sorted", Policy: Policy{Concurrency: -1, Timeout: -1, Retry: Retry{Backoff: value.Range{Max: 1}}}},
			"b": {},
		},
	}
	got := c.Check().Error()
	for _, want := range []string{
		"agents.a.concurrency: is -1, and must be between 1 and 100000",
		"agents.a.order: \"sorted\" must be none | key | strict",
		"agents.a.retry.backoff: begins at 0s",
		"agents.a.timeout: is -1ns, and must be greater than 0",
		"agents.b.consumes: is missing",
		"defaults.retry.backoff: ends at 2ns, before it begins at 5ns",
		"defaults.retry.immediate: is -1, and must be between 0 and 100",
		"limits.body: is -1, and must be between 1 and 1GiB",
		"name: \"a b\" is not a name",
		"topics.x.shards: is -1, and must be between 1 and 4096",
		"topics.x.transport: there is no transport \"lost\": there is nats, memory",
		"transport: there is no transport \"natz\": there is nats, memory\n    did you mean \"nats\"?",
		"transports.nats.kind: \"n/a\" is not a name",
		"transports.nats.prefix: \"-\" is not a prefix",
		"version: is 3",
	} {
		if !strings.Contains("\n"+got, "\n"+want) {
			t.Errorf("%q is missing in:\n%s", want, got)
		}
	}
}

func TestPolicyLayers(t *testing.T) {
	t.Parallel()
	c := parsed(t, `
version: 1
defaults: { concurrency: 4, window: 100, retry: { immediate: 0, backoff: 1s..2s } }
agents:
  a: { consumes: a, retry: { immediate: 3, delayed: 0 } }
  b: { consumes: b, concurrency: 32, lane_limit: 2 }
`)
	a, b := c.Policy("a"), c.Policy("b")
	if a.Concurrency != 4 || a.Window != 100 || a.LaneLimit != 25 || *a.Retry.Immediate != 3 || *a.Retry.Delayed != 0 || a.Retry.Backoff.String() != "1s..2s" {
		t.Errorf("a has %+v", a)
	}
	if b.Concurrency != 32 || b.Window != 100 || b.LaneLimit != 2 || *b.Retry.Immediate != 0 || *b.Retry.Delayed != 5 {
		t.Errorf("b has %+v", b)
	}
	*a.Retry.Immediate = 9
	if *c.Policy("a").Retry.Immediate != 3 {
		t.Error("a changed policy changes the configuration")
	}
}

func TestWindowFollowsConcurrency(t *testing.T) {
	t.Parallel()
	for concurrency, want := range map[int][2]int{1: {64, 16}, 16: {64, 16}, 17: {68, 17}, 100: {400, 100}, 100_000: {400_000, 100_000}} {
		p := Policy{Concurrency: concurrency}.filled()
		if p.Window != want[0] || p.LaneLimit != want[1] {
			t.Errorf("concurrency %d has window %d and lane limit %d, want %v", concurrency, p.Window, p.LaneLimit, want)
		}
	}
	if p := (Policy{Window: 2}).filled(); p.LaneLimit != 1 {
		t.Errorf("window 2 has the lane limit %d, want 1", p.LaneLimit)
	}
}

func TestWaits(t *testing.T) {
	t.Parallel()
	second := time.Second
	for name, c := range map[string]struct {
		retry    Retry
		attempts int
		want     []time.Duration
	}{
		"defaults":       {Retry{}, 8, []time.Duration{0, 0, second / 2, second, 2 * second, 4 * second, 8 * second}},
		"never":          {Retry{Immediate: new(0), Delayed: new(0)}, 1, []time.Duration{}},
		"only at once":   {Retry{Immediate: new(3), Delayed: new(0)}, 4, []time.Duration{0, 0, 0}},
		"up to the end":  {Retry{Immediate: new(0), Delayed: new(4), Backoff: seconds(1, 3)}, 5, []time.Duration{second, 2 * second, 3 * second, 3 * second}},
		"always alike":   {Retry{Immediate: new(0), Delayed: new(3), Backoff: seconds(5, 5)}, 4, []time.Duration{5 * second, 5 * second, 5 * second}},
		"negative":       {Retry{Immediate: new(-1), Delayed: new(-1)}, 1, []time.Duration{}},
		"does not wrap":  {Retry{Immediate: new(0), Delayed: new(3), Backoff: value.Range{Min: 1 << 61, Max: 1<<63 - 1}}, 4, []time.Duration{1 << 61, 1 << 62, 1<<63 - 1}},
		"huge, in a row": {Retry{Immediate: new(0), Delayed: new(2), Backoff: seconds(3600, 3600)}, 3, []time.Duration{time.Hour, time.Hour}},
	} {
		p := Policy{Retry: c.retry}
		if diff := cmp.Diff(c.want, p.Waits()); diff != "" || p.Attempts() != c.attempts {
			t.Errorf("%s: %d attempts, waits (-want +got):\n%s", name, p.Attempts(), diff)
		}
	}
}

func seconds(from, to int) value.Range {
	return value.Range{Min: value.Duration(from) * value.Duration(time.Second), Max: value.Duration(to) * value.Duration(time.Second)}
}

func TestTimeline(t *testing.T) {
	t.Parallel()
	got := Policy{}.Timeline()
	if want := 8*2*time.Minute + 15500*time.Millisecond*12/10; got.Longest != want || got.Attempts != 8 || got.Immediate != 2 || got.Delayed != 5 {
		t.Errorf("the timeline is %+v, want the longest life %v", got, want)
	}
	const want = "attempts: 8: the first, 2 at once, 5 after a wait; each at most 2m\n" +
		"waits: 500ms, 1s, 2s, 4s, 8s, each up to 20 % longer\nlongest life: 16m18.6s"
	if got.String() != want {
		t.Errorf("it prints as\n%s, want\n%s", got, want)
	}
	if never := (Policy{Retry: Retry{Immediate: new(0), Delayed: new(0)}}).Timeline().String(); !strings.Contains(never, "waits: none\nlongest life: 2m") {
		t.Errorf("no retries print as\n%s", never)
	}
}

func TestParseFrom(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]From{"": {}, "oldest": {}, "now": {Now: true}, "2026-01-31T13:00:00+01:00": {Time: at}} {
		if got, err := ParseFrom(text); err != nil || got.Now != want.Now || !got.Time.Equal(want.Time) {
			t.Errorf("ParseFrom(%q) = %+v, %v, want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"newest", "2026-01-31", "Now"} {
		if got, err := ParseFrom(text); err == nil {
			t.Errorf("ParseFrom(%q) = %+v, want an error", text, got)
		}
	}
}

func TestKind(t *testing.T) {
	t.Parallel()
	c := &Config{Transports: map[string]Transport{"nats": {}, "staging": {Kind: "nats"}}}
	for name, want := range map[string]string{"nats": "nats", "staging": "nats", "memory": "memory", "redis": ""} {
		if got, ok := c.Kind(name); got != want || ok != (want != "") {
			t.Errorf("the kind of %s is %q, %v, want %q", name, got, ok, want)
		}
	}
}
