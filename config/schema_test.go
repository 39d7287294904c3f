package config

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"
)

// schemaEnv gives the variables that samples of the schema use.
var schemaEnv = []string{"N=1", "S=text", "T=1s", "B=true", "SIZE=1KiB", "V=1"}

func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	text, err := Schema(map[string]reflect.Type{"bus": reflect.TypeFor[busOptions]()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("config.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := compiler.Compile("config.json")
	if err != nil {
		t.Fatalf("the schema is no schema: %v", err)
	}
	return s
}

// judged answers what the schema says of a text.
func judged(t *testing.T, s *jsonschema.Schema, text string) error {
	t.Helper()
	var plain any
	if err := yaml.Load([]byte(text), &plain); err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
	asJSON, err := json.Marshal(plain)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(asJSON)))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(doc)
}

// agentWith and busWith wrap keys into a whole file.
func agentWith(keys string) string {
	return "version: 1\nagents: { a: { consumes: a, " + keys + " } }\n"
}

func busWith(keys string) string {
	return "version: 1\ntransport: bus\ntransports: { bus: { " + keys + " } }\n"
}

// readFully loads a text and decodes its transports as root does.
func readFully(text string) error {
	c, err := parsedWith(text, schemaEnv...)
	if err != nil {
		return err
	}
	for name := range c.Transports {
		var o any = new(struct{})
		if kind, _ := c.Kind(name); kind == "bus" {
			o = new(busOptions)
		}
		if err := c.Decode("transports."+name, o); err != nil {
			return err
		}
	}
	return nil
}

func TestSchemaAcceptsWhatLoadAccepts(t *testing.T) {
	t.Parallel()
	s := compiled(t)
	for _, text := range []string{
		"version: 1\n",
		"version: ${V}\nname: \"${S}\"\n",
		"version: 1\nagents:\ntopics:\ntransports:\nlimits:\ndefaults:\nidempotency:\n",
		"version: 1\nlimits: { body: 1024, attributes: 16, attribute_bytes: 8KiB }\n",
		"version: 1\nlimits: { body: 1.5 MiB }\n",
		"version: 1\nlimits: { body: \"${SIZE}\" }\n",
		"version: 1\ntopics: { a: , b: { shards: 2, retention: { age: 7d, bytes: 1GB }, require: true }, c: { require: \"${B}\" } }\n",
		"version: 1\ntransport: other\ntransports: { other: { kind: bus, port: 1 }, memory: , bus: }\n",
		"version: 1\ntransport: other\ntransports: { other: { kind: memory, prefix: a. } }\n",
		"version: 1\ntransport: bus\ntransports: { bus: { kind: memory } }\n",
		agentWith(`concurrency: "${N}", timeout: "${T}", order: "${UNSET:-key}"`),
		agentWith(`timeout: 1d12h, lease: 30s, drain_timeout: 1h30m, from: 2026-01-31T00:00:00Z`),
		agentWith(`retry: { immediate: 0, delayed: 0, backoff: 500ms..1m }`),
		agentWith(`retry: { backoff: 5s }, produces: none, others: ignore, dead_letter: x, group: g, max_hops: 3, window: 16, lane_limit: 1, from: now`),
		agentWith(`timeout: 1500us, lease: 1.5s`),
		busWith(`url: x, servers: [a], password: 1234, keys: [a, true], size: 12, wait: 1d, tls: { insecure: true }`),
		busWith(`servers: , tls: , labels: , ratio: 1, extra: { a: [1] }, sync: never, port: 0x10, deep: 1`),
		busWith(`ratio: "${N}", port: "${N}", size: "${SIZE}", tls: { insecure: "${B}" }`),
	} {
		if err := readFully(text); err != nil {
			t.Errorf("Load refuses:\n%s\n%v", text, err)
		}
		if err := judged(t, s, text); err != nil {
			t.Errorf("the schema refuses:\n%s\n%v", text, err)
		}
	}
}

func TestSchemaRefusesWhatLoadRefuses(t *testing.T) {
	t.Parallel()
	s := compiled(t)
	for _, text := range []string{
		"agents: {}\n",
		"version: 2\n",
		"version: one\n",
		"version: 1\nname: 8\n",
		"version: 1\nagent: {}\n",
		"version: 1\nagents: []\n",
		"version: 1\nstores: []\n",
		"version: 1\nlimits: { body: 1XB }\n",
		"version: 1\nlimits: { body: -1 }\n",
		"version: 1\nlimits: { body: true }\n",
		"version: 1\ntopics: { a: { shard: 2 } }\n",
		"version: 1\ntopics: { a: { retention: 7d } }\n",
		"version: 1\ntopics: { a: { require: maybe } }\n",
		"version: 1\ntransports: { memory: { url: x } }\n",
		"version: 1\ntransport: x\ntransports: { x: { kind: bus, prot: 1 } }\n",
		"version: 1\ntransport: bus\ntransports: { bus: { kind: memory, port: 1 } }\n",
		"version: 1\nidempotency: { ttl: soon }\n",
		"version: 1\nagents: { a: { consumes: 8 } }\n",
		agentWith(`concurency: 4`),
		agentWith(`concurrency: many`),
		agentWith(`concurrency: "8"`),
		agentWith(`concurrency: 1.5`),
		agentWith(`order: sorted`),
		agentWith(`others: drop`),
		agentWith(`timeout: 30`),
		agentWith(`timeout: -1s`),
		agentWith(`timeout: soon`),
		agentWith(`timeout: [1s]`),
		agentWith(`retry: { backoff: 1s.. }`),
		agentWith(`retry: 3`),
		agentWith(`rate: 100/x`),
		busWith(`sync: nver`),
		busWith(`servers: a`),
		busWith(`tls: { insecure: 1 }`),
		busWith(`labels: { a: [b] }`),
		busWith(`password: [x]`),
		busWith(`wait: 5`),
	} {
		if err := readFully(text); err == nil {
			t.Errorf("Load accepts:\n%s", text)
		}
		if err := judged(t, s, text); err == nil {
			t.Errorf("the schema accepts:\n%s", text)
		}
	}
}

// described walks a struct and calls what is at every key.
func described(t reflect.Type, path string, at func(path string, f field)) {
	for _, f := range fieldsOf(t) {
		if f.rest {
			continue
		}
		at(join(path, f.name), f)
		inner := f.typ
		for inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Map {
			inner = inner.Elem()
		}
		if isBlock(inner) {
			described(inner, join(path, f.name), at)
		}
	}
}

func TestEveryKeyIsDescribed(t *testing.T) {
	t.Parallel()
	keys := 0
	described(reflect.TypeFor[Config](), "", func(path string, f field) {
		keys++
		if f.tag.Get("doc") == "" || f.tag.Get("example") == "" {
			t.Errorf("%s has no doc or no example", path)
		}
		_, preset := f.tag.Lookup("default")
		_, computed := f.tag.Lookup("computed")
		optional := path != "agents.consumes" && !strings.HasSuffix(path, "produces") && !isBlock(f.typ) && f.typ.Kind() != reflect.Map
		if preset && computed || optional && !preset && !computed {
			t.Errorf("%s needs one of the tags default and computed", path)
		}
		for _, tag := range []string{"default", "example"} {
			text, ok := f.tag.Lookup(tag)
			if !ok || strings.Contains(text, "${") {
				continue
			}
			found := &report{}
			var tree *node
			if f.typ.Kind() == reflect.Map || isBlock(f.typ) {
				tree = (&document{}).parse(found, input{name: "tag", data: []byte(text)}, 0)
			} else {
				tree = plainScalar(text)
			}
			if tree != nil {
				(&decoder{report: found}).value(tree, reflect.New(f.typ).Elem(), path)
			}
			if len(found.list) > 0 {
				t.Errorf("the %s of %s cannot be read: %v", tag, path, found.list)
			}
		}
	})
	if keys < 40 {
		t.Errorf("found %d keys only", keys)
	}
}

func TestSchemaAsWritten(t *testing.T) {
	t.Parallel()
	text, err := Schema(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", "schema.json")
	if *update {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(text)); diff != "" {
		t.Errorf("the schema (-want +got; -update accepts):\n%s", diff)
	}
}
