//go:build unix

package main

import (
	"bufio"
	"bytes"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// runUntilBrief runs a project, interrupts it once a brief is printed, and wants
// a clean end. It is not run by go run, which exits with 1 after any interrupt.
func runUntilBrief(t *testing.T, binary, dir string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, "-c", "memory.yaml", "-topic", "the moon")
	cmd.Dir = dir
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var printed []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		printed = append(printed, lines.Text())
		if lines.Text() != "- the first one has 3 letters" {
			continue
		}
		if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Error(err)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v\n%s", err, errs.String())
	}
	if want := "# the moon\n- it takes 2 words to name\n- the first one has 3 letters"; strings.Join(printed, "\n") != want {
		t.Errorf("it printed %q", printed)
	}
	if !strings.Contains(errs.String(), "draining") {
		t.Errorf("it did not drain:\n%s", errs.String())
	}
}
