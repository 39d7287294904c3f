package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/anywire/anywire"
	"github.com/anywire/anywire/internal/brokertest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main() // the tests start themselves as the program; see process_test.go
		return
	}
	// sarama, below watermill-kafka, counts in a goroutine that nothing ends.
	goleak.VerifyTestMain(brokertest.Runner(m), goleak.IgnoreTopFunction("github.com/rcrowley/go-metrics.(*meterArbiter).tick"))
}

// tree writes files below a new folder: name to content. A name that ends with
// a slash is a folder, a content "-> x" a link to x.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		full := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, ok := strings.CutPrefix(content, "-> "); ok {
			err = os.Symlink(target, full)
		} else if strings.HasSuffix(name, "/") {
			err = os.MkdirAll(full, 0o755)
		} else {
			err = os.WriteFile(full, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestDocuments(t *testing.T) {
	t.Parallel()
	in := tree(t, map[string]string{
		"b.md": "b", "a.txt": "a", "LOUD.MD": "c", "no.go": "-", "none": "-", "deep/er/d.md": "d", "folder.md/x.txt": "x",
		".hidden.md": "-", ".git/e.md": "-", "briefs/b.md.brief.md": "-", "briefs/sub/x.md": "-",
		"link.md": "-> b.md", "loop": "-> .", "dir.md": "-> deep", "broken.txt": "-> nowhere",
	})
	got, err := documents(in, filepath.Join(in, "briefs"))
	want := []string{"LOUD.MD", "a.txt", "b.md", "broken.txt", "deep/er/d.md", "folder.md/x.txt", "link.md"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("documents: %q, %v\nwant %q", got, err, want)
	}
}

func TestDocumentsOfNoFolder(t *testing.T) {
	t.Parallel()
	in := tree(t, map[string]string{"file.md": "x"})
	for _, name := range []string{"nowhere", "file.md"} {
		_, err := documents(filepath.Join(in, name), "out")
		if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "give another with -in") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReadDocument(t *testing.T) {
	t.Parallel()
	in := tree(t, map[string]string{
		"fine.md": "text", "marked.md": "\uFEFFtext", "latin.txt": "fa\xe7ade", "empty.md": " \n", "bom.md": "\uFEFF\n",
		"folder.md/": "", "link.md": "-> fine.md", "out.md": "-> /etc/hostname", "up.md": "-> ../secret.md",
		"gone.md": "-> nowhere", "big.txt": strings.Repeat("x", maxDocument+1),
	})
	for name, want := range map[string]string{
		"latin.txt": "not UTF-8 at byte 2", "empty.md": "is empty", "bom.md": "is empty", "folder.md": "it is a folder",
		"out.md": "escapes", "up.md": "escapes", "../x.md": "escapes", "gone.md": "no such file",
		"big.txt": "larger than 32 MiB",
	} {
		text, err := readDocument(in, name)
		if !errors.Is(err, anywire.Rejected) || !strings.Contains(err.Error(), want) || text != "" {
			t.Errorf("%s: %v, want a rejection with %q", name, err, want)
		}
	}
	for _, name := range []string{"fine.md", "link.md", "marked.md"} {
		if text, err := readDocument(in, name); err != nil || !strings.HasSuffix(text, "text") {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
}

// A folder that is not there now is no fault of the document.
func TestReadDocumentRetriesWithoutTheFolder(t *testing.T) {
	t.Parallel()
	_, err := readDocument(filepath.Join(t.TempDir(), "nowhere"), "a.md")
	if err == nil || errors.Is(err, anywire.Rejected) {
		t.Errorf("error %v, want one that is retried", err)
	}
	if err := unreadable(syscall.EIO); errors.Is(err, anywire.Rejected) {
		t.Errorf("a disk error is rejected: %v", err)
	}
}

func TestContentHash(t *testing.T) {
	t.Parallel()
	root, err := os.OpenRoot(tree(t, map[string]string{"a.md": "x", "b.md": "x", "c.md": "y"}))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	a, b, c := contentHash(root, "a.md"), contentHash(root, "b.md"), contentHash(root, "c.md")
	if a != b || a == c || contentHash(root, "gone.md") == a {
		t.Errorf("hashes %s %s %s", a, b, c)
	}
	key := func(round, path, hash string) string {
		return idempotencyKey(round, Task{In: "/in", Out: "/out", Path: path}, hash)
	}
	if own := key("1", "a.md", a); own == key("1", "b.md", b) || own == key("1", "a.md", c) || own == key("2", "a.md", a) {
		t.Error("the idempotency key is not of round, path and content")
	}
}
