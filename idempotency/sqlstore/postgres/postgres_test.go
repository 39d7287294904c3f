package postgres_test

import (
	"context"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/idempotency"
	"github.com/anywire/anywire/idempotency/sqlstore"
	"github.com/anywire/anywire/idempotency/sqlstore/postgres"
	"github.com/anywire/anywire/internal/brokertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(brokertest.Runner(m)) }

type order struct{}

func (order) WireType() string { return "shop.order@1" }

// TestKind: a store that the app has opened is one for Tx.
func TestKind(t *testing.T) {
	t.Parallel()
	k := postgres.Kind()
	o, ok := k.NewOptions().(*postgres.Options)
	if !ok || k.KindName() != "postgres" {
		t.Fatalf("kind %q has options %T", k.KindName(), k.NewOptions())
	}
	o.URL = value.NewSecret(brokertest.SharedPostgres(t).URL)
	o.Schema = "kind_test"
	opened, err := k.OpenStore(t.Context(), o, idempotency.Shared{Prefix: "team-a."})
	if err != nil {
		t.Fatal(err)
	}
	store, ok := opened.(*postgres.Store)
	if !ok {
		t.Fatalf("it is a %T", opened)
	}
	defer func() {
		_, _ = store.DB().Exec("drop schema kind_test cascade")
		if err := store.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	if _, err := store.DB().ExecContext(t.Context(), "create table kind_test.ledger (id text)"); err != nil {
		t.Fatal(err)
	}
	handle := idempotency.Middleware(store, nil)(func(ctx context.Context, in *envelope.Envelope) ([]*envelope.Envelope, error) {
		tx, err := sqlstore.Tx(ctx)
		if err != nil {
			return nil, err
		}
		_, err = tx.ExecContext(ctx, "insert into kind_test.ledger values ($1)", in.ID)
		return nil, err
	})
	in, err := envelope.New(order{})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := handle(t.Context(), in); err != nil {
			t.Error(err)
		}
	}
	var rows int
	var name string
	err = store.DB().QueryRowContext(t.Context(),
		`select count(*), current_setting('application_name') from kind_test.ledger, kind_test."team-a.anywire_records"`).Scan(&rows, &name)
	if err != nil || rows != 1 || name != "anywire" {
		t.Errorf("%d rows by %q, %v; want one by anywire", rows, name, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"postgres://app:hunter2@127.0.0.1:1/db?sslmode=disable": "127.0.0.1:1/db",
		"postgres://app:hunter2@127.0.0.1:port/db":              "url is no address",
	} {
		store, err := postgres.Open(t.Context(), postgres.Options{URL: value.NewSecret(url)}, idempotency.Shared{})
		if err == nil {
			_ = store.Close(t.Context())
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("error %v, want one that says %q and no password", err, want)
		}
	}
}
