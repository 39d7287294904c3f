package sqlstore_test

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/anywire/anywire/idempotency"
	"github.com/anywire/anywire/idempotency/sqlstore"
	"github.com/anywire/anywire/idempotency/storetest"
	"github.com/anywire/anywire/internal/brokertest"
)

// database is one that tests use through several pools, as processes do.
type database struct {
	dialect sqlstore.Dialect
	driver  string
	source  string
	prefix  string
}

// mebibyte is what the outputs of a message may have in tests.
const mebibyte = 1 << 20

// databases are an empty SQLite file, and tables of their own in the shared
// PostgreSQL.
func databases(t *testing.T, f func(t *testing.T, d *database)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		f(t, sqliteFile(t))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		d := postgresAt(brokertest.SharedPostgres(t).URL)
		t.Cleanup(func() { d.dropTables(t) })
		f(t, d)
	})
}

func sqliteFile(tb testing.TB) *database {
	tb.Helper()
	source := "file:" + filepath.Join(tb.TempDir(), "test.db") +
		"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)"
	return &database{dialect: sqlstore.SQLite, driver: "sqlite", source: source, prefix: "anywire_"}
}

func postgresAt(url string) *database {
	return &database{dialect: sqlstore.Postgres, driver: "pgx", source: url, prefix: fmt.Sprintf("t%x_", rand.Uint64())}
}

func (d *database) open(tb testing.TB) *sql.DB {
	tb.Helper()
	db, err := sql.Open(d.driver, d.source)
	if err != nil {
		tb.Fatal(err)
	}
	db.SetMaxIdleConns(16)
	tb.Cleanup(func() { _ = db.Close() })
	return db
}

func (d *database) store(tb testing.TB, db *sql.DB) *sqlstore.Store {
	tb.Helper()
	return sqlstore.New(db, d.dialect, &sqlstore.Options{Prefix: d.prefix, MaxBytes: mebibyte})
}

func (d *database) table(name string) string { return `"` + d.prefix + name + `"` }

func (d *database) exec(tb testing.TB, statement string, args ...any) {
	tb.Helper()
	db, err := sql.Open(d.driver, d.source)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.ExecContext(context.Background(), statement, args...); err != nil {
		tb.Fatalf("%s: %v", statement, err)
	}
}

func (d *database) number(tb testing.TB, query string, args ...any) (n int) {
	tb.Helper()
	db, err := sql.Open(d.driver, d.source)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if err := db.QueryRowContext(context.Background(), query, args...).Scan(&n); err != nil {
		tb.Fatalf("%s: %v", query, err)
	}
	return n
}

func (d *database) dropTables(tb testing.TB) {
	tb.Helper()
	for _, name := range []string{"schema", "records", "outbox", "relay"} {
		d.exec(tb, "drop table if exists "+d.table(name))
	}
}

// one is a store whose pool ends with it.
type one struct {
	*sqlstore.Store

	db *sql.DB
}

func (o one) Close(context.Context) error { return o.db.Close() }

func (d *database) harness() storetest.Harness {
	return storetest.Harness{
		Name: d.driver, MaxOutputs: mebibyte,
		Open: func(tb testing.TB) idempotency.Store {
			tb.Helper()
			db := d.open(tb)
			return one{d.store(tb, db), db}
		},
		Damage: func(tb testing.TB, k idempotency.Key) {
			tb.Helper()
			d.exec(tb, "update "+d.table("records")+" set phase = 99 where scope = $1 and hash = $2", k.Scope, k.Hash[:])
		},
		Forget: func(tb testing.TB, k idempotency.Key) {
			tb.Helper()
			d.exec(tb, "delete from "+d.table("records")+" where scope = $1 and hash = $2", k.Scope, k.Hash[:])
		},
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		h := sqliteFile(t).harness()
		h.Patience = 2 * time.Minute // all cases share one file, in which one transaction writes at a time
		storetest.Run(t, h)
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		server := brokertest.Postgres(t)
		h := postgresAt(server.URL).harness()
		h.Restart = func(tb testing.TB) {
			tb.Helper()
			server.Kill(tb)
			server.Start(tb)
		}
		storetest.Run(t, h)
	})
}
