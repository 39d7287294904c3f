package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9/logging"
	"go.uber.org/goleak"

	"github.com/anywire/anywire/internal/brokertest"
)

var update = flag.Bool("update", false, "write the goldens anew")

func TestMain(m *testing.M) {
	logging.Disable()
	if os.Getenv(asCommand) != "" {
		os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	goleak.VerifyTestMain(brokertest.Runner(m))
}

// result is what one call of the command left.
type result struct {
	code      int
	out, errs string
}

func call(args ...string) result {
	return callWith(context.Background(), "", args...)
}

// callWith gives the command an input, and an end.
func callWith(ctx context.Context, in string, args ...string) result {
	var out, errs bytes.Buffer
	code := run(ctx, args, strings.NewReader(in), &out, &errs)
	return result{code, out.String(), errs.String()}
}

// both is everything that a user sees.
func (r result) both() string { return r.out + r.errs }

// transcript is the call as a terminal shows it.
func (r result) transcript(args []string) string {
	text := "$ " + strings.Join(append([]string{"anywire"}, args...), " ") + "\n" + r.out
	if r.errs != "" {
		text += "--- stderr ---\n" + r.errs
	}
	return text + fmt.Sprintf("--- exit %d ---\n", r.code)
}

// golden holds text against a file of testdata.
func golden(t *testing.T, name, text string) {
	t.Helper()
	file := filepath.Join("testdata", "golden", name+".txt")
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; write it with -update", err)
	}
	if diff := cmp.Diff(string(want), text); diff != "" {
		t.Errorf("%s differs; if it should, run with -update:\n%s", file, diff)
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"root":       {},
		"publish":    {"publish", "--help"},
		"tail":       {"tail", "--help"},
		"topics":     {"topics", "--help"},
		"lag":        {"lag", "--help"},
		"doctor":     {"doctor", "--help"},
		"init":       {"init", "--help"},
		"validate":   {"validate", "--help"},
		"print":      {"print", "--help"},
		"explain":    {"explain", "--help"},
		"graph":      {"graph", "--help"},
		"schema":     {"schema"},
		"schemaconf": {"schema", "config", "-h"},
		"version":    {"version", "-h"},
		"help":       {"help", "--help"},
		"completion": {"completion"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := call(args...)
			if r.code != exitFine || r.errs != "" {
				t.Errorf("exit %d, stderr %q", r.code, r.errs)
			}
			golden(t, "help/"+name, r.transcript(args))
		})
	}
}

func TestHelpOfACommandIsItsHelp(t *testing.T) {
	t.Parallel()
	for _, command := range [][]string{{}, {"validate"}, {"schema"}, {"schema", "config"}, {"help"}} {
		asked, own := call(append([]string{"help"}, command...)...), call(append(command, "--help")...)
		if asked != own {
			t.Errorf("help %v and %v --help differ:\n%s", command, command, cmp.Diff(own.both(), asked.both()))
		}
	}
}

// Every line fits a terminal of 100 columns, and every command has an example
// and completes its arguments.
func TestHelpIsComplete(t *testing.T) {
	t.Parallel()
	root := newRoot(nil, nil)
	commands := root.Commands()
	for len(commands) > 0 {
		c := commands[0]
		commands = append(commands[1:], c.Commands()...)
		if c.Name() == "help" || c.Name() == "completion" || c.Parent().Name() == "completion" {
			continue
		}
		if !c.HasSubCommands() && !c.HasExample() {
			t.Errorf("%s has no example", c.CommandPath())
		}
		if c.ValidArgsFunction == nil {
			t.Errorf("%s would complete its arguments with any file", c.CommandPath())
		}
		for line := range strings.Lines(call("help", strings.TrimPrefix(c.CommandPath(), "anywire ")).out) {
			if len(line) > 100 {
				t.Errorf("%s: too long: %s", c.CommandPath(), line)
			}
		}
	}
}

func TestWrongUse(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{
		`anywire has no command "valdate": did you mean validate?`: {"valdate"},
		`anywire has no command "check": did you mean validate?`:   {"check"},
		`anywire has no command "new": did you mean init?`:         {"new"},
		`anywire has no command "x": there is completion, dead, doctor, explain, graph, init, lag, print, publish, schema, tail, topics, validate, version`: {"x"},
		`anywire schema has no command "confg": did you mean config?`:                                                                                       {"schema", "confg"},
		`anywire completion has no command "x": there is bash, fish, powershell, zsh`:                                                                       {"completion", "x"},
		`anywire has no command "grph": did you mean graph?`:                                                                                                {"help", "grph"},
		`anywire validate has no flag --jsn: there is --config, --connect, --help, --json`:                                                                  {"validate", "--jsn"},
		`anywire print has no flag -x: there is --config, --help`:                                                                                           {"print", "-x"},
		`the flag --config needs a FILE`:                                                                                                                    {"graph", "-c"},
		`anywire validate takes no argument such as "a.yaml": a file is named with -c, as in -c a.yaml`:                                                     {"validate", "a.yaml"},
		`anywire version takes no argument such as "a"`:                                                                                                     {"version", "a"},
		`anywire explain takes one PATH, and there are 2 arguments: a b`:                                                                                    {"explain", "a", "b"},
		`anywire publish needs a TOPIC: the topic of the configuration`:                                                                                     {"publish"},
		`anywire tail takes one TOPIC, and there are 2 arguments: a b`:                                                                                      {"tail", "a", "b"},
		`--type is missing: name the type of the messages, such as --type research.task@1; handlers are chosen by it`:                                       {"publish", "in", "-c", newsroom, "--data", "1"},
		`wire type "task" has no version: write name@version`:                                                                                               {"publish", "in", "--type", "task"},
		`--data and --file are both the payload: give one`:                                                                                                  {"publish", "in", "--type", "a@1", "--data", "1", "--file", "x"},
		`--rate -1 is negative`:       {"publish", "in", "--type", "a@1", "--rate", "-1"},
		`--ext "a": write NAME=VALUE`: {"publish", "in", "--type", "a@1", "--ext", "a"},
		`there is no agent "writr" in the configuration: there is archivist, researcher, writer; did you mean writer?`: {"lag", "writr", "-c", newsroom},
		`--watch, --max-waiting and --max-age cannot be negative`:                                                      {"lag", "--max-age", "-1s", "-c", newsroom},
		`there is no transport "nat" in the configuration: there is memory, nats; did you mean nats?`:                  {"topics", "--transport", "nat", "-c", newsroom},
		`there is no transport "x" in the configuration: there is memory, nats`:                                        {"doctor", "--transport", "x", "-c", newsroom},
		`--from "yesterday": use oldest, now, a time such as 2026-01-31T00:00:00Z, or an age such as 15m`:              {"tail", "in", "--from", "yesterday"},
		`--limit -1 is negative`: {"tail", "in", "--limit", "-1"},
		`anywire init takes one DIR, and there are 2 arguments: a b`:      {"init", "a", "b"},
		`"a b" is no module path: write one such as example.com/newsroom`: {"init", "--module", "a b", "newsroom"},
		`"/a" is no module path: write one such as example.com/newsroom`:  {"init", "--module", "/a", "newsroom"},
	} {
		r := call(args...)
		if r.code != exitUsage || r.out != "" {
			t.Errorf("%v: exit %d, stdout %q", args, r.code, r.out)
		}
		first, rest, _ := strings.Cut(r.errs, "\n")
		if first != "error: "+want {
			t.Errorf("%v:\ngot  %s\nwant error: %s", args, first, want)
		}
		if !regexp.MustCompile(`^how it is used: anywire.* --help\n$`).MatchString(rest) {
			t.Errorf("%v shows no way to the help: %q", args, rest)
		}
	}
}

// full is a disk that is.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestWhatCannotBePrintedFails(t *testing.T) {
	t.Parallel()
	const file = "testdata/config/newsroom.yaml"
	for _, args := range [][]string{
		{"print", "-c", file},
		{"explain", "--json", "-c", file},
		{"validate", "--json", "-c", file},
		{"schema", "config"},
		{"version", "--json"},
	} {
		var errs bytes.Buffer
		if code := run(t.Context(), args, strings.NewReader(""), full{}, &errs); code != exitFailed || !strings.Contains(errs.String(), "no space left") {
			t.Errorf("%v: exit %d, %q", args, code, errs.String())
		}
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	pattern := regexp.MustCompile(`^anywire \S+ \((revision [0-9a-f]{12}, )?go1\.\S+( X:\S+)?, \w+/\w+\)\n$`)
	for _, args := range [][]string{{"version"}, {"--version"}} {
		if r := call(args...); r.code != exitFine || !pattern.MatchString(r.out) {
			t.Errorf("%v: exit %d, %q", args, r.code, r.both())
		}
	}
	for want, v := range map[string]version{
		"anywire v1.2.3 (revision 0123456789ab, go1.26, linux/arm64)":  {Version: "v1.2.3", Revision: "0123456789abcdef", Go: "go1.26", Platform: "linux/arm64"},
		"anywire v0.0.0-2026-0123456789ab+dirty (go1.26, linux/arm64)": {Version: "v0.0.0-2026-0123456789ab+dirty", Revision: "0123456789abcdef", Go: "go1.26", Platform: "linux/arm64"},
		"anywire (devel) (go1.26, linux/arm64)":                        {Version: "(devel)", Go: "go1.26", Platform: "linux/arm64"},
		"anywire (devel) (revision 0123, go1.26, linux/arm64)":         {Version: "(devel)", Revision: "0123", Go: "go1.26", Platform: "linux/arm64"},
	} {
		if got := v.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if r := call("version", "--json"); !strings.Contains(r.out, `"platform": "`) {
		t.Errorf("json: %s", r.out)
	}
}
