package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/idempotency"
	"github.com/anywire/anywire/internal/backoff"
)

// DB is what a handler does with its transaction: what sqlc, gorm and others take
// in place of a *sql.DB. It has no Commit, which belongs to the end of the attempt.
type DB interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
}

// Tx is the transaction of the attempt that ctx belongs to, on the database of its
// store. It begins with the first call; later calls return the same. When the
// handler returns nil, its rows, the message's record and its outputs are committed
// together, or none of them; when it fails, all is rolled back. A statement that
// fails on PostgreSQL breaks the transaction, and with it the attempt.
//
// A transaction holds a connection, and on SQLite the right to write, which
// everybody else then waits for: call models and other services first. On SQLite a
// [idempotency.Step] after Tx would wait for the handler itself and is refused.
//
// Outside of a handler, after it has returned, and where the agent's records are
// not in an SQL store, Tx is an error.
func Tx(ctx context.Context) (DB, error) {
	w := idempotency.WorkOf(ctx)
	if w == nil {
		return nil, &envelope.Error{Code: envelope.Invalid, Message: "sqlstore.Tx outside a handler: use the context that the handler was given"}
	}
	s, err := storeOf(w)
	if err != nil {
		return nil, err
	}
	joined, err := w.Join(func() (idempotency.Committer, error) { return s.open(ctx) })
	if err != nil {
		return nil, err
	}
	t, ok := joined.(*tx)
	if !ok {
		return nil, &envelope.Error{Code: envelope.Invalid, Message: fmt.Sprintf(
			"sqlstore.Tx: the attempt has joined another transaction, a %T", joined)}
	}
	return t, nil
}

// Base is the store itself: what embeds a *Store is one too.
func (s *Store) Base() *Store { return s }

func storeOf(w *idempotency.Work) (*Store, error) {
	const want = "name a store of kind postgres or sqlite in `idempotency: { store: … }`, or set anywire.Options.Store to a sqlstore.Store"
	switch s := w.Store().(type) {
	case nil:
		return nil, &envelope.Error{Code: envelope.Unsupported, Message: "sqlstore.Tx: the agent keeps no records: " + want}
	case interface{ Base() *Store }:
		return s.Base(), nil
	default:
		return nil, &envelope.Error{Code: envelope.Unsupported, Message: fmt.Sprintf("sqlstore.Tx: the agent's records are in a %T: %s", s, want)}
	}
}

// tx is the transaction of one attempt.
type tx struct {
	store *Store
	inner *sql.Tx
	leave func() // lets others write

	end   context.CancelFunc // of the transaction
	using context.Context    //nolint:containedctx // of the handler's statements, ends with the attempt
	stop  context.CancelFunc
	over  atomic.Bool
}

var (
	_ DB                      = (*tx)(nil)
	_ idempotency.Committer   = (*tx)(nil)
	_ idempotency.StepRefuser = (*tx)(nil)
)

// open begins the transaction. It outlives ctx, which ends with the handler.
func (s *Store) open(ctx context.Context) (*tx, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, s.failed("begin a transaction", err)
	}
	t := &tx{store: s, leave: leave}
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	t.end = end
	t.using, t.stop = context.WithCancel(life)
	beginning := context.AfterFunc(ctx, end)
	var o *sql.TxOptions
	if s.dialect == Postgres { // a snapshot of the whole attempt would collide with the renewal of the record's lease
		o = &sql.TxOptions{Isolation: sql.LevelReadCommitted}
	}
	t.inner, err = s.db.BeginTx(life, o)
	if err == nil {
		if err = s.lock(life, t.inner); err != nil {
			_ = t.inner.Rollback() // a connection that cannot has ended the transaction
		}
	}
	if !beginning() && err == nil {
		_ = t.inner.Rollback() // as above
		err = context.Cause(ctx)
	}
	if err != nil {
		t.close()
		return nil, s.failed("begin a transaction", err)
	}
	return t, nil
}

// close gives back what the transaction held.
func (t *tx) close() {
	t.stop()
	t.end()
	t.leave()
}

// statement is the context of one: it ends with ctx, and with the attempt.
func (t *tx) statement(ctx context.Context) (context.Context, error) {
	if t.over.Load() {
		return nil, &envelope.Error{Code: envelope.Invalid, Message: "a statement of sqlstore.Tx after the handler returned: " +
			"wait for what the handler starts"}
	}
	ctx, cancel := context.WithCancel(ctx)
	context.AfterFunc(t.using, cancel)
	return ctx, nil
}

// ExecContext implements [DB].
func (t *tx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	ctx, err := t.statement(ctx)
	if err != nil {
		return nil, err
	}
	return t.inner.ExecContext(ctx, query, args...)
}

// QueryContext implements [DB].
func (t *tx) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	ctx, err := t.statement(ctx)
	if err != nil {
		return nil, err
	}
	return t.inner.QueryContext(ctx, query, args...)
}

// QueryRowContext implements [DB]. After the attempt the row's error is
// [sql.ErrTxDone].
func (t *tx) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	if one, err := t.statement(ctx); err == nil {
		ctx = one
	}
	return t.inner.QueryRowContext(ctx, query, args...)
}

// PrepareContext implements [DB].
func (t *tx) PrepareContext(ctx context.Context, query string) (*sql.Stmt, error) {
	ctx, err := t.statement(ctx)
	if err != nil {
		return nil, err
	}
	return t.inner.PrepareContext(ctx, query)
}

// RefuseStep implements [idempotency.StepRefuser]: where there is one writer, the
// step would wait for its own handler.
func (t *tx) RefuseStep() error {
	if t.store.writer == nil {
		return nil
	}
	return errors.New("on SQLite a transaction keeps all others from writing: call Step before sqlstore.Tx")
}

// answerTimeout bounds the wait for the database's word on a commit.
const answerTimeout = 10 * time.Second

// Commit implements [idempotency.Committer].
func (t *tx) Commit(ctx context.Context, c *idempotency.Change) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	t.over.Store(true)
	t.stop()
	defer context.AfterFunc(ctx, t.end)()
	err := t.record(ctx, c)
	if err != nil {
		_ = t.inner.Rollback() // a connection that cannot has ended the transaction
		t.close()
		if errors.Is(err, idempotency.ErrFenced) || errors.Is(err, envelope.TooLarge) {
			return err
		}
		return t.store.failed("the handler's transaction", explainBroken(err))
	}
	err = t.inner.Commit()
	t.close()
	if err == nil {
		return nil
	}
	return t.store.decide(context.WithoutCancel(ctx), c, err)
}

// record writes the record as c leaves it. Until now the transaction has not
// touched it, so that its lease could be renewed meanwhile.
func (t *tx) record(ctx context.Context, c *idempotency.Change) error {
	if err := t.store.tooLarge(c); err != nil {
		return err
	}
	q, err := t.store.single(ctx, t.inner)
	if err != nil {
		return err
	}
	defer q.close()
	r, err := q.find(ctx, &c.Key)
	if err != nil {
		return err
	}
	own, err := q.apply(ctx, r, c)
	return errors.Join(own, err)
}

// explainBroken: PostgreSQL refuses every statement after one that failed.
func explainBroken(err error) error {
	if stateOf(err) != "25P02" {
		return err
	}
	return fmt.Errorf("a statement of the handler failed, which breaks the transaction: return its error: %w", err)
}

// decide finds out by the token whether a transaction is committed whose commit
// was not answered with success. The record is read under its lock, which a commit
// that is still under way holds.
func (s *Store) decide(ctx context.Context, c *idempotency.Change, cause error) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	for n := 0; ; n++ {
		var r row
		err := s.db.QueryRowContext(ctx, s.text.loadLocked, c.Key.Scope, c.Key.Hash[:]).Scan(r.targets()...)
		if err == nil {
			rec, err := r.record()
			if err == nil && rec.Token == c.Token && (rec.Phase == idempotency.Completed || rec.Phase == idempotency.Settled) {
				return nil
			}
			return s.failed("commit", errors.Join(cause, err))
		}
		if errors.Is(err, sql.ErrNoRows) {
			return s.failed("commit", cause)
		}
		if sleep(ctx, backoff.Delay(retryFirst, retryMost, n)) != nil {
			return s.failed("whether the transaction is committed is not known", errors.Join(cause, err))
		}
	}
}

// Rollback implements [idempotency.Committer].
func (t *tx) Rollback(context.Context) error {
	t.over.Store(true)
	t.stop()
	_ = t.inner.Rollback() // a connection that cannot has ended the transaction
	t.close()
	return nil
}
