// Package sqlite is the store kind "sqlite": records and outbox in one file, for
// the processes of one host, on modernc.org/sqlite, which needs no C compiler.
//
//	stores:
//	  local: { kind: sqlite, path: /var/lib/newsroom/anywire.db }
//
// The file is in WAL mode, and what is confirmed is on the disk (synchronous:
// full). One transaction writes at a time; others wait for it up to busy_timeout.
// The file must be on a local disk: SQLite's locks do not work on network file
// systems.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/idempotency"
	"github.com/anywire/anywire/idempotency/sqlstore"

	_ "modernc.org/sqlite" // registers the driver that Open uses
)

// Options are the keys of a store's entry. Zero values are the defaults.
type Options struct {
	Path        string         `yaml:"path" doc:"file of the database, on a local disk; it is made with its folder" example:"/var/lib/anywire/records.db"`
	Synchronous string         `yaml:"synchronous" doc:"full: what is confirmed survives a power loss; normal: it survives the process, and is faster" default:"full" enum:"full|normal" example:"normal"`
	BusyTimeout value.Duration `yaml:"busy_timeout" doc:"how long to wait for another process that writes" default:"10s" example:"30s"`
	Prefix      string         `yaml:"tables" doc:"begins the names of the tables, behind the prefix of the entry" default:"anywire_" example:"orders_"`
	Require     bool           `yaml:"require" doc:"never make or change tables: what is missing is an error" default:"false" example:"true"`

	// Logger is [sqlstore.Options.Logger].
	Logger *slog.Logger `yaml:"-"`
}

// Store is a [sqlstore.Store] on a database of its own.
type Store struct {
	*sqlstore.Store

	db *sql.DB
}

var _ idempotency.Closer = (*Store)(nil)

// Kind is `kind: sqlite` of a configuration: [Open] with the entry's keys as
// [Options].
func Kind() idempotency.Kind {
	return idempotency.NewKind("sqlite", func(ctx context.Context, o Options, s idempotency.Shared) (idempotency.Store, error) {
		return Open(ctx, o, s)
	}, nil)
}

// Open opens a database and makes sure that it can be used. ctx bounds that only.
// Close closes it.
func Open(ctx context.Context, o Options, s idempotency.Shared) (*Store, error) {
	name, err := o.dataSource()
	if err != nil {
		return nil, err
	}
	if !o.Require {
		if err := os.MkdirAll(filepath.Dir(o.Path), 0o750); err != nil {
			return nil, fmt.Errorf("sqlite store: %w", err)
		}
	}
	db, err := sql.Open("sqlite", name)
	if err != nil {
		return nil, fmt.Errorf("sqlite store %s: %w", o.Path, err)
	}
	logger := o.Logger
	if logger == nil {
		logger = s.Logger
	}
	if o.Prefix == "" {
		o.Prefix = "anywire_"
	}
	store := sqlstore.New(db, sqlstore.SQLite, &sqlstore.Options{
		Prefix: s.Prefix + o.Prefix, Require: o.Require, MaxRecords: s.MaxRecords, Logger: logger,
	})
	if _, err := store.Lag(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", o.Path, err), db.Close())
	}
	return &Store{Store: store, db: db}, nil
}

// DB is the database, for a handler's own tables and [sqlstore.Store.Publish]. It
// is closed with the store.
func (s *Store) DB() *sql.DB { return s.db }

// Close implements [idempotency.Closer].
func (s *Store) Close(context.Context) error { return s.db.Close() }

// dataSource is what the driver opens. Options of the file stand before its
// pragmas.
func (o *Options) dataSource() (string, error) {
	levels := []string{"full", "normal"}
	switch {
	case o.Path == "":
		return "", errors.New("sqlite store: path is empty: name the file of the database")
	case strings.Contains(o.Path, ":memory:"):
		return "", fmt.Errorf("sqlite store: path %q would be lost with the process: use the store memory", o.Path)
	case o.Synchronous == "":
		o.Synchronous = levels[0]
	case !slices.Contains(levels, o.Synchronous):
		return "", fmt.Errorf("sqlite store: synchronous %q: use one of %s", o.Synchronous, strings.Join(levels, ", "))
	}
	busy := o.BusyTimeout.Std()
	if busy <= 0 {
		busy = 10 * time.Second
	}
	path, err := filepath.Abs(o.Path)
	if err != nil {
		return "", fmt.Errorf("sqlite store: path %q: %w", o.Path, err)
	}
	query := url.Values{"_txlock": {"immediate"}, "_pragma": {
		fmt.Sprintf("busy_timeout(%d)", busy.Milliseconds()), "journal_mode(WAL)", "synchronous(" + o.Synchronous + ")", "foreign_keys(1)",
	}}
	if o.Require {
		query.Set("mode", "rw")
	}
	file := url.URL{Scheme: "file", Path: filepath.ToSlash(path), OmitHost: false, RawQuery: query.Encode()}
	return file.String(), nil
}
