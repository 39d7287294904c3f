package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	newsroom = "testdata/config/newsroom.yaml"
	prod     = "testdata/config/prod.yaml"
	circle   = "testdata/config/circle.yaml"
	broken   = "testdata/config/broken.yaml"
)

func TestOutput(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"validate":           {"validate", "-c", newsroom},
		"validate_overlay":   {"validate", "-c", newsroom, "-c", prod},
		"validate_circle":    {"validate", "-c", circle},
		"validate_json":      {"validate", "-c", circle, "--json"},
		"validate_none":      {"validate", "-c", writeNew(t, "version: 1\n")},
		"broken":             {"validate", "-c", broken},
		"broken_json":        {"validate", "-c", broken, "--json"},
		"broken_print":       {"print", "-c", broken},
		"missing_json":       {"validate", "-c", "testdata/nothing.yaml", "--json"},
		"print":              {"print", "-c", newsroom},
		"print_overlay":      {"print", "-c", newsroom, "-c", prod},
		"explain":            {"explain", "-c", circle},
		"explain_overlay":    {"explain", "agents.writer", "-c", newsroom, "-c", prod},
		"explain_value":      {"explain", "transports.nats", "-c", newsroom},
		"explain_retry":      {"explain", "agents.writer.retry.backoff", "-c", newsroom},
		"explain_defaults":   {"explain", "defaults", "-c", newsroom},
		"explain_json":       {"explain", "agents.writer.retry", "-c", newsroom, "--json"},
		"explain_misspelled": {"explain", "agents.writr", "-c", newsroom},
		"graph":              {"graph", "-c", newsroom},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := call(args...).transcript(args)
			golden(t, "output/"+name, strings.ReplaceAll(text, filepath.Dir(args[len(args)-1])+"/new.yaml", "new.yaml"))
		})
	}
}

// writeNew writes a file new.yaml.
func writeNew(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "new.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestTheDefaultFile(t *testing.T) {
	t.Chdir(t.TempDir())
	const lost = "error: there is no anywire.yaml here: "
	if r := call("validate"); r.code != exitUsage || r.errs != lost+"name a file with -c FILE, or begin with anywire init\n" {
		t.Errorf("empty folder: %d, %q", r.code, r.errs)
	}
	write(t, "prod.yml", "version: 1\n")
	write(t, "base.yaml", "version: 1\n")
	if r := call("print"); r.code != exitUsage || r.errs != lost+"name a file with -c, such as base.yaml or prod.yml\n" {
		t.Errorf("other files: %d, %q", r.code, r.errs)
	}
	if r := call("validate", "--json"); r.code != exitUsage || !json.Valid([]byte(r.out)) || !strings.Contains(r.out, "there is no anywire.yaml here") {
		t.Errorf("as JSON: %d, %q", r.code, r.both())
	}
	write(t, "anywire.yaml", "version: 1\nagents: { clerk: { consumes: in } }\n")
	for _, command := range []string{"validate", "print", "explain", "graph"} {
		if r := call(command); r.code != exitFine || !strings.Contains(r.out, "1 agent on memory") && !strings.Contains(r.out, "clerk") {
			t.Errorf("%s: %d, %q", command, r.code, r.both())
		}
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// What print prints means the same as what it read.
func TestPrintIsAConfiguration(t *testing.T) {
	t.Parallel()
	file := writeNew(t, `version: 1
topics: { in: { shards: 4 } }
defaults: { retry: { immediate: 0 } }
agents:
  clerk: { consumes: in, order: key, from: now }
`)
	first := call("print", "-c", file)
	again := call("print", "-c", writeNew(t, first.out))
	if first.code != exitFine || first != again {
		t.Errorf("printed:\n%s\nprinted again:\n%s", first.both(), again.both())
	}
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args, want []string
		directive  string
	}{
		{[]string{"validate", "-c", ""}, []string{"yaml", "yml"}, ":8"}, // files of these names
		{[]string{"init", ""}, []string{}, ":16"},                       // folders
		{[]string{"init", "--replace", ""}, []string{}, ":16"},          //
		{[]string{"validate", ""}, []string{}, ":4"},                    // nothing, not even files
		{[]string{"explain", "-c", newsroom, "agents."}, []string{"agents.archivist.", "agents.researcher.", "agents.writer."}, ":6"},
		{[]string{"explain", "-c", newsroom, "agents.writer.tim"}, []string{"agents.writer.timeout"}, ":4"},
		{[]string{"explain", "-c", newsroom, "a", ""}, []string{}, ":4"},
		{[]string{"explain", "-c", broken, "transports.n"}, []string{"transports.nats."}, ":6"}, // in spite of its problems
		{[]string{"explain", "-c", "testdata/nothing.yaml", ""}, []string{}, ":4"},
		{[]string{"schema", ""}, []string{"config"}, ":4"},
		{[]string{"help", "schema", ""}, []string{"config"}, ":4"},
	} {
		r := call(append([]string{"__complete"}, test.args...)...)
		var got []string
		for line := range strings.Lines(r.out) {
			word, _, _ := strings.Cut(strings.TrimSpace(line), "\t")
			got = append(got, word)
		}
		if want := slices.Concat(test.want, []string{test.directive}); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", test.args, got, want)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if r := call("completion", shell); r.code != exitFine || !strings.Contains(r.out, "__complete") {
			t.Errorf("%s: exit %d, %d bytes", shell, r.code, len(r.out))
		}
	}
}
