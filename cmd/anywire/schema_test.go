package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"

	"github.com/anywire/anywire/internal/docstest"
)

// compiled is the schema that the command prints.
func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	r := call("schema", "config")
	if r.code != exitFine || r.errs != "" {
		t.Fatalf("exit %d, stderr %q", r.code, r.errs)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(r.out))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("anywire.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("anywire.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// judge holds YAML against the schema.
func judge(t *testing.T, s *jsonschema.Schema, text []byte) error {
	t.Helper()
	var doc any
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	return s.Validate(doc)
}

// examples are the configurations that users copy, by their place.
func examples(t *testing.T) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	for _, pattern := range []string{"../../examples/*/*.yaml", "project/*.yaml.tmpl"} {
		names, err := filepath.Glob(pattern)
		if err != nil || len(names) == 0 {
			t.Fatalf("there is no %s: %v", pattern, err)
		}
		for _, name := range names {
			all[name] = read(t, name)
		}
	}
	documents, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(documents, "../../README.md") {
		blocks, err := docstest.Extract(name, string(read(t, name)))
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range blocks {
			if b.Lang == "yaml" && b.Verb == "" {
				all[b.Where()] = []byte(b.Text)
			}
		}
	}
	return all
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
}

func TestExamplesAreValid(t *testing.T) {
	t.Parallel()
	s := compiled(t)
	all := examples(t)
	if len(all) < 7 {
		t.Errorf("only %d examples were found", len(all))
	}
	for name, text := range all {
		if err := judge(t, s, text); err != nil {
			t.Errorf("%s does not fit the schema: %v", name, err)
		}
		if r := call("validate", "-c", writeNew(t, string(text))); r.code != exitFine {
			t.Errorf("%s is not valid: %s", name, r.both())
		}
	}
}

// The schema knows every option of every kind.
func TestSchemaRefuses(t *testing.T) {
	t.Parallel()
	s := compiled(t)
	for name, text := range map[string]string{
		"no version":             "name: x\n",
		"unknown key":            "version: 1\nagentz: {}\n",
		"unknown key of a kind":  "version: 1\ntransports: { nats: { urls: x } }\n",
		"type of a kind's field": "version: 1\ntransports: { nats: { max_pending: lots } }\n",
		"option of another kind": "version: 1\ntransports: { memory: { url: x } }\n",
		"unknown kind":           "version: 1\ntransports: { bus: { kind: natz } }\n",
		"kind is missing":        "version: 1\ntransports: { bus: {} }\n",
		"wrong type":             "version: 1\nagents: { a: { consumes: [in] } }\n",
		"wrong word":             "version: 1\nagents: { a: { consumes: in, order: keys } }\n",
		"no unit":                "version: 1\ndefaults: { timeout: \"30\" }\n",
	} {
		if judge(t, s, []byte(text)) == nil {
			t.Errorf("%s: the schema accepts\n%s", name, text)
		}
	}
	for name, text := range map[string]string{
		"a kind under another name": "version: 1\ntransport: bus\ntransports: { bus: { kind: nats, url: \"nats://a\" } }\n",
		"variables":                 "version: 1\ntransports: { nats: { url: \"${URL}\", max_pending: \"${N:-5}\" } }\n",
	} {
		if err := judge(t, s, []byte(text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
