package docstest

import (
	"slices"
	"strings"
	"testing"
)

const sample = "# Title\n" +
	"```go\npackage main\n\nfunc main() { undefined() }\n```\n" +
	"<!-- test: hidden news\ntype Task struct{ Topic string }\n-->\n" +
	"text\n\n<!-- test: join news -->\n```go\nfunc f(t Task) string { return t.Topic }\n```\n" +
	"- a list\n  ```yaml\n  version: 1\n  agents: {}\n  ```\n" +
	"<!-- test: skip it is only a sketch -->\n\n```go\nnot go at all …\n```\n" +
	"~~~console\n$ make test\nok\n$ echo \\\n~~~\n"

func extract(t *testing.T, text string) []*Block {
	t.Helper()
	blocks, err := Extract("x.md", text)
	if err != nil {
		t.Fatal(err)
	}
	return blocks
}

func TestExtract(t *testing.T) {
	t.Parallel()
	blocks := extract(t, sample)
	var got []string
	for _, b := range blocks {
		got = append(got, strings.Join([]string{b.Where(), b.Lang, b.Verb, b.Arg}, "|"))
	}
	want := []string{
		"x.md:3|go||", "x.md:8|go|join|news", "x.md:14|go|join|news", "x.md:18|yaml||",
		"x.md:24|go|skip|it is only a sketch", "x.md:27|console||",
	}
	if !slices.Equal(got, want) {
		t.Errorf("blocks:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if text := blocks[3].Text; text != "version: 1\nagents: {}\n" {
		t.Errorf("a block in a list: %q", text)
	}
	if c := blocks[5].Commands(); !slices.Equal(c, []string{"make test", `echo \`}) {
		t.Errorf("commands: %q", c)
	}
}

func TestExtractRefuses(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"open fence":     "```go\nfunc",
		"open comment":   "<!-- test: hidden x\ntype",
		"loose comment":  "<!-- test: run -->\ntext\n",
		"broken comment": "<!-- test: run\n-->\n",
	} {
		if _, err := Extract("x.md", text); err == nil || !strings.HasPrefix(err.Error(), "x.md:") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCheckGoFindsWhatDoesNotCompile(t *testing.T) {
	t.Parallel()
	const fence = "```"
	text := sample +
		fence + "go\nx := time.Second\nvar s string = x\n" + fence + "\n" + // statements, a wrong type
		fence + "go\nfunc g() { strings.NoSuch() }\n" + fence + "\n" + // a name that is not there
		fence + "go\nfunc h() int { var unused int; return 1 }\n" + fence + "\n" // fine
	err := CheckGo(t.Context(), "../..", extract(t, text))
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"x.md:5:", "undefined: undefined", "x.md:33:", "x.md:36:", "NoSuch"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q", want)
		}
	}
	for _, not := range []string{"x.md:14", "x.md:39", "unused"} {
		if strings.Contains(err.Error(), not) {
			t.Errorf("the error names %q, where nothing is wrong", not)
		}
	}
	if t.Failed() {
		t.Log(err)
	}
}

func TestCheckCommand(t *testing.T) {
	t.Parallel()
	targets := Targets("help: ## list\nrun: build ## go\nbuild:\n")
	for command, want := range map[string]struct{ known, fine bool }{
		"make run IN=docs":                                     {true, true},
		"make build":                                           {true, false},
		"go run ./internal/testsum -- go test":                 {true, true},
		"go run ./internal/nothing":                            {true, false},
		"A=1 go run ./internal/testsum examples/no.yaml # why": {true, false},
		"ls -l": {false, true},
	} {
		known, err := CheckCommand("../..", command, targets)
		if known != want.known || (err == nil) != want.fine {
			t.Errorf("%s: known %t, %v", command, known, err)
		}
	}
}
