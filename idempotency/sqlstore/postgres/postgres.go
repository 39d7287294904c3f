// Package postgres is the store kind "postgres": records and outbox in a PostgreSQL
// database (13 or newer), on github.com/jackc/pgx/v5 through database/sql.
//
//	stores:
//	  ledger: { kind: postgres, url: "${DATABASE_URL}" }
package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/idempotency"
	"github.com/anywire/anywire/idempotency/sqlstore"
)

// Options are the keys of a store's entry. Zero values are the defaults.
type Options struct {
	URL            value.Secret   `yaml:"url" doc:"database to connect to, as a URL or as key=value pairs; what is missing comes from PGHOST and the like" example:"${DATABASE_URL}"`
	Schema         string         `yaml:"schema" doc:"schema of the tables, made if it is missing; default: the first of the search_path" example:"anywire"`
	Prefix         string         `yaml:"tables" doc:"begins the names of the tables, behind the prefix of the entry" default:"anywire_" example:"orders_"`
	Require        bool           `yaml:"require" doc:"never make or change tables: what is missing is an error" default:"false" example:"true"`
	MaxConnections int            `yaml:"max_connections" doc:"connections at most; each handler that holds a transaction needs one" default:"16" example:"64"`
	ConnectTimeout value.Duration `yaml:"connect_timeout" doc:"how long one attempt to connect may take" default:"5s" example:"10s"`

	// Logger is [sqlstore.Options.Logger].
	Logger *slog.Logger `yaml:"-"`
}

// Store is a [sqlstore.Store] on connections of its own.
type Store struct {
	*sqlstore.Store

	db *sql.DB
}

var _ idempotency.Closer = (*Store)(nil)

// Kind is `kind: postgres` of a configuration: [Open] with the entry's keys as
// [Options].
func Kind() idempotency.Kind {
	return idempotency.NewKind("postgres", func(ctx context.Context, o Options, s idempotency.Shared) (idempotency.Store, error) {
		return Open(ctx, o, s)
	}, nil)
}

// Open connects to a database and makes sure that it can be used. ctx bounds that
// only. Close closes the connections.
func Open(ctx context.Context, o Options, s idempotency.Shared) (*Store, error) {
	config, err := pgx.ParseConfig(o.URL.Reveal())
	if err != nil {
		return nil, errors.New("postgres store: url is no address of a database: write postgres://USER:PASSWORD@HOST:PORT/DATABASE")
	}
	config.ConnectTimeout = 5 * time.Second
	if o.ConnectTimeout > 0 {
		config.ConnectTimeout = o.ConnectTimeout.Std()
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "anywire"
	}
	if o.MaxConnections <= 0 {
		o.MaxConnections = 16
	}
	db := stdlib.OpenDB(*config)
	db.SetMaxOpenConns(o.MaxConnections)
	db.SetMaxIdleConns(o.MaxConnections)
	db.SetConnMaxIdleTime(time.Minute)
	logger := o.Logger
	if logger == nil {
		logger = s.Logger
	}
	if o.Prefix == "" {
		o.Prefix = "anywire_"
	}
	store := sqlstore.New(db, sqlstore.Postgres, &sqlstore.Options{
		Schema: o.Schema, Prefix: s.Prefix + o.Prefix, Require: o.Require, MaxRecords: s.MaxRecords, Logger: logger,
	})
	if _, err := store.Lag(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("%s:%d/%s: %w", config.Host, config.Port, config.Database, err), db.Close())
	}
	return &Store{Store: store, db: db}, nil
}

// DB is the pool of connections, for a handler's own tables and
// [sqlstore.Store.Publish]. It is closed with the store.
func (s *Store) DB() *sql.DB { return s.db }

// Close implements [idempotency.Closer].
func (s *Store) Close(context.Context) error { return s.db.Close() }
