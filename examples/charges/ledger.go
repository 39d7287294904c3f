package main

import (
	"sync"

	"github.com/anywire/anywire/examples/charges/journal"
)

// Row is a line of the ledger.
type Row struct {
	Charged

	Key string `json:"key"` // unique
}

// ledger is a file to which rows are added, each key once. A table with a unique
// column would do the same, for many bookkeepers.
type ledger struct {
	path string

	mu   sync.Mutex
	file *journal.Journal[Row] // nil: not open
	keys map[string]bool
}

// add writes a row and returns when it is on the disk. A row whose key is there
// already changes nothing.
func (l *ledger) add(row Row) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.open(); err != nil {
		return err
	}
	if l.keys[row.Key] {
		return nil
	}
	if err := l.file.Append(row); err != nil {
		return err
	}
	l.keys[row.Key] = true
	return nil
}

// open opens the file for the first row. The caller holds the lock.
func (l *ledger) open() error {
	if l.file != nil {
		return nil
	}
	file, rows, err := journal.Open[Row](l.path)
	if err != nil {
		return err
	}
	l.file, l.keys = file, make(map[string]bool, len(rows))
	for _, row := range rows {
		l.keys[row.Key] = true
	}
	return nil
}

func (l *ledger) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	file := l.file
	l.file = nil
	return file.Close()
}
