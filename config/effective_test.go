package config

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// samples are configurations that have no problem.
var samples = []string{
	"version: 1\n",
	"version: 1\nagents: { a: { consumes: a } }\n",
	"version: 1\nname: x\ntransports: { memory: { price: \"$$5\", list: [1, \"1\", true, null, \"a: b\", \"*x\"], deep: { a: { b: [] } } } }\n",
	`
version: 1
transport: memory
transports: { memory: {}, staging: { kind: nats, prefix: a. } }
topics: { t: { shards: 4, retention: { age: 1d, bytes: 5GB } }, u: { require: true, transport: staging } }
limits: { body: 1500 }
defaults: { concurrency: 100, retry: { immediate: 0, delayed: 0, backoff: 1ms..2d } }
agents:
  a: { consumes: t, produces: none, order: key, from: 2026-01-31T00:00:00Z }
  b: { consumes: u, order: strict, window: 400, lane_limit: 7, retry: { delayed: 3 } }
`,
}

func printed(t *testing.T, c *Config) string {
	t.Helper()
	var b bytes.Buffer
	if err := c.Print(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestWhatIsPrintedReadsAsTheSame(t *testing.T) {
	t.Parallel()
	for _, text := range samples {
		first := printed(t, parsed(t, text))
		if second := printed(t, parsed(t, first)); first != second {
			t.Errorf("printed and read again it differs (-first +second):\n%s", cmp.Diff(first, second))
		}
	}
}

func TestPrintAsWritten(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]*Config{
		"sample":  parsed(t, samples[len(samples)-1]),
		"literal": {Transports: map[string]Transport{"memory": {}, "bus": {Options: &busOptions{URL: "bus://a:b@c", Wait: time.Hour, Servers: []string{"a"}}}}, Agents: pipeline().Agents},
	} {
		got, file := printed(t, c), filepath.Join("testdata", "print_"+name+".yaml")
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s (-want +got; -update accepts):\n%s", name, diff)
		}
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("the disk is full") }

func TestPrintToABrokenWriter(t *testing.T) {
	t.Parallel()
	if err := pipeline().Print(broken{}); err == nil || !strings.Contains(err.Error(), "the disk is full") {
		t.Errorf("got %v", err)
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	base := input{name: "base.yaml", data: []byte(`version: 1
name: ${NAME:-news}
transport: ${TRANSPORT}
transports: { memory: {}, nats: { url: "nats://${HOST}:${PORT:-4222}", servers: [a] } }
defaults: { timeout: 5m, retry: { delayed: "${DELAYED}" } }
agents:
  a: { consumes: in, concurrency: 4 }
`)}
	prod := input{name: "prod.yaml", data: []byte("agents: { a: { concurrency: 8, lease: 10s } }\n")}
	env := map[string]string{"TRANSPORT": "nats", "HOST": "h", "DELAYED": "1"}
	c, err := load(surroundings{env: func(n string) (string, bool) { v, ok := env[n]; return v, ok }}, []input{base, prod})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"version":                    "version: 1  (base.yaml:1:10)",
		"name":                       "name: news  (base.yaml:2:7, ${NAME}, its default)",
		"transport":                  "transport: nats  (base.yaml:3:12, ${TRANSPORT})",
		"transports.nats.url":        "transports.nats.url: nats://h:4222  (base.yaml:4:40, ${HOST} ${PORT}, its default)",
		"transports.nats.servers":    "transports.nats.servers[0]: a  (base.yaml:4:82)",
		"transports.memory":          "transports.memory.kind: memory  (computed, the entry's name)",
		"limits.body":                "limits.body: 900KiB  (default)",
		"agents.a.concurrency":       "agents.a.concurrency: 8  (prod.yaml:1:29)",
		"agents.a.lease":             "agents.a.lease: 10s  (prod.yaml:1:39)",
		"agents.a.timeout":           "agents.a.timeout: 5m  (base.yaml:5:22, defaults)",
		"agents.a.retry.delayed":     "agents.a.retry.delayed: 1  (base.yaml:5:44, ${DELAYED}, defaults)",
		"agents.a.retry.immediate":   "agents.a.retry.immediate: 2  (default)",
		"agents.a.window":            "agents.a.window: 64  (computed, 4 × concurrency, at least 64)",
		"agents.a.dead_letter":       "agents.a.dead_letter: a.dead  (computed, the agent's name and .dead)",
		"agents.a.transport":         "agents.a.transport: nats  (computed, where its topic lives)",
		"defaults.timeout":           "defaults.timeout: 5m  (base.yaml:5:22)",
		"defaults.retry.immediate":   "defaults.retry.immediate: 2  (default)",
		"idempotency.store":          "idempotency.store: auto  (default)",
		"agents.a.retry.backoff":     "agents.a.retry.backoff: 500ms..1m  (default)",
		"transports.nats.servers[0]": "transports.nats.servers[0]: a  (base.yaml:4:82)",
	} {
		got, err := c.Explain(path)
		if err != nil || len(got) != 1 || got[0].String() != want {
			t.Errorf("Explain(%q) = %v, %v, want %s", path, got, err, want)
		}
	}
	all, err := c.Explain("")
	if err != nil || len(all) < 30 {
		t.Errorf("everything is %d values, %v", len(all), err)
	}
	for path, want := range map[string]string{
		"agents.b":         `there is nothing at "agents.b": there is a`,
		"agents.a.timeot":  `did you mean "timeout"?`,
		"nothing":          "there is version, name",
		"agents.a.lease.x": `there is nothing at "agents.a.lease.x"`,
	} {
		if got, err := c.Explain(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Explain(%q) = %v, %v, want an error with %q", path, got, err, want)
		}
	}
}

func TestExplainOfALiteral(t *testing.T) {
	t.Parallel()
	c := pipeline()
	c.Defaults.Timeout = 1e9
	for path, want := range map[string]string{
		"agents.writer.consumes": "agents.writer.consumes: tasks.write  (program)",
		"agents.writer.timeout":  "agents.writer.timeout: 1s  (program, defaults)",
		"agents.writer.lease":    "agents.writer.lease: 30s  (default)",
	} {
		got, err := c.Explain(path)
		if err != nil || len(got) != 1 || got[0].String() != want {
			t.Errorf("Explain(%q) = %v, %v, want %s", path, got, err, want)
		}
	}
}
