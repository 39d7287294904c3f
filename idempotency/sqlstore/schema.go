package sqlstore

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// schemaTable says which version the tables have.
const schemaTable = `create table if not exists {schema} (
	one integer primary key check (one = 1),
	version integer not null
);
`

// versionOne is the schema's first version. The statements of each version may be
// run again: they make only what is missing.
const versionOne = schemaTable + `create table if not exists {records} (
	scope text not null,
	hash {bytes} not null,
	phase integer not null,
	fingerprint {bytes} not null,
	token {bytes} not null,
	lease bigint not null,
	lease_until bigint not null,
	expires bigint not null,
	alone integer not null,
	attempts integer not null,
	deaths integer not null,
	deaths_alone integer not null,
	redrive integer not null,
	took bigint not null,
	steps {bytes} not null,
	outputs {bytes} not null,
	failure text not null,
	failure_message text not null,
	failure_attempts integer not null,
	primary key (scope, hash)
);
create index if not exists {records_expires} on {records} (expires);
create table if not exists {outbox} (
	id {id},
	ordered_by text not null,
	topic text not null,
	doc {bytes} not null,
	created bigint not null
);
create table if not exists {relay} (
	name text primary key,
	token {bytes} not null,
	lease_until bigint not null
);
`

// schema has the statements of each version, from 1 on.
func (Dialect) schema() []string { return []string{versionOne} }

// versionRow writes down which version the tables have.
const versionRow = `insert into {schema} (one, version) values (1, %d) on conflict (one) do update set version = excluded.version;
`

// Schema is what makes the tables of a store with these options (nil: the
// defaults), for those who run such statements themselves and set
// Options.Require. It may be run again.
func Schema(d Dialect, o *Options) string {
	f := o.filled()
	steps := d.schema()
	return expand(d, &f, strings.Join(steps, "")+fmt.Sprintf(versionRow, len(steps)))
}

// prepare makes sure, once, that the tables are as this program knows them.
func (s *Store) prepare(ctx context.Context) error {
	if s.ready.Load() {
		return nil
	}
	if s.invalid != nil {
		return s.invalid
	}
	select {
	case s.making <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("sql store: wait for its tables: %w", ctx.Err())
	}
	defer func() { <-s.making }()
	if s.ready.Load() {
		return nil
	}
	err := s.try(ctx, func() error {
		current, err := s.current(ctx, s.db)
		if err != nil || current {
			return err
		}
		return s.make(ctx)
	})
	if err != nil {
		return fmt.Errorf("sql store (%v): %w", s.dialect, err)
	}
	s.ready.Store(true)
	return nil
}

// make brings the tables up to date in a transaction.
func (s *Store) make(ctx context.Context) error {
	leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := s.migrate(ctx, tx); err != nil {
		_ = tx.Rollback() // a connection that cannot has ended the transaction
		return err
	}
	return tx.Commit()
}

// migrate brings the tables up to date. Where tables are missing, all of them are
// made.
func (s *Store) migrate(ctx context.Context, q querier) error {
	if s.dialect == Postgres { // two who make one table at once: one of them would fail
		if _, err := q.ExecContext(ctx, `select pg_advisory_xact_lock($1)`, lockNumber("schema", s.options.table("schema"))); err != nil {
			return err
		}
		if err := s.makeNamespace(ctx, q); err != nil {
			return err
		}
	}
	version, complete, err := s.version(ctx, q)
	if err != nil {
		return err
	}
	if version > len(s.steps) {
		return s.tooNew(version)
	}
	if !complete {
		version = 0
	}
	for _, step := range s.steps[version:] {
		if _, err := q.ExecContext(ctx, expand(s.dialect, &s.options, step)); err != nil {
			return fmt.Errorf("make the tables: %w", err)
		}
	}
	if _, err := q.ExecContext(ctx, expand(s.dialect, &s.options, fmt.Sprintf(versionRow, len(s.steps)))); err != nil {
		return fmt.Errorf("make the tables: %w", err)
	}
	s.log.Info("sql store: tables made or brought up to date", "prefix", s.options.Prefix, "from", version, "version", len(s.steps))
	return nil
}

// makeNamespace makes PostgreSQL's schema only where it is missing: the right to
// do so is needed even to do nothing.
func (s *Store) makeNamespace(ctx context.Context, q querier) error {
	if s.options.Schema == "" {
		return nil
	}
	var there bool
	if err := q.QueryRowContext(ctx, `select to_regnamespace($1) is not null`, quote(s.options.Schema)).Scan(&there); err != nil || there {
		return err
	}
	if _, err := q.ExecContext(ctx, `create schema if not exists `+quote(s.options.Schema)); err != nil {
		return fmt.Errorf("make schema %q: %w", s.options.Schema, err)
	}
	return nil
}

// current reports whether the tables need nothing. It is an error where they need
// something that must not be done.
func (s *Store) current(ctx context.Context, q querier) (bool, error) {
	version, complete, err := s.version(ctx, q)
	switch {
	case err != nil:
		return false, err
	case version > len(s.steps):
		return false, s.tooNew(version)
	case version == len(s.steps) && complete:
		return true, nil
	case !s.options.Require:
		return false, nil
	case version > 0 && complete:
		return false, fmt.Errorf("the tables %s… have version %d, this program needs %d, and `require` says never to change them: "+
			"bring them up to date with a program that may", s.options.table(""), version, len(s.steps))
	default:
		return false, fmt.Errorf("tables %s… are missing, and `require` says never to make them: run what sqlstore.Schema returns",
			s.options.table(""))
	}
}

func (s *Store) tooNew(version int) error {
	return fmt.Errorf("the tables %s… have version %d, written by a newer anywire; this program knows %d: "+
		"use the newer program, or another prefix", s.options.table(""), version, len(s.steps))
}

// version is that of the tables, 0 where it is not written down; complete says
// that all are there.
func (s *Store) version(ctx context.Context, q querier) (version int, complete bool, err error) {
	var names []any
	var marks []string
	look := `select count(*) from sqlite_master where type = 'table' and name in (%s)`
	for i, base := range tables() {
		if s.dialect == Postgres {
			look = `select count(*) from (values %s) as wanted(name) where to_regclass(name) is not null`
			names, marks = append(names, s.options.table(base)), append(marks, fmt.Sprintf("($%d::text)", i+1))
			continue
		}
		names, marks = append(names, s.options.Prefix+base), append(marks, fmt.Sprintf("$%d", i+1))
	}
	count := func(n int) (found int, err error) {
		err = q.QueryRowContext(ctx, fmt.Sprintf(look, strings.Join(marks[:n], ", ")), names[:n]...).Scan(&found)
		return found, err
	}
	found, err := count(1)
	if err != nil || found == 0 {
		return 0, false, err
	}
	if found, err = count(len(names)); err != nil {
		return 0, false, err
	}
	err = q.QueryRowContext(ctx, s.text.version).Scan(&version)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return version, found == len(names), err
}

// lockNumber names one of PostgreSQL's advisory locks.
func lockNumber(parts ...string) int64 {
	sum := sha256.Sum256([]byte("anywire\x00" + strings.Join(parts, "\x00")))
	return int64(binary.BigEndian.Uint64(sum[:8])) // any 64 bits
}
