package sqlite_test

import (
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/anywire/anywire/idempotency"
	"github.com/anywire/anywire/idempotency/sqlstore/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, o sqlite.Options, s idempotency.Shared) *sqlite.Store {
	t.Helper()
	store, err := sqlite.Open(t.Context(), o, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	return store
}

// TestOpenIsDurable: in a folder that is made, with a name that has to be escaped.
func TestOpenIsDurable(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a ?folder#", "100%.db")
	store := open(t, sqlite.Options{Path: path}, idempotency.Shared{Prefix: "team-a."})
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "busy_timeout": "10000", "foreign_keys": "1"} {
		var got string
		if err := store.DB().QueryRowContext(t.Context(), "pragma "+pragma).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %q, %v; want %s", pragma, got, err, want)
		}
	}
	var file string
	if err := store.DB().QueryRowContext(t.Context(), "select file from pragma_database_list").Scan(&file); err != nil || file != path {
		t.Errorf("the file is %q, %v; want %q", file, err, path)
	}
	if _, err := store.DB().ExecContext(t.Context(), `select 1 from "team-a.anywire_records"`); err != nil {
		t.Error(err)
	}
	claim := idempotency.Claim{Key: idempotency.NamedKey("s", "t", "a"), Token: idempotency.NewToken(), Lease: 1e9, TTL: 1e12}
	if v, err := store.Begin(t.Context(), []idempotency.Claim{claim}); err != nil || v[0].State != idempotency.Acquired {
		t.Errorf("%v, %v", v, err)
	}
	again := open(t, sqlite.Options{Path: path, Require: true, Synchronous: "normal"}, idempotency.Shared{Prefix: "team-a."})
	claim.Token = idempotency.NewToken()
	if v, err := again.Begin(t.Context(), []idempotency.Claim{claim}); err != nil || v[0].State != idempotency.Busy {
		t.Errorf("%v, %v", v, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	for want, o := range map[string]sqlite.Options{
		"path is empty":           {},
		"use the store memory":    {Path: ":memory:"},
		`use one of full, normal`: {Path: filepath.Join(folder, "a.db"), Synchronous: "off"},
		"unable to open":          {Path: folder},
		"unable to open database": {Path: filepath.Join(folder, "missing.db"), Require: true},
	} {
		store, err := sqlite.Open(t.Context(), o, idempotency.Shared{})
		if err == nil {
			_ = store.Close(t.Context())
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: error %v, want one that says %q", o, err, want)
		}
	}
}

func TestKind(t *testing.T) {
	t.Parallel()
	k := sqlite.Kind()
	o, ok := k.NewOptions().(*sqlite.Options)
	if !ok || k.KindName() != "sqlite" {
		t.Fatalf("kind %q has options %T", k.KindName(), k.NewOptions())
	}
	o.Path = filepath.Join(t.TempDir(), "a.db")
	store, err := k.OpenStore(t.Context(), o, idempotency.Shared{})
	if err != nil {
		t.Fatal(err)
	}
	closer, ok := store.(idempotency.Closer)
	if !ok {
		t.Fatalf("%T is not closed by the app", store)
	}
	if err := closer.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if on, err := k.OpenOn(t.Context(), o, idempotency.Shared{}); on != nil || err != nil {
		t.Errorf("on a transport's client: %v, %v", on, err)
	}
}
