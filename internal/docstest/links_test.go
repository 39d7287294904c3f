package docstest

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestLinks(t *testing.T) {
	t.Parallel()
	got := Links("see [a](docs/a.md#part), [b](https://example.com/b), [c](#here) and [`d`](d.go)")
	if want := []string{"docs/a.md", "d.go"}; !slices.Equal(got, want) {
		t.Errorf("links %q, want %q", got, want)
	}
}

// Every file that a document points at is there.
func TestLinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	for _, pattern := range []string{"*.md", "docs/*.md", "examples/*/*.md", "envelope/testdata/*.md", "bench/*.md"} {
		names, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(names) == 0 {
			t.Fatalf("no document is named %s: %v", pattern, err)
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, target := range Links(string(text)) {
				if _, err := os.Stat(filepath.Join(filepath.Dir(name), filepath.FromSlash(target))); err != nil {
					t.Errorf("%s points at %s: %v", name, target, err)
				}
			}
		}
	}
}
