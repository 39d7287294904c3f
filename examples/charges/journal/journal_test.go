package journal_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/anywire/anywire/examples/charges/journal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, path string) (*journal.Journal[string], []string) {
	t.Helper()
	j, all, err := journal.Open[string](path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j, all
}

// What a killed process wrote half is not there, and in nobody's way.
func TestHalfALineIsCutOff(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "new", "file")
	j, all := open(t, path)
	if len(all) != 0 {
		t.Fatalf("a new file holds %q", all)
	}
	for _, v := range []string{"one", "two"} {
		if err := j.Append(v); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(text, `"thr`...), 0o600); err != nil {
		t.Fatal(err)
	}
	if all, err := journal.Read[string](path); err != nil || !slices.Equal(all, []string{"one", "two"}) {
		t.Errorf("read %q, %v", all, err)
	}
	j, _ = open(t, path)
	if err := j.Append("four"); err != nil {
		t.Fatal(err)
	}
	if all, err := journal.Read[string](path); err != nil || !slices.Equal(all, []string{"one", "two", "four"}) {
		t.Errorf("read %q, %v", all, err)
	}
}

func TestWhatCannotBeOpened(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	open(t, path)
	if _, _, err := journal.Open[string](path); err == nil || !strings.Contains(err.Error(), "another process has it") {
		t.Errorf("opened twice: %v", err)
	}
	bad := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(bad, []byte("\"one\"\n{\n\"three\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := journal.Open[string](bad); err == nil || !strings.Contains(err.Error(), bad+": line 2: ") {
		t.Errorf("a broken file: %v", err)
	}
	if _, _, err := journal.Open[string](bad); err == nil || strings.Contains(err.Error(), "another process") {
		t.Errorf("a broken file stays open: %v", err)
	}
	if all, err := journal.Read[string](path + ".none"); err != nil || len(all) != 0 {
		t.Errorf("a file that is not there: %q, %v", all, err)
	}
}
