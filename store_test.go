package anywire_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	_ "modernc.org/sqlite"

	"github.com/anywire/anywire"
	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/idempotency"
	"github.com/anywire/anywire/idempotency/sqlstore"
	"github.com/anywire/anywire/idempotency/sqlstore/sqlite"
	"github.com/anywire/anywire/router"
)

func TestMemoryRemembersWithoutBeingAsked(t *testing.T) {
	t.Parallel()
	var runs atomic.Int64
	app := anywire.New(&anywire.Options{Config: &config.Config{Agents: map[string]config.Agent{"worker": {Consumes: "in"}}}})
	anywire.Consume(app, "worker", func(ctx context.Context, _ Task) error {
		runs.Add(1)
		idempotency.EffectKey(ctx, "any")
		return nil
	})
	start(t, app)
	for range 3 {
		if err := app.Publish(t.Context(), "in", Task{"a"}, anywire.WithIdempotencyKey("one")); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "duplicates are answered", func() bool { return first(app).Duplicates == 2 })
	if runs.Load() != 1 {
		t.Errorf("%d runs", runs.Load())
	}
}

// first is the health of an app's only agent; zero before it runs.
func first(app *anywire.App) router.Health {
	if agents := app.Health().Agents; len(agents) > 0 {
		return agents[0]
	}
	return router.Health{}
}

type Order struct {
	ID   string
	Nest struct{ N int }
}

func (Order) WireType() string { return "shop.order@1" }

func TestTheKeyIsWhereTheAgentSays(t *testing.T) {
	t.Parallel()
	for path, test := range map[string]struct {
		options []anywire.SendOption
		order   Order
		dead    bool
	}{
		"data.ID":         {order: Order{ID: "x"}},
		"data.Nest.N":     {order: Order{}},
		"attribute.order": {options: []anywire.SendOption{anywire.WithExtension("order", "1")}},
		"data.missing":    {dead: true},
		"data.Nest":       {dead: true},
		"attribute.none":  {dead: true},
	} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			var runs atomic.Int64
			app := anywire.New(&anywire.Options{Config: &config.Config{
				Agents: map[string]config.Agent{"worker": {Consumes: "in", IdempotencyKey: path}},
			}})
			anywire.Consume(app, "worker", func(context.Context, Order) error { runs.Add(1); return nil })
			start(t, app)
			for range 2 {
				if err := app.Publish(t.Context(), "in", test.order, test.options...); err != nil {
					t.Fatal(err)
				}
			}
			await(t, "both are settled", func() bool {
				a := first(app)
				return a.Handled+a.Duplicates+a.DeadLettered == 2
			})
			if a := first(app); test.dead && a.DeadLettered != 2 || !test.dead && runs.Load() != 1 {
				t.Errorf("%d runs, %d dead letters", runs.Load(), a.DeadLettered)
			}
		})
	}
}

// A handler's rows, its record and its outputs are one transaction; what a program
// writes into the outbox is published.
func TestAStoreInTheProgramsDatabase(t *testing.T) {
	t.Parallel()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "shop.db")+"?_txlock=immediate&_pragma=journal_mode(WAL)&_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.ExecContext(t.Context(), `create table ledger (id text)`); err != nil {
		t.Fatal(err)
	}
	store := sqlstore.New(db, sqlstore.SQLite, nil)
	app := anywire.New(&anywire.Options{Store: store, Config: &config.Config{
		Agents: map[string]config.Agent{"clerk": {Consumes: "orders", Policy: config.Policy{Concurrency: 1}}},
	}})
	failed := false
	anywire.Consume(app, "clerk", func(ctx context.Context, o Order) error {
		tx, err := sqlstore.Tx(ctx)
		if err != nil {
			return err
		}
		if _, err = tx.ExecContext(ctx, `insert into ledger (id) values ($1)`, o.ID); err != nil {
			return err
		}
		if !failed { // what was written is rolled back
			failed = true
			return errors.New("once")
		}
		return nil
	})
	start(t, app)
	for i := range 10 {
		publish(t, db, store, fmt.Sprint("order-", i))
	}
	await(t, "all are handled", func() bool { return first(app).Handled == 10 })
	var rows, distinct int
	if err := db.QueryRowContext(t.Context(), `select count(*), count(distinct id) from ledger`).Scan(&rows, &distinct); err != nil {
		t.Fatal(err)
	}
	if rows != 10 || distinct != 10 {
		t.Errorf("%d rows of %d orders, want 10 of 10", rows, distinct)
	}
}

// publish writes an order into the outbox, in a transaction of the program's.
func publish(t *testing.T, db *sql.DB, store *sqlstore.Store, id string) {
	t.Helper()
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Publish(t.Context(), tx, "orders", Order{ID: id}, envelope.WithIdempotencyKey(id)); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
}

// A program goes on where another left off, from a file.
func TestAStoreOfTheFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text := "version: 1\nstores: { ledger: { kind: sqlite, path: \"" + filepath.Join(dir, "records.db") + "\" } }\n" +
		"idempotency: { store: ledger }\nagents: { worker: { consumes: in } }\n"
	file := filepath.Join(dir, "a.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var runs atomic.Int64
	for i := range 2 {
		c, err := config.Load(file)
		if err != nil {
			t.Fatal(err)
		}
		app := anywire.New(&anywire.Options{Config: c, Kinds: []anywire.Kind{sqlite.Kind()}})
		anywire.Consume(app, "worker", func(context.Context, Task) error { runs.Add(1); return nil })
		r := start(t, app)
		if err := app.Publish(t.Context(), "in", Task{}, anywire.WithIdempotencyKey("one")); err != nil {
			t.Fatal(err)
		}
		await(t, "it is settled", func() bool {
			a := first(app)
			return a.Handled+a.Duplicates == 1
		})
		if err := r.stop(); err != nil || runs.Load() != 1 {
			t.Errorf("run %d: %v, %d runs of the handler", i, err, runs.Load())
		}
	}
}

func TestStoresAreValidated(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		text string
		want []string
	}{
		"a kind that is not linked": {
			"stores: { ledger: { kind: postgres } }\nidempotency: { store: ledger }\n",
			[]string{`stores.ledger: store "ledger" is of kind "postgres", which this program does not link: it links sqlite`},
		},
		"options of another kind": {
			"stores: { ledger: { kind: sqlite, url: x } }\nidempotency: { store: ledger }\n",
			[]string{`stores.ledger: unknown key "url"`},
		},
		"a transport without records": {
			"transport: post\ntransports: { post: { kind: chatty } }\n",
			[]string{`idempotency.store: transport "post" keeps no idempotency records`, "stores: { ledger: { kind: sqlite", "idempotency: { store: none }"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "a.yaml")
			if err := os.WriteFile(file, []byte("version: 1\n"+test.text+"agents: { worker: { consumes: in } }\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			c, err := config.Load(file)
			if err != nil {
				t.Fatal(err)
			}
			app := anywire.New(&anywire.Options{Config: c, Kinds: []anywire.Kind{sqlite.Kind(), chatty(nil)}})
			anywire.Consume(app, "worker", consume[Task])
			err = app.Validate()
			for _, want := range test.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("validate: %v\nwant %s", err, want)
				}
			}
		})
	}
}
