package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestRender(t *testing.T) {
	t.Parallel()
	got := render("A `title`\nof two lines", "\n- one\n- two\n\n", "notes/a.md")
	want := "# A ?title??of two lines\n\n- one\n- two\n\nSource: `notes/a.md`\n"
	if got != want {
		t.Errorf("render: %q, want %q", got, want)
	}
}

func TestBriefNamesDiffer(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", 120)
	seen := make(map[string]string)
	for _, document := range []string{
		"a.md", "a.txt", "a", "x/a.md", "x.a.md", "a.md.brief.md", "A.md", long + ".md", long + "1.md", "x/" + long + ".md",
	} {
		name := briefName(document)
		if other, ok := seen[name]; ok {
			t.Errorf("%s and %s share %s", document, other, name)
		}
		seen[name] = document
		if base := filepath.Base(name); len(base) > maxName || !strings.HasSuffix(base, suffix) {
			t.Errorf("%s: a name of %d bytes, %s", document, len(base), base)
		}
	}
}

func TestWriteBrief(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "new")
	for _, text := range []string{"first, and longer", "second"} {
		if err := writeBrief(out, "deep/a.md", text); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(filepath.Join(out, "deep", "a.md.brief.md"))
	if err != nil || string(got) != "second" {
		t.Errorf("brief %q, %v", got, err)
	}
	if left, _ := filepath.Glob(filepath.Join(out, "deep", ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// Readers see the whole of one brief, whoever writes at the same time.
func TestWriteBriefIsWhole(t *testing.T) {
	t.Parallel()
	out := t.TempDir()
	var writers sync.WaitGroup
	for i := range 8 {
		writers.Go(func() {
			if err := writeBrief(out, "a.md", strings.Repeat(strconv.Itoa(i), 50_000)); err != nil {
				t.Error(err)
			}
		})
	}
	writers.Wait()
	got, err := os.ReadFile(filepath.Join(out, "a.md.brief.md"))
	if err != nil || len(got) != 50_000 || strings.Trim(string(got), string(got[:1])) != "" {
		t.Errorf("a brief of %d bytes, %v", len(got), err)
	}
}

func TestWriteBriefRefuses(t *testing.T) {
	t.Parallel()
	out := tree(t, map[string]string{"file": "x", "a.md.brief.md/": "", "b": "-> /"})
	for name, c := range map[string]struct{ out, document string }{
		"the folder is a file":           {filepath.Join(out, "file"), "a.md"},
		"a folder of the name":           {out, "a.md"},
		"a way out by dots":              {out, "../a.md"},
		"a way out by a link":            {out, "b/a.md"},
		"a file where a folder is meant": {out, "file/a.md"},
	} {
		if err := writeBrief(c.out, c.document, "text"); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(out, tempPrefix+"*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestSweep(t *testing.T) {
	t.Parallel()
	const dead = 1 << 30 // no system counts processes as far
	live := fmt.Sprintf("%s%d-x~", tempPrefix, os.Getppid())
	mine := fmt.Sprintf("%s%d-x~", tempPrefix, os.Getpid())
	out := tree(t, map[string]string{
		fmt.Sprintf("%s%d-x~", tempPrefix, dead):      "half",
		fmt.Sprintf("deep/%s%d-y~", tempPrefix, dead): "half",
		live:              "half",
		mine:              "half",
		"a.md.brief.md":   "whole",
		tempPrefix + "x~": "not ours",
		fmt.Sprintf("%s%d-without-end", tempPrefix, 12): "not ours",
	})
	root, err := os.OpenRoot(out)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	count := func() int {
		a, _ := filepath.Glob(filepath.Join(out, ".*"))
		b, _ := filepath.Glob(filepath.Join(out, "*", ".*"))
		return len(a) + len(b)
	}
	if err := sweep(root, time.Now().Add(-time.Hour)); err != nil || count() != 4 {
		t.Errorf("left %d of 6 temporary files, want 4: %v", count(), err)
	}
	if err := sweep(root, time.Now().Add(time.Hour)); err != nil || count() != 3 {
		t.Errorf("left %d temporary files, want 3, without that of an earlier process of this number: %v", count(), err)
	}
	if _, err := os.Stat(filepath.Join(out, "a.md.brief.md")); err != nil {
		t.Error(err)
	}
}
