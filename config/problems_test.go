package config

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "write what the tests find into testdata")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is one archive: files of configuration, variables and files that
// variables name.
type world struct {
	around surroundings
	inputs []input
	want   *archived
}

func worldOf(a *archive) world {
	env, files := map[string]string{}, map[string]string{}
	w := world{}
	for i := range a.files {
		f := &a.files[i]
		switch {
		case f.name == "want":
			w.want = f
		case f.name == "env":
			for line := range strings.Lines(string(f.data)) {
				name, text, _ := strings.Cut(strings.TrimSpace(line), "=")
				env[name] = text
			}
		case strings.HasSuffix(f.name, ".yaml"):
			w.inputs = append(w.inputs, input{name: f.name, data: f.data})
		default:
			files[f.name] = strings.TrimSpace(string(f.data))
		}
	}
	w.around = surroundings{
		env: func(name string) (string, bool) { text, ok := env[name]; return text, ok },
		read: func(name string) (string, error) {
			if text, ok := files[name]; ok {
				return text, nil
			}
			return "", &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		},
	}
	return w
}

func TestProblemsAsPrinted(t *testing.T) {
	t.Parallel()
	archives, err := filepath.Glob("testdata/problems/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatalf("no archives in testdata: %v", err)
	}
	for _, name := range archives {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			a := parseArchive(t, text)
			w := worldOf(a)
			c, err := load(w.around, w.inputs)
			var problems Problems
			if !errors.As(err, &problems) {
				t.Fatalf("the error is %T, want Problems", err)
			}
			got := problems.Error() + "\n"
			if strings.Contains(got, "hunter2") {
				t.Errorf("a secret is shown:\n%s", got)
			}
			checkPositions(t, problems, w.inputs)
			if c != nil {
				if diff := cmp.Diff(problems.Error(), c.Check().Error()); diff != "" {
					t.Errorf("Check finds something else than Load (-load +check):\n%s", diff)
				}
			}
			if *update {
				w.want.data = []byte(got)
				if err := os.WriteFile(name, a.format(), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(string(w.want.data), got); diff != "" {
				t.Errorf("problems (-want +got; -update accepts):\n%s", diff)
			}
		})
	}
}

// checkPositions holds every position against the text of its file.
func checkPositions(t *testing.T, problems Problems, inputs []input) {
	t.Helper()
	for _, p := range problems {
		for _, in := range inputs {
			lines := strings.Split(string(in.data), "\n")
			if in.name == p.File && p.Line > 0 && (p.Line > len(lines) || p.Column > len([]rune(lines[p.Line-1]))+1) {
				t.Errorf("%s:%d:%d lies outside of the file", p.File, p.Line, p.Column)
			}
		}
	}
}
