package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

// editedBody has a person change the payload of a letter.
func editedBody(ctx context.Context, cmd *cobra.Command, l *letter) ([]byte, error) {
	dir, err := os.MkdirTemp("", "anywire-dead-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	name := "payload.txt"
	if isJSONType(l.Envelope.ContentType) {
		name = "payload.json"
	}
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, l.Envelope.Data, 0o600); err != nil {
		return nil, err
	}
	words := strings.Fields(cmp.Or(os.Getenv("VISUAL"), os.Getenv("EDITOR"), "vi"))
	editor := exec.CommandContext(ctx, words[0], append(words[1:], file)...) //nolint:gosec // it is the user's own
	editor.Stdin, editor.Stdout, editor.Stderr = cmd.InOrStdin(), cmd.ErrOrStderr(), cmd.ErrOrStderr()
	if isTerminal(os.Stdout) {
		editor.Stdout = os.Stdout
	}
	if err := editor.Run(); err != nil {
		return nil, fmt.Errorf("editor %s: %w; nothing was sent", words[0], err)
	}
	body, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if bytes.Equal(bytes.TrimRight(body, "\n"), bytes.TrimRight(l.Envelope.Data, "\n")) {
		return nil, errors.New("the payload was not changed: nothing was sent")
	}
	if !bytes.HasSuffix(l.Envelope.Data, []byte("\n")) {
		body = bytes.TrimSuffix(body, []byte("\n")) // which editors add
	}
	return body, nil
}
