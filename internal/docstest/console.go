package docstest

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Commands are the lines of a console block that start with "$ ", or all lines
// of a shell block that are no comments, without what continues them.
func (b *Block) Commands() []string {
	var all []string
	for line := range strings.Lines(b.Text) {
		line = strings.TrimSpace(line)
		switch command, ok := strings.CutPrefix(line, "$ "); {
		case ok:
			all = append(all, command)
		case line != "" && !strings.HasPrefix(line, "#") && (b.Lang == "sh" || b.Lang == "bash"):
			all = append(all, line)
		}
	}
	return all
}

// CheckCommand holds one command of a document against the Makefile's targets
// and the programs below dir. It reports whether it knows such commands.
func CheckCommand(dir, command string, targets []string) (known bool, err error) {
	command, _, _ = strings.Cut(command, " #")
	words := strings.Fields(command)
	for len(words) > 0 && strings.Contains(words[0], "=") { // VAR=value before the command
		words = words[1:]
	}
	switch {
	case len(words) > 0 && words[0] == "make":
		return true, checkMake(words[1:], targets)
	case len(words) > 2 && words[0] == "go" && words[1] == "run":
		return true, checkRun(dir, words[2:])
	}
	return false, nil
}

func checkMake(words, targets []string) error {
	for _, word := range words {
		if !strings.Contains(word, "=") && !strings.HasPrefix(word, "-") && !slices.Contains(targets, word) {
			return fmt.Errorf("the Makefile has no target %q; it has %v", word, targets)
		}
	}
	return nil
}

// checkRun wants the package to exist, and each file below examples/ that the
// arguments name.
func checkRun(dir string, words []string) error {
	for i, word := range words {
		switch {
		case strings.HasPrefix(word, "./"):
			if files, _ := filepath.Glob(filepath.Join(dir, word, "*.go")); i == 0 && len(files) == 0 {
				return fmt.Errorf("there is no program in %s", word)
			}
		case strings.HasPrefix(word, "examples/"):
			if _, err := os.Stat(filepath.Join(dir, word)); err != nil {
				return err
			}
		}
	}
	return nil
}

// Targets lists the targets of a Makefile that `make help` shows.
func Targets(makefile string) []string {
	var all []string
	for _, m := range regexp.MustCompile(`(?m)^([a-z][a-z-]*):.*## `).FindAllStringSubmatch(makefile, -1) {
		all = append(all, m[1])
	}
	return all
}
