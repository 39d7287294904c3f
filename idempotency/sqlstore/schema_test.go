package sqlstore

import (
	"database/sql"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anywire/anywire/idempotency"
	"github.com/anywire/anywire/internal/brokertest"
)

// empties are empty databases with a store on each.
func empties(t *testing.T, f func(t *testing.T, db *sql.DB, d Dialect, prefix string)) {
	t.Helper()
	for d, open := range map[Dialect]func(t *testing.T) (driver, source string){
		SQLite: func(t *testing.T) (driver, source string) {
			t.Helper()
			return "sqlite", "file:" + filepath.Join(t.TempDir(), "test.db") + "?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)"
		},
		Postgres: func(t *testing.T) (driver, source string) {
			t.Helper()
			return "pgx", brokertest.SharedPostgres(t).URL
		},
	} {
		t.Run(d.String(), func(t *testing.T) {
			t.Parallel()
			driver, source := open(t)
			db, err := sql.Open(driver, source)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = db.Close() })
			prefix := `odd "` + idempotency.NewToken().String()[:12] + `" `
			t.Cleanup(func() {
				o := Options{Prefix: prefix}
				for _, base := range tables() {
					_, _ = db.Exec("drop table if exists " + o.table(base))
				}
			})
			f(t, db, d, prefix)
		})
	}
}

func use(t *testing.T, s *Store) error {
	t.Helper()
	_, err := s.Begin(t.Context(), []idempotency.Claim{{Key: idempotency.NamedKey("s", "t", "a"), Token: idempotency.NewToken(), Lease: time.Minute, TTL: time.Hour}})
	return err
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want one that says %q", err, want)
	}
}

func TestTablesOfANewerVersion(t *testing.T) {
	t.Parallel()
	empties(t, func(t *testing.T, db *sql.DB, d Dialect, prefix string) {
		t.Helper()
		newer := New(db, d, &Options{Prefix: prefix})
		newer.steps = append(newer.steps, `create table if not exists {outbox} (id bigint)`)
		if err := use(t, newer); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			wantError(t, use(t, New(db, d, &Options{Prefix: prefix})), "have version 2, written by a newer anywire; this program knows 1")
		}
		wantError(t, use(t, New(db, d, &Options{Prefix: prefix, Require: true})), "newer anywire")
	})
}

func TestTablesOfAnOlderVersion(t *testing.T) {
	t.Parallel()
	empties(t, func(t *testing.T, db *sql.DB, d Dialect, prefix string) {
		t.Helper()
		if err := use(t, New(db, d, &Options{Prefix: prefix})); err != nil {
			t.Fatal(err)
		}
		steps := append(d.schema(), `alter table {relay} add column host text`)
		careful := New(db, d, &Options{Prefix: prefix, Require: true})
		careful.steps = steps
		wantError(t, use(t, careful), "have version 1, this program needs 2")
		var group sync.WaitGroup
		for range 8 { // one of them makes the change, which cannot be made twice
			group.Go(func() {
				s := New(db, d, &Options{Prefix: prefix})
				s.steps = steps
				if err := use(t, s); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if err := use(t, careful); err != nil {
			t.Error(err)
		}
		o := Options{Prefix: prefix}
		if _, err := db.ExecContext(t.Context(), "select host from "+o.table("relay")); err != nil {
			t.Errorf("the newer version's column: %v", err)
		}
	})
}

func TestManyMakeTheTables(t *testing.T) {
	t.Parallel()
	empties(t, func(t *testing.T, db *sql.DB, d Dialect, prefix string) {
		t.Helper()
		var group sync.WaitGroup
		for range 16 {
			group.Go(func() {
				if err := use(t, New(db, d, &Options{Prefix: prefix})); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
	})
}

func TestRequiredTables(t *testing.T) {
	t.Parallel()
	empties(t, func(t *testing.T, db *sql.DB, d Dialect, prefix string) {
		t.Helper()
		o := &Options{Prefix: prefix, Require: true}
		s := New(db, d, o)
		wantError(t, use(t, s), "run what sqlstore.Schema returns")
		for range 2 { // it may be run again
			if _, err := db.ExecContext(t.Context(), Schema(d, o)); err != nil {
				t.Fatal(err)
			}
		}
		if err := use(t, s); err != nil {
			t.Error(err)
		}
		if _, err := db.ExecContext(t.Context(), "drop table "+o.table("records")); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := use(t, s); err == nil {
				t.Error("a table is made that must not be")
			}
		}
		wantError(t, use(t, s), "run what sqlstore.Schema returns")
	})
}

// TestSchemaOfPostgres is made when it is missing.
func TestSchemaOfPostgres(t *testing.T) {
	t.Parallel()
	db, err := sql.Open("pgx", brokertest.SharedPostgres(t).URL)
	if err != nil {
		t.Fatal(err)
	}
	name := "s" + idempotency.NewToken().String()
	t.Cleanup(func() {
		_, _ = db.Exec("drop schema if exists " + name + " cascade")
		_ = db.Close()
	})
	for range 2 {
		if err := use(t, New(db, Postgres, &Options{Schema: name})); err != nil {
			t.Fatal(err)
		}
	}
	count := 0
	err = db.QueryRowContext(t.Context(), "select count(*) from "+name+".anywire_records").Scan(&count)
	if err != nil || count != 1 {
		t.Errorf("%d records in the schema, %v", count, err)
	}
}

func TestWrongOptions(t *testing.T) {
	t.Parallel()
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "test.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for want, s := range map[string]*Store{
		"dialect 7 is not known":      New(db, 7, nil),
		"has 41 bytes: at most 40":    New(db, SQLite, &Options{Prefix: strings.Repeat("x", 41)}),
		`schema "a": SQLite has none`: New(db, SQLite, &Options{Schema: "a"}),
	} {
		wantError(t, use(t, s), want)
		wantError(t, s.Relay(t.Context(), nil, nil), want)
		_, err := s.Lag(t.Context())
		wantError(t, err, want)
	}
}

func TestBrokenRows(t *testing.T) {
	t.Parallel()
	sound := row{phase: 2, fingerprint: make([]byte, 32), token: make([]byte, 16), kept: 1}
	if _, err := sound.record(); err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func(r *row){
		"phase 0":     func(r *row) { r.phase = 0 },
		"phase 6":     func(r *row) { r.phase = 6 },
		"fingerprint": func(r *row) { r.fingerprint = r.fingerprint[1:] },
		"token":       func(r *row) { r.token = nil },
		"steps":       func(r *row) { r.steps = []byte{200} },
		"outputs":     func(r *row) { r.outputs = []byte{99} },
	} {
		r := sound
		damage(&r)
		if _, err := r.record(); !errors.Is(err, idempotency.ErrUnreadable) {
			t.Errorf("%s: error %v, want unreadable", name, err)
		}
	}
}

func FuzzSteps(f *testing.F) {
	f.Add([]byte{})
	f.Add(writeSteps(map[string][]byte{"one": []byte("1"), "": nil}))
	f.Add([]byte{1, 'a', 255, 255, 255, 255, 255, 255, 255, 255, 255, 1})
	f.Fuzz(func(t *testing.T, doc []byte) {
		steps, err := readSteps(doc)
		if err != nil {
			if !errors.Is(err, idempotency.ErrUnreadable) {
				t.Errorf("error %v", err)
			}
			return
		}
		again, err := readSteps(writeSteps(steps))
		if err != nil || len(again) != len(steps) {
			t.Errorf("%d steps become %d, %v", len(steps), len(again), err)
		}
	})
}
