package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/anywire/anywire/all"
	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/internal/brokertest"
)

// load reads one of the files beside this one; what the transport keeps goes to
// a folder of the test's own.
func load(t *testing.T, name, data string) *config.Config {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(text), "${PIPELINE_DATA:-data/pipeline}", data)), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// runJob runs the whole program once, in this process, and returns what it
// printed.
func runJob(ctx context.Context, t *testing.T, c *config.Config, a author, in, out string) (string, error) {
	t.Helper()
	var printed strings.Builder
	o := all.Options()
	o.Config = c
	err := newPipeline(o, a, &job{in: in, out: out, terminal: &printed}).Run(ctx)
	return printed.String(), err
}

// briefs reads all files below a folder.
func briefs(t *testing.T, out string) map[string]string {
	t.Helper()
	found := make(map[string]string)
	err := fs.WalkDir(os.DirFS(out), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		body, err := os.ReadFile(filepath.Join(out, name))
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a temporary file that has become a brief meanwhile
		}
		found[name] = string(body)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// corpus is n small documents in three folders.
func corpus(n int) map[string]string {
	files := make(map[string]string, n)
	for i := range n {
		files[fmt.Sprintf("part%d/note-%03d.md", i%3, i)] = fmt.Sprintf(
			"# Note %d\n\nThis note has the number %d. Numbered notes are easy to count. Cats sleep a lot.\n", i, i)
	}
	return files
}

var closing = regexp.MustCompile(`(?m)^documents (\d+), briefs (\d+), dead letters (\d+), redelivered (\d+), elapsed \S+\n\z`)

func wantClosing(t *testing.T, printed string, documents, briefs, dead int) {
	t.Helper()
	m := closing.FindStringSubmatch(printed)
	if m == nil {
		t.Fatalf("no closing line in:\n%s", printed)
	}
	if want := []string{strconv.Itoa(documents), strconv.Itoa(briefs), strconv.Itoa(dead)}; !slices.Equal(m[1:4], want) {
		t.Errorf("documents, briefs, dead letters: %v, want %v\n%s", m[1:4], want, printed)
	}
}

// prefixed gives the configuration topics of its own on servers that tests share.
func prefixed(c *config.Config) *config.Config {
	prefix := "pl" + strings.ReplaceAll(envelope.NewID(), "-", "")[:16] + "."
	for name, entry := range c.Transports {
		if kind, _ := c.Kind(name); kind != "memory" && kind != "embedded" {
			entry.Prefix = prefix
			c.Transports[name] = entry
		}
	}
	return c
}

// everyFile are the configurations beside this file.
func everyFile(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("*.yaml")
	if err != nil || len(files) < 8 {
		t.Fatalf("configurations %q, %v", files, err)
	}
	return files
}

// Any folder of texts gives one brief per document, the same bytes on every
// transport, and what cannot be read is a dead letter with its reason.
func TestEveryTransportGivesTheSameBriefs(t *testing.T) {
	t.Setenv("NATS_URL", brokertest.SharedNATS(t).URL)
	t.Setenv("REDIS_URL", brokertest.SharedRedis(t).URL)
	t.Setenv("KAFKA_BROKER", brokertest.SharedKafka(t).URL)
	files := corpus(40)
	maps.Copy(files, map[string]string{
		"empty.md": "", "latin.txt": "fa\xe7ade", "gone.md": "-> nowhere", "only-code.md": "```\nx\n```\n",
		"ignored.go": "package x", "日本.md": "猫は眠る。犬は走る。", "plain.txt": "A text without markup. It has two sentences.",
	})
	in := tree(t, files)
	results := make(map[string]map[string]string)
	for _, name := range everyFile(t) {
		out := filepath.Join(t.TempDir(), "out")
		c := prefixed(load(t, name, t.TempDir()))
		printed, err := runJob(t.Context(), t, c, extractive{}, in, out)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		wantClosing(t, printed, 46, 42, 4)
		for _, line := range []string{
			"dead letter: empty.md: researcher: ", "is empty", "dead letter: latin.txt: researcher: ", "not UTF-8 at byte 2",
			"dead letter: gone.md: researcher: ", "dead letter: only-code.md: researcher: ",
		} {
			if !strings.Contains(printed, line) {
				t.Errorf("%s: the output lacks %q:\n%s", name, line, printed)
			}
		}
		results[name] = briefs(t, out)
	}
	memory := results["memory.yaml"]
	for name, found := range results {
		if len(found) != 42 || !maps.Equal(memory, found) {
			t.Errorf("%s: %d briefs, not the bytes of the %d on memory", name, len(found), len(memory))
		}
	}
	want := "# Note 7\n\n- This note has the number 7.\n- Numbered notes are easy to count.\n- Cats sleep a lot.\n\n" +
		"Source: `part1/note-007.md`\n"
	if got := memory["part1/note-007.md.brief.md"]; got != want {
		t.Errorf("a brief:\n%s\nwant\n%s", got, want)
	}
}

// A second run finds its briefs and publishes nothing; one that was removed
// comes back.
func TestRestartPublishesOnlyWhatHasNoBrief(t *testing.T) {
	t.Parallel()
	in, out := tree(t, corpus(5)), t.TempDir()
	first := &countingAuthor{author: extractive{}}
	for i, want := range []int64{5, 0, 1} {
		if i == 2 {
			if err := os.Remove(filepath.Join(out, "part0", "note-003.md.brief.md")); err != nil {
				t.Fatal(err)
			}
		}
		first.asked.Store(0)
		printed, err := runJob(t.Context(), t, load(t, "memory.yaml", ""), first, in, out)
		if err != nil {
			t.Fatal(err)
		}
		wantClosing(t, printed, 5, 5, 0)
		if n := first.asked.Load(); n != want {
			t.Errorf("run %d: %d documents were read, want %d", i, n, want)
		}
	}
}

// Ctrl-C drains, and says how much is left; where the transport is durable the
// next run goes on.
func TestInterruptedRunGoesOn(t *testing.T) {
	t.Parallel()
	in, out, data := tree(t, corpus(30)), t.TempDir(), t.TempDir()
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	slow := &countingAuthor{author: extractive{}, reached: 10, then: interrupt}
	printed, err := runJob(ctx, t, load(t, "embedded.yaml", data), slow, in, out)
	if err != nil || !strings.Contains(printed, "interrupted with ") || !closing.MatchString(printed) {
		t.Fatalf("interrupted: %v\n%s", err, printed)
	}
	if n := len(briefs(t, out)); n == 30 {
		t.Fatalf("all %d briefs are there: nothing was interrupted", n)
	}
	printed, err = runJob(t.Context(), t, load(t, "embedded.yaml", data), extractive{}, in, out)
	if err != nil {
		t.Fatal(err)
	}
	wantClosing(t, printed, 30, 30, 0)
}

func TestFoldersThatCannotServe(t *testing.T) {
	t.Parallel()
	in := tree(t, map[string]string{"docs/a.md": "text", "empty/": "", "file": "x"})
	for name, c := range map[string]struct{ in, out, want string }{
		"no such folder":        {"nowhere", "out", "nowhere: no such file or directory; give another with -in"},
		"nothing in it":         {"empty", "out", "holds no .md or .txt file; give another with -in"},
		"one folder for both":   {"docs", "docs", "briefs need a folder of their own"},
		"a file for the briefs": {"docs", "file", "give another with -out"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_, err := runJob(ctx, t, load(t, "memory.yaml", ""), extractive{}, filepath.Join(in, c.in), filepath.Join(in, c.out))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

// The files differ in the transport only, and in where records are where that keeps
// none; one of them has two.
func TestConfigurationsDifferInTheTransport(t *testing.T) {
	t.Parallel()
	transport := regexp.MustCompile(`(?m)^(transport|idempotency): .*\n|^(transports|stores):.*\n(?:  .*\n)+`)
	var first string
	for _, name := range everyFile(t) {
		if name == "split.yaml" {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		rest := strings.ReplaceAll(transport.ReplaceAllString(string(text), ""), "\n\n\n", "\n\n")
		if first == "" {
			first = rest
		}
		if rest != first || len(rest) == len(text) {
			t.Errorf("%s without its transport:\n%s\nwant\n%s", name, rest, first)
		}
	}
}

// No Go file of the program names a transport.
func TestNoCodeKnowsTheTransport(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	known := regexp.MustCompile(`(?i)\b(nats|jetstream|embedded|memory|kafka|redis)(driver)?\b`)
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(string(text), "\n") {
			if code, _, _ := strings.Cut(line, "//"); known.MatchString(code) {
				t.Errorf("%s:%d: %s", name, i+1, line)
			}
		}
	}
}
