package sqlstore_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/idempotency"
	"github.com/anywire/anywire/idempotency/sqlstore"
	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/internal/faultproxy"
)

type order struct{ ID string }

func (order) WireType() string { return "shop.order@1" }

func message(tb testing.TB, id string, opts ...envelope.Option) *envelope.Envelope {
	tb.Helper()
	e, err := envelope.New(order{ID: id}, append([]envelope.Option{envelope.WithID(id)}, opts...)...)
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

func (d *database) makeLedger(tb testing.TB) {
	tb.Helper()
	d.exec(tb, "create table "+d.table("ledger")+" (id text)")
	tb.Cleanup(func() {
		if d.dialect == sqlstore.Postgres {
			d.exec(tb, "drop table if exists "+d.table("ledger"))
		}
	})
}

func (d *database) ledger(tb testing.TB) int {
	tb.Helper()
	return d.number(tb, "select count(*) from "+d.table("ledger"))
}

// book writes a row in the attempt's transaction and answers with one output.
func (d *database) book(ctx context.Context, in *envelope.Envelope) ([]*envelope.Envelope, error) {
	tx, err := sqlstore.Tx(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := tx.ExecContext(ctx, "insert into "+d.table("ledger")+" values ($1)", in.ID); err != nil {
		return nil, err
	}
	out, err := envelope.New(order{ID: "out-" + in.ID})
	return []*envelope.Envelope{out}, err
}

func TestTxCommitsRowRecordAndOutputsTogether(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, d *database) {
		t.Helper()
		d.makeLedger(t)
		runs := 0
		handle := idempotency.Middleware(d.store(t, d.open(t)), nil)(func(ctx context.Context, in *envelope.Envelope) ([]*envelope.Envelope, error) {
			runs++
			outs, err := d.book(ctx, in)
			if err == nil && d.ledger(t) != 0 {
				t.Error("the row is to be seen before the attempt has ended")
			}
			second, err2 := sqlstore.Tx(ctx)
			if first, _ := sqlstore.Tx(ctx); err2 != nil || first != second {
				t.Errorf("Tx once more is another transaction, %v", err2)
			}
			return outs, err
		})
		in := message(t, "a")
		first, err := handle(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		second, err := handle(t.Context(), in)
		if err != nil || len(second) != 1 || second[0].ID != first[0].ID || !bytes.Equal(second[0].Data, first[0].Data) {
			t.Errorf("a duplicate gets %v, %v, want the outputs that were recorded", second, err)
		}
		if runs != 1 || d.ledger(t) != 1 {
			t.Errorf("%d runs, %d rows, want one of each", runs, d.ledger(t))
		}
	})
}

func TestTxRollsBackWithTheAttempt(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, d *database) {
		t.Helper()
		d.makeLedger(t)
		store := d.store(t, d.open(t))
		for name, fail := range map[string]func() error{
			"error":  func() error { return errors.New("no") },
			"reject": func() error { return envelope.Reject(errors.New("never")) },
			"panic":  func() error { panic("no") },
		} {
			handle := idempotency.Middleware(store, nil)(func(ctx context.Context, in *envelope.Envelope) ([]*envelope.Envelope, error) {
				_, err := d.book(ctx, in)
				return nil, errors.Join(err, fail())
			})
			func() {
				defer func() { _ = recover() }()
				if _, err := handle(t.Context(), message(t, name)); err == nil {
					t.Errorf("%s: no error", name)
				}
			}()
			if n := d.ledger(t); n != 0 {
				t.Errorf("%s: %d rows, want none", name, n)
			}
		}
		handle := idempotency.Middleware(store, nil)(d.book)
		if _, err := handle(t.Context(), message(t, "error")); err != nil || d.ledger(t) != 1 {
			t.Errorf("the next attempt: %v, %d rows", err, d.ledger(t))
		}
	})
}

// TestTxIsFenced: what another attempt has taken over commits nothing.
func TestTxIsFenced(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, d *database) {
		t.Helper()
		d.makeLedger(t)
		store := d.store(t, d.open(t))
		handle := idempotency.Middleware(store, nil)(func(ctx context.Context, in *envelope.Envelope) ([]*envelope.Envelope, error) {
			if d.dialect == sqlstore.Postgres { // on SQLite nobody writes beside a transaction
				defer d.exec(t, "delete from "+d.table("records"))
			} else {
				d.exec(t, "delete from "+d.table("records"))
			}
			return d.book(ctx, in)
		})
		_, err := handle(t.Context(), message(t, "a"))
		if !errors.Is(err, idempotency.ErrFenced) || !errors.Is(err, envelope.LeaseLost) {
			t.Errorf("error %v, want fenced", err)
		}
		if n := d.ledger(t); n != 0 {
			t.Errorf("%d rows of an attempt that was taken over", n)
		}
	})
}

func TestTxTooLarge(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, d *database) {
		t.Helper()
		d.makeLedger(t)
		handle := idempotency.Middleware(d.store(t, d.open(t)), nil)(func(ctx context.Context, in *envelope.Envelope) ([]*envelope.Envelope, error) {
			outs, err := d.book(ctx, in)
			outs[0].Data = make([]byte, mebibyte+1)
			return outs, err
		})
		if _, err := handle(t.Context(), message(t, "a")); !errors.Is(err, envelope.TooLarge) || d.ledger(t) != 0 {
			t.Errorf("error %v and %d rows, want too large and none", err, d.ledger(t))
		}
	})
}

func TestTxOfOthers(t *testing.T) {
	t.Parallel()
	d := sqliteFile(t)
	store := d.store(t, d.open(t))
	if _, err := sqlstore.Tx(t.Context()); !errors.Is(err, envelope.Invalid) || !strings.Contains(err.Error(), "outside a handler") {
		t.Errorf("outside of a handler: %v", err)
	}
	bare := idempotency.NewContext(t.Context(), idempotency.NewGuard(nil, nil).Bare(message(t, "a")))
	if _, err := sqlstore.Tx(bare); !errors.Is(err, envelope.Unsupported) || !strings.Contains(err.Error(), "idempotency: { store:") {
		t.Errorf("without a store: %v", err)
	}
	var late context.Context
	var db sqlstore.DB
	for _, c := range []struct {
		store idempotency.Store
		want  string
	}{{idempotency.NewMemory(nil), "*idempotency.Memory"}, {store, ""}} {
		handle := idempotency.Middleware(c.store, nil)(func(ctx context.Context, _ *envelope.Envelope) ([]*envelope.Envelope, error) {
			var err error
			late = ctx //nolint:fatcontext // it is what the test keeps too long
			db, err = sqlstore.Tx(ctx)
			return nil, err
		})
		_, err := handle(t.Context(), message(t, "a"))
		if c.want == "" && err != nil || c.want != "" && (!errors.Is(err, envelope.Unsupported) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("store %T: %v, want an error that names %q", c.store, err, c.want)
		}
	}
	if _, err := sqlstore.Tx(context.WithoutCancel(late)); !errors.Is(err, envelope.Invalid) || !strings.Contains(err.Error(), "after the handler returned") {
		t.Errorf("after the handler returned: %v", err)
	}
	if _, err := db.ExecContext(t.Context(), "select 1"); !errors.Is(err, envelope.Invalid) {
		t.Errorf("a late statement: %v", err)
	}
	if rows, err := db.QueryContext(t.Context(), "select 1"); !errors.Is(err, envelope.Invalid) { //nolint:sqlclosecheck // there are none
		_ = rows.Err()
		t.Errorf("a late query: %v", err)
	}
	if err := db.QueryRowContext(t.Context(), "select 1").Scan(new(int)); !errors.Is(err, sql.ErrTxDone) {
		t.Errorf("a late row: %v", err)
	}
	if _, err := db.PrepareContext(t.Context(), "select 1"); !errors.Is(err, envelope.Invalid) { //nolint:sqlclosecheck // there is none
		t.Errorf("a late preparation: %v", err)
	}
}

// TestStepBesideTx: on SQLite the step would wait for the handler that runs it.
func TestStepBesideTx(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, d *database) {
		t.Helper()
		d.makeLedger(t)
		step := func(ctx context.Context, name string) error {
			_, err := idempotency.Step(ctx, name, func(context.Context) (int, error) { return 1, nil })
			return err
		}
		handle := idempotency.Middleware(d.store(t, d.open(t)), nil)(func(ctx context.Context, in *envelope.Envelope) ([]*envelope.Envelope, error) {
			if err := step(ctx, "before"); err != nil {
				t.Error(err)
			}
			outs, err := d.book(ctx, in)
			after := step(ctx, "after")
			if d.dialect == sqlstore.Postgres && after != nil || d.dialect == sqlstore.SQLite && !errors.Is(after, envelope.Unsupported) {
				t.Errorf("a step after Tx: %v", after)
			}
			return outs, err
		})
		if _, err := handle(t.Context(), message(t, "a")); err != nil || d.ledger(t) != 1 {
			t.Errorf("%v, %d rows", err, d.ledger(t))
		}
	})
}

// TestTxOutlivesTheHandlersContext: an attempt whose context has ended by the time
// that it is completed has succeeded all the same.
func TestTxOutlivesTheHandlersContext(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, d *database) {
		t.Helper()
		d.makeLedger(t)
		handle := idempotency.Middleware(d.store(t, d.open(t)), nil)(func(ctx context.Context, in *envelope.Envelope) ([]*envelope.Envelope, error) {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			return d.book(ctx, in)
		})
		if _, err := handle(t.Context(), message(t, "a")); err != nil || d.ledger(t) != 1 {
			t.Errorf("%v, %d rows", err, d.ledger(t))
		}
	})
}

// TestBrokenTx: PostgreSQL answers COMMIT of a broken transaction with success.
func TestBrokenTx(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, d *database) {
		t.Helper()
		d.makeLedger(t)
		handle := idempotency.Middleware(d.store(t, d.open(t)), nil)(func(ctx context.Context, in *envelope.Envelope) ([]*envelope.Envelope, error) {
			outs, err := d.book(ctx, in)
			if err != nil {
				return nil, err
			}
			tx, err := sqlstore.Tx(ctx)
			if err != nil {
				return nil, err
			}
			if _, err := tx.ExecContext(ctx, "insert into nowhere values (1)"); err == nil {
				t.Error("a table that is not there takes rows")
			}
			return outs, nil // the handler does not look at errors
		})
		_, err := handle(t.Context(), message(t, "a"))
		if d.dialect == sqlstore.SQLite { // where the statement alone has failed
			if err != nil || d.ledger(t) != 1 {
				t.Errorf("%v, %d rows", err, d.ledger(t))
			}
			return
		}
		if err == nil || !strings.Contains(err.Error(), "a statement of the handler failed") || d.ledger(t) != 0 {
			t.Errorf("error %v and %d rows, want one that explains, and none", err, d.ledger(t))
		}
		_, v, err := idempotency.NewGuard(d.store(t, d.open(t)), nil).Begin(t.Context(), message(t, "a"), false)
		if err != nil || v.State != idempotency.Acquired || v.Attempts != 1 {
			t.Errorf("the next attempt: %v after %d, %v; want acquired after one", v.State, v.Attempts, err)
		}
	})
}

// TestCommitWithoutAnAnswer: the connection is lost while the server commits, and
// the record tells what has become of it.
func TestCommitWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	for name, kill := range map[string]bool{"committed": false, "rolled back": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := postgresAt(brokertest.SharedPostgres(t).URL)
			t.Cleanup(func() { d.dropTables(t) })
			d.makeLedger(t)
			d.exec(t, `create function `+d.table("wait")+`() returns trigger language plpgsql as 'begin perform pg_sleep(2); return null; end'`)
			t.Cleanup(func() { d.exec(t, `drop function `+d.table("wait")+` cascade`) })
			d.exec(t, `create constraint trigger slow after insert on `+d.table("ledger")+
				` deferrable initially deferred for each row execute function `+d.table("wait")+`()`)
			address, err := url.Parse(d.source)
			if err != nil {
				t.Fatal(err)
			}
			proxy := faultproxy.New(t, faultproxy.Bytes, address.Host)
			address.Host = proxy.Addr()
			query := address.Query()
			query.Set("application_name", d.prefix)
			address.RawQuery = query.Encode()
			far := &database{dialect: d.dialect, driver: d.driver, source: address.String(), prefix: d.prefix}
			store := far.store(t, far.open(t))
			wantLag(t, store, 0) // makes the tables, which are committed too
			handle := idempotency.Middleware(store, nil)(d.book)
			handled := make(chan error, 1)
			in := message(t, "a")
			go func() {
				_, err := handle(t.Context(), in)
				handled <- err
			}()
			const committing = "from pg_stat_activity where application_name = $1 and state = 'active' and query = 'commit'"
			eventually(t, "the server commits", func() bool { return d.number(t, "select count(*) "+committing, d.prefix) == 1 })
			if kill {
				d.exec(t, "select pg_terminate_backend(pid) "+committing, d.prefix)
			} else {
				proxy.Set(faultproxy.Faults{Refuse: true}) // the driver would ask the server to give up
				proxy.Cut()
				eventually(t, "the server has committed", func() bool { return d.ledger(t) == 1 })
				proxy.Set(faultproxy.Faults{})
			}
			err = <-handled
			if kill && (err == nil || d.ledger(t) != 0) || !kill && (err != nil || d.ledger(t) != 1) {
				t.Errorf("error %v and %d rows", err, d.ledger(t))
			}
			want := idempotency.Done
			if kill {
				want = idempotency.Acquired
			}
			_, v, err := idempotency.NewGuard(d.store(t, d.open(t)), nil).Begin(t.Context(), in, false)
			if err != nil || v.State != want {
				t.Errorf("the next claim is %v, %v; want %v", v.State, err, want)
			}
		})
	}
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !cond(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in a minute: %s", what)
		}
	}
}
