package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// home is the checkout under test.
func home(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// inProject runs go in a project with the module cache and nothing else.
func inProject(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOPROXY=off", "GOSUMDB=off", "GOWORK=off", "GOFLAGS=")
	return cmd
}

func initialised(t *testing.T, dir string, flags ...string) result {
	t.Helper()
	r := call(append([]string{"init", dir, "--replace", home(t)}, flags...)...)
	if r.code != exitFine || r.errs != "" {
		t.Fatalf("init: exit %d\n%s", r.code, r.both())
	}
	return r
}

// A stranger's first minutes: init, then what it says to do next.
func TestInitMakesAProjectThatWorks(t *testing.T) {
	t.Setenv("GOFLAGS", "")
	// init may download what tests of our dependencies import, in the versions
	// that a project selects: they are others than ours. The rest is offline.
	dir := filepath.Join(t.TempDir(), "My Newsroom")
	r := initialised(t, dir)
	golden(t, "output/init", strings.ReplaceAll(r.out, filepath.Dir(dir)+string(filepath.Separator), ""))
	binary := filepath.Join(t.TempDir(), "newsroom")
	for _, args := range [][]string{{"build", "-o", binary, "."}, {"vet", "./..."}, {"test", "./..."}} {
		if out, err := inProject(t, dir, args...).CombinedOutput(); err != nil {
			t.Errorf("go %v: %v\n%s", args, err, out)
		}
	}
	if out, err := exec.CommandContext(t.Context(), "gofmt", "-l", dir).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("gofmt: %v, %s", err, out)
	}
	diff := inProject(t, dir, "mod", "tidy", "-diff")
	if out, err := diff.CombinedOutput(); err != nil {
		t.Errorf("go.mod is not tidy: %v\n%s", err, out)
	}
	for _, name := range []string{"memory.yaml", "embedded.yaml", "nats.yaml", "redis.yaml", "kafka.yaml"} {
		out, err := inProject(t, dir, "run", ".", "validate", "-c", name).CombinedOutput()
		if want := "valid: " + name + "\n"; err != nil || string(out) != want {
			t.Errorf("validate -c %s: %v\n%s", name, err, out)
		}
	}
	ours := string(read(t, filepath.Join(home(t), "compose.yaml")))
	if got := string(read(t, filepath.Join(dir, "compose.yaml"))); got != strings.Replace(ours, "\nname: anywire\n", "\n", 1) || got == ours {
		t.Errorf("compose.yaml:\n%s", cmp.Diff(ours, got))
	}
	runUntilBrief(t, binary, dir)
}

func TestInitOverwritesNothing(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"go.mod", "memory.yaml", "other.go", ".gitignore"} {
		dir := t.TempDir()
		file := filepath.Join(dir, name)
		write(t, file, "mine")
		r := call("init", dir, "--no-tidy", "--replace", home(t))
		if want := fmt.Sprintf("error: %s has %s already, and nothing is overwritten: name another folder, as in anywire init DIR\n", dir, name); r.code != exitUsage || r.errs != want {
			t.Errorf("%s: exit %d, %s", name, r.code, cmp.Diff(want, r.both()))
		}
		left, err := os.ReadDir(dir)
		if err != nil || len(left) != 1 || string(read(t, file)) != "mine" {
			t.Errorf("%s: left %v, %v", name, left, err)
		}
	}
}

func TestInitTwiceIsAnError(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	initialised(t, dir, "--no-tidy")
	if r := call("init", dir, "--replace", home(t)); r.code != exitUsage || !strings.Contains(r.errs, "go.mod, go.sum, kafka.yaml, main.go") {
		t.Errorf("exit %d, %s", r.code, r.both())
	}
}

func TestInitHere(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "Wire+Room")
	if err := os.Mkdir(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	at := home(t)
	t.Chdir(dir)
	r := call("init", "--no-tidy", "--replace", at)
	if r.code != exitFine || strings.Contains(r.out, "cd ") || !strings.Contains(r.out, "\nnext:\n  go mod tidy\n  go test ./...\n") {
		t.Errorf("exit %d, %s", r.code, r.both())
	}
	if text := string(read(t, "go.mod")); !strings.HasPrefix(text, "module example.com/wire-room\n\ngo 1.") || !strings.HasSuffix(text, " => "+at+"\n") {
		t.Errorf("go.mod:\n%s", text)
	}
	if r := call("init", "--replace", at); r.code != exitUsage || !strings.HasPrefix(r.errs, "error: this folder has .gitignore, ") {
		t.Errorf("again: exit %d, %s", r.code, r.both())
	}
}

func TestInitFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	write(t, file, "")
	for name, test := range map[string]struct {
		args []string
		code int
		want string
	}{
		"a file as folder": {[]string{filepath.Join(file, "x"), "--replace", home(t)}, exitFailed, "not a directory"},
		"no checkout":      {[]string{filepath.Join(dir, "a"), "--replace", dir}, exitUsage, "there is no checkout of github.com/anywire/anywire in " + dir + ": name one with --replace DIR"},
	} {
		r := call(append([]string{"init"}, test.args...)...)
		if r.code != test.code || !strings.Contains(r.errs, test.want) {
			t.Errorf("%s: exit %d, %s", name, r.code, r.both())
		}
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

func TestInitWithoutGo(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	dir := filepath.Join(t.TempDir(), "newsroom")
	r := call("init", dir, "--replace", home(t))
	if r.code != exitFailed || !strings.Contains(r.errs, "the project is written, and there is no go command") || !strings.Contains(r.out, "main.go") {
		t.Errorf("exit %d, %s", r.code, r.both())
	}
}

func TestInitSaysWhatGoSaid(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "go"), []byte("#!/bin/sh\necho no network\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	project := filepath.Join(dir, "newsroom")
	r := call("init", project, "--replace", home(t))
	if want := "error: the project is written, but go mod tidy did not work; run it again in " + project + ": exit status 1\nno network\n"; r.code != exitFailed || r.errs != want {
		t.Errorf("exit %d, %s", r.code, cmp.Diff(want, r.errs))
	}
}

func TestModuleName(t *testing.T) {
	t.Parallel()
	for folder, want := range map[string]string{
		"newsroom": "newsroom", "My Newsroom": "my-newsroom", "Ünïcode": "n-code", "..": "newsroom", "/": "newsroom",
		"a.b_c-d": "a.b_c-d", "-x-": "x", "日本": "newsroom",
	} {
		if got := moduleName(folder); got != "example.com/"+want || !modulePattern.MatchString(got) {
			t.Errorf("%q: got %q, want example.com/%s", folder, got, want)
		}
	}
}

func TestQuotedPath(t *testing.T) {
	t.Parallel()
	for dir, want := range map[string]string{
		"/src/anywire": "/src/anywire", "/my src/anywire": `"/my src/anywire"`, `/a"b`: `"/a\"b"`,
	} {
		if got := quotedPath(dir); got != want {
			t.Errorf("%s: got %s, want %s", dir, got, want)
		}
	}
}

func TestDirective(t *testing.T) {
	t.Parallel()
	mod := []byte("// a comment\r\nmodule \"example.com/x\" // more\r\n\r\ngo 1.26.0\r\n")
	if m, g, none := directive(mod, "module"), directive(mod, "go"), directive(mod, "toolchain"); m != "example.com/x" || g != "1.26.0" || none != "" {
		t.Errorf("%q %q %q", m, g, none)
	}
}

// The checkout is found without --replace, unless the build hides it.
func TestBuiltFrom(t *testing.T) {
	t.Parallel()
	c, err := builtFrom()
	if err != nil {
		t.Skipf("this test was built with -trimpath: %v", err)
	}
	if want := home(t); c.dir != want || c.goVersion == "" || !bytes.Contains(c.sums, []byte("go.yaml.in/yaml")) {
		t.Errorf("found %s (go %s), want %s", c.dir, c.goVersion, want)
	}
}
