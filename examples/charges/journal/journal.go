// Package journal keeps values as lines of JSON in a file that only grows. What
// was appended is on the disk when Append returns; what a killed process had
// written half is cut off by the next one that opens the file.
package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// Journal is an open file of lines, each a T. One process has it at a time. It
// may be used concurrently.
type Journal[T any] struct {
	mu   sync.Mutex
	file *os.File
	size int64 // of the lines that are whole
}

// Open opens the file at path, made with its folder if need be, and returns what
// it holds. It is an error while another process has the file open.
func Open[T any](path string) (*Journal[T], []T, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, nil, err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, nil, err
	}
	all, size, err := load[T](file)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("%s: %w", path, err), file.Close())
	}
	return &Journal[T]{file: file, size: size}, all, nil
}

// load takes the file for this process, reads it, and cuts off a line without an
// end.
func load[T any](file *os.File) (all []T, size int64, err error) {
	if err := lock(file); err != nil {
		return nil, 0, fmt.Errorf("another process has it: %w", err)
	}
	text, err := io.ReadAll(file)
	if err != nil {
		return nil, 0, err
	}
	if all, size, err = parse[T](text); err != nil {
		return nil, 0, err
	}
	return all, size, file.Truncate(size)
}

// Append adds a line. After an error it is not there, unless the disk says
// otherwise later.
func (j *Journal[T]) Append(v T) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	line = append(line, '\n')
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, err := j.file.WriteAt(line, j.size); err != nil { // over what a failed call left there
		return err
	}
	if err := j.file.Sync(); err != nil {
		return errors.Join(err, j.file.Truncate(j.size))
	}
	j.size += int64(len(line))
	return nil
}

// Close closes the file, for others to open.
func (j *Journal[T]) Close() error { return j.file.Close() }

// Read returns what the file at path holds, also while a process appends to it.
// A file that is not there holds nothing.
func Read[T any](path string) ([]T, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	all, _, err := parse[T](text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return all, nil
}

// parse reads whole lines; size is where they end.
func parse[T any](text []byte) (all []T, size int64, err error) {
	text = text[:bytes.LastIndexByte(text, '\n')+1]
	for line := range bytes.Lines(text) {
		var v T
		if err := json.Unmarshal(line, &v); err != nil {
			return nil, 0, fmt.Errorf("line %d: %w", len(all)+1, err)
		}
		all = append(all, v)
	}
	return all, int64(len(text)), nil
}
