package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/idempotency"
	"github.com/anywire/anywire/internal/backoff"
)

// Options configure a [Store]. Zero values are the defaults.
type Options struct {
	// Schema is the PostgreSQL schema of the tables, made if it is missing.
	// Default: the first of the connection's search_path.
	Schema string
	// Prefix begins the tables' names, up to 40 bytes. Stores with one prefix
	// share records and outbox. Default "anywire_".
	Prefix string
	// Require never makes or changes tables: what is missing or old is an error.
	// [Schema] has the statements.
	Require bool
	// MaxBytes bounds the outputs and each step of one message; more is
	// [envelope.TooLarge]. Default 64 MiB.
	MaxBytes int
	// MaxRecords bounds the records that are kept, roughly: about every ten
	// seconds those of messages that are done, the oldest first, are dropped
	// before their time. Default: no bound but their age.
	MaxRecords int
	// Logger is told when tables are made and when the relay cannot work; nil
	// discards.
	Logger *slog.Logger
}

// Store keeps records in a database. It is an [idempotency.Store], safe for
// concurrent use by many processes, and starts nothing.
type Store struct {
	db      *sql.DB
	dialect Dialect
	options Options
	invalid error // what is wrong with the options
	text    statements
	log     *slog.Logger

	steps  []string      // the schema's versions, see migrate
	ready  atomic.Bool   // the tables are as this program knows them
	making chan struct{} // one slot: who looks at the tables
	writer chan struct{} // one slot: who writes, where the database takes one at a time; else nil
	tidier tidier

	encode atomic.Pointer[Encode]
	wake   chan struct{} // one slot: rows are on their way into the outbox
}

var (
	_ idempotency.Store   = (*Store)(nil)
	_ idempotency.Counter = (*Store)(nil)
)

// New returns a store on db, which stays the caller's and is never closed. The
// tables are made or brought up to date on first use. PostgreSQL needs the driver
// github.com/jackc/pgx/v5/stdlib, SQLite modernc.org/sqlite. On PostgreSQL leave
// the pool more connections than there are handlers that hold a [Tx].
func New(db *sql.DB, d Dialect, o *Options) *Store {
	s := &Store{
		db: db, dialect: d, options: o.filled(), steps: d.schema(),
		making: make(chan struct{}, 1), wake: make(chan struct{}, 1),
	}
	s.invalid = s.options.check(d)
	s.text = newStatements(d, &s.options)
	s.log = s.options.Logger
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if d == SQLite {
		s.writer = make(chan struct{}, 1)
	}
	return s
}

func (o *Options) filled() Options {
	var f Options
	if o != nil {
		f = *o
	}
	if f.Prefix == "" {
		f.Prefix = "anywire_"
	}
	if f.MaxBytes <= 0 {
		f.MaxBytes = 64 << 20
	}
	return f
}

// Begin implements [idempotency.Store]. Once a second at most it also removes
// some of the records whose time is over.
func (s *Store) Begin(ctx context.Context, claims []idempotency.Claim) ([]idempotency.Verdict, error) {
	if err := s.prepare(ctx); err != nil {
		return nil, err
	}
	verdicts := make([]idempotency.Verdict, len(claims))
	err := s.try(ctx, func() error {
		if s.dialect == SQLite {
			return s.beginOneByOne(ctx, claims, verdicts)
		}
		return s.beginBatch(ctx, claims, verdicts)
	})
	if err != nil {
		return nil, s.failed("begin", err)
	}
	s.tidy(ctx, len(claims))
	return verdicts, nil
}

// Update implements [idempotency.Store].
func (s *Store) Update(ctx context.Context, changes []idempotency.Change) ([]error, error) {
	if err := s.prepare(ctx); err != nil {
		return nil, err
	}
	errs := make([]error, len(changes))
	err := s.try(ctx, func() error {
		if s.dialect == SQLite {
			return s.updateOneByOne(ctx, changes, errs)
		}
		return s.updateBatch(ctx, changes, errs)
	})
	if err != nil {
		return nil, s.failed("update", err)
	}
	return errs, nil
}

// tooLarge is the error of a change that the store does not take.
func (s *Store) tooLarge(c *idempotency.Change) error {
	size := len(c.Value)
	for _, e := range c.Outputs {
		size += len(e.Data)
	}
	if size <= s.options.MaxBytes {
		return nil
	}
	return &envelope.Error{Code: envelope.TooLarge, Message: fmt.Sprintf(
		"%v with %d bytes: the store takes %d for one message", c.Op, size, s.options.MaxBytes)}
}

// errRace says that others changed what is being changed, in a way that one look
// could not tell.
var errRace = errors.New("others change the same records")

const (
	retryFirst = 2 * time.Millisecond
	retryMost  = 250 * time.Millisecond
)

// try repeats what the database refused for reasons that pass by themselves, such
// as a deadlock, until ctx ends.
func (s *Store) try(ctx context.Context, f func() error) error {
	for n := 0; ; n++ {
		err := f()
		if err == nil || !isPassing(err) && !errors.Is(err, errRace) {
			return err
		}
		if sleep(ctx, backoff.Delay(retryFirst, retryMost, n)) != nil {
			return err
		}
	}
}

// sleep waits for d, unless ctx ends before.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// failed says which store could not do what. Tables that are gone are looked for,
// and made, by the next call.
func (s *Store) failed(what string, err error) error {
	if isMissing(err) && s.ready.Swap(false) {
		s.log.Warn("sql store: tables are gone or changed, the next call looks again", "prefix", s.options.Prefix, "error", err)
	}
	return fmt.Errorf("sql store (%v): %s: %w", s.dialect, what, err)
}

// querier is a database, a connection or a transaction.
type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// write runs f in a transaction of its own. Where the database takes one writer
// at a time, it waits for that here, in the order of coming.
func (s *Store) write(ctx context.Context, f func(tx *sql.Tx) error) error {
	leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err = s.lock(ctx, tx); err == nil {
		err = f(tx)
	}
	if err != nil {
		_ = tx.Rollback() // a connection that cannot has ended the transaction
		return err
	}
	return tx.Commit()
}

// exec runs one statement by itself.
func (s *Store) exec(ctx context.Context, text string, args ...any) (rows int64, err error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return 0, err
	}
	defer leave()
	result, err := s.db.ExecContext(ctx, text, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// enter waits until this process has no other writer.
func (s *Store) enter(ctx context.Context) (leave func(), err error) {
	if s.writer == nil {
		return func() {}, nil
	}
	select {
	case s.writer <- struct{}{}:
		return func() { <-s.writer }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for another writer of the database: %w", ctx.Err())
	}
}

// lock makes a transaction of SQLite a writer from its first statement on: one
// that reads first, and writes when others have written, fails.
func (s *Store) lock(ctx context.Context, q querier) error {
	if s.text.lock == "" {
		return nil
	}
	_, err := q.ExecContext(ctx, s.text.lock)
	return err
}
