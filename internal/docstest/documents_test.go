package docstest

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/anywire/anywire/config"
)

const root = "../.."

// documents reads what readers read: the README of the project and of its
// examples, and docs/.
func documents(t *testing.T) []*Block {
	t.Helper()
	var all []*Block
	for _, pattern := range []string{"README.md", "CONTRIBUTING.md", "docs/*.md", "examples/*/README.md"} {
		names, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(names) == 0 {
			t.Fatalf("no document is named %s: %v", pattern, err)
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			rel, _ := filepath.Rel(root, name)
			blocks, err := Extract(filepath.ToSlash(rel), string(text))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, blocks...)
		}
	}
	return all
}

func TestDirectives(t *testing.T) {
	t.Parallel()
	for _, b := range documents(t) {
		switch b.Verb {
		case "", "run", "fragment":
		case "join", "skip":
			if b.Arg == "" {
				t.Errorf("%s: %s needs a word: a name to join, a reason to skip", b.Where(), b.Verb)
			}
			if b.Verb == "skip" {
				t.Logf("%s is not checked: %s", b.Where(), b.Arg)
			}
		default:
			t.Errorf("%s: %q is no directive; there are join, run, fragment, skip, hidden", b.Where(), b.Verb)
		}
	}
}

func TestGoBlocks(t *testing.T) {
	t.Parallel()
	blocks := documents(t)
	if err := CheckGo(t.Context(), root, blocks); err != nil {
		t.Error(err)
	}
	for _, b := range blocks {
		if b.Lang == "go" && b.Verb == "run" {
			runProgram(t, b)
		}
	}
}

// runProgram runs a block as a package of this module, without writing into it.
func runProgram(t *testing.T, b *Block) {
	t.Helper()
	dir := t.TempDir()
	file, overlay := filepath.Join(dir, "main.go"), filepath.Join(dir, "overlay.json")
	place, err := filepath.Abs(filepath.Join(root, "internal", "docstest", "program.go"))
	if err != nil {
		t.Fatal(err)
	}
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {place: file}})
	if err != nil {
		t.Fatal(err)
	}
	for name, body := range map[string]string{file: b.Text, overlay: string(replace)} {
		if err := os.WriteFile(name, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "go", "run", "-overlay", overlay, place).CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v\n%s", b.Where(), err, out)
	}
}

func TestYAMLBlocks(t *testing.T) {
	t.Parallel()
	for _, b := range documents(t) {
		if b.Lang != "yaml" && b.Lang != "yml" || b.Verb == "skip" {
			continue
		}
		// Empty lines before it give each problem its line in the document.
		text := strings.Repeat("\n", b.Line-1) + b.Text
		if b.Verb == "fragment" {
			text = "version: 1\n" + strings.Repeat("\n", max(b.Line-2, 0)) + b.Text
		}
		_, err := config.Parse(b.File, []byte(text))
		if err := relevant(err, b.Verb == "fragment"); err != nil {
			t.Error(err)
		}
	}
}

// relevant drops what a part of a file cannot fulfil: that something else is
// there, too.
func relevant(err error, fragment bool) error {
	problems, ok := err.(config.Problems) //nolint:errorlint // Parse says that it is one
	if !ok || !fragment {
		return err
	}
	var kept config.Problems
	for _, p := range problems {
		if p.Line > 1 && !strings.Contains(p.Message, "required") && !strings.Contains(p.Message, "exist") {
			kept = append(kept, p)
		}
	}
	return kept.Err()
}

func TestCommands(t *testing.T) {
	t.Parallel()
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	targets := Targets(string(makefile))
	checked := 0
	for _, b := range documents(t) {
		for _, command := range b.Commands() {
			known, err := CheckCommand(root, command, targets)
			if err != nil {
				t.Errorf("%s: %s: %v", b.Where(), command, err)
			}
			if known {
				checked++
			}
		}
	}
	if checked == 0 {
		t.Error("no document names a command of this project")
	}
}

// make help lists every target that the documents promise, and each
// line says something.
func TestHelp(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "make", "--no-print-directory", "-C", root, "help").CombinedOutput()
	if err != nil {
		t.Fatalf("make help: %v\n%s", err, out)
	}
	for target := range strings.FieldsSeq("help run test test-full lint bench fuzz deps brokers-up brokers-down clean") {
		if line := fmt.Sprintf("  %-14s ", target); strings.Count(string(out), line) != 1 {
			t.Errorf("make help says nothing of %s:\n%s", target, out)
		}
	}
}
