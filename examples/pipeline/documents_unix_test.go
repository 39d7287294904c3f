//go:build unix

package main

import (
	"errors"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/anywire/anywire"
)

// Opening a pipe would block for ever.
func TestReadDocumentRefusesAPipe(t *testing.T) {
	t.Parallel()
	in := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(in, "pipe.md"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := readDocument(in, "pipe.md"); !errors.Is(err, anywire.Rejected) || !strings.Contains(err.Error(), "it is a named pipe") {
		t.Errorf("error %v", err)
	}
}
