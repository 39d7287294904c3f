package sqlstore_test

import (
	"context"
	"errors"
	"fmt"
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

func begin(ctx context.Context, tb testing.TB, s idempotency.Store, id string) (*idempotency.Work, idempotency.Verdict, error) {
	tb.Helper()
	return idempotency.NewGuard(s, nil).Begin(ctx, message(tb, id), false)
}

func mustBegin(t *testing.T, s idempotency.Store, id string) *idempotency.Work {
	t.Helper()
	work, v, err := begin(t.Context(), t, s, id)
	if err != nil || work == nil {
		t.Fatalf("the claim of %s is %v, %v; want acquired", id, v.State, err)
	}
	return work
}

// TestDatabaseIsDown: calls fail, also the first of all, and go on when it is back.
// A transaction that was open is an attempt that failed.
func TestDatabaseIsDown(t *testing.T) {
	t.Parallel()
	server := brokertest.Postgres(t)
	d := postgresAt(server.URL)
	s := d.store(t, d.open(t))
	server.Kill(t)
	if _, _, err := begin(t.Context(), t, s, "a"); err == nil {
		t.Error("a database that is down answers")
	}
	server.Start(t)
	d.exec(t, "create table "+d.table("ledger")+" (id text)") // the server ends with the test
	work := mustBegin(t, s, "a")
	outs, err := d.book(idempotency.NewContext(t.Context(), work), message(t, "a"))
	if err != nil {
		t.Fatal(err)
	}
	server.Kill(t)
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := work.Complete(ctx, outs); err == nil {
		t.Error("a transaction is committed to a database that is down")
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %v to say so", took)
	}
	server.Start(t)
	if n := d.ledger(t); n != 0 {
		t.Errorf("%d rows of an attempt that failed", n)
	}
	if err := work.Release(t.Context(), true); err != nil {
		t.Error(err)
	}
	if _, v, err := begin(t.Context(), t, s, "a"); err != nil || v.State != idempotency.Acquired || v.Attempts != 1 {
		t.Errorf("the next claim is %v after %d attempts, %v", v.State, v.Attempts, err)
	}
}

// TestSlowDatabase: what is slow works, what says nothing ends with the context.
func TestSlowDatabase(t *testing.T) {
	t.Parallel()
	d := postgresAt(brokertest.SharedPostgres(t).URL)
	t.Cleanup(func() { d.dropTables(t) })
	address, err := url.Parse(d.source)
	if err != nil {
		t.Fatal(err)
	}
	proxy := faultproxy.New(t, faultproxy.Bytes, address.Host)
	address.Host = proxy.Addr()
	far := &database{dialect: d.dialect, driver: d.driver, source: address.String(), prefix: d.prefix}
	s := far.store(t, far.open(t))
	mustBegin(t, s, "first") // whatever is done once
	proxy.Set(faultproxy.Faults{Latency: 150 * time.Millisecond})
	began := time.Now()
	work := mustBegin(t, s, "slow")
	if err := work.Complete(t.Context(), []*envelope.Envelope{message(t, "out")}); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took < 600*time.Millisecond || took > 5*time.Second {
		t.Errorf("%v for two calls of 300 ms each and more", took)
	}
	proxy.Set(faultproxy.Faults{HoldReplies: true})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := s.Begin(ctx, make([]idempotency.Claim, 1)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a database that says nothing: %v", err)
	}
	proxy.Set(faultproxy.Faults{})
	if _, v, err := begin(t.Context(), t, s, "slow"); err != nil || v.State != idempotency.Done || len(v.Outputs) != 1 {
		t.Errorf("afterwards the record is %v, %v", v.State, err)
	}
}

// TestReadOnlyDatabase fails closed, whether it has tables or not.
func TestReadOnlyDatabase(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, d *database) {
		t.Helper()
		mustBegin(t, d.store(t, d.open(t)), "a")
		frozen, empty := *d, *d
		if d.dialect == sqlstore.Postgres {
			frozen.source += "&default_transaction_read_only=on"
			empty.source = frozen.source
		} else {
			frozen.source += "&mode=ro"
			empty.source += "&_pragma=query_only(1)"
		}
		empty.prefix = "empty_"
		for name, d := range map[string]*database{"with tables": &frozen, "without": &empty} {
			s := d.store(t, d.open(t))
			for range 2 {
				_, _, err := begin(t.Context(), t, s, "b")
				if err == nil || !strings.Contains(err.Error(), "read") {
					t.Errorf("%s: error %v, want one that says read-only", name, err)
				}
			}
		}
		s := d.store(t, d.open(t))
		if _, v, err := begin(t.Context(), t, s, "a"); err != nil || v.State != idempotency.Busy {
			t.Errorf("the record is %v, %v; want busy as it was", v.State, err)
		}
	})
}

// TestFullDisk: nothing is begun or completed, what is there stays, and when there
// is room again all goes on.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	d := sqliteFile(t)
	db := d.open(t)
	db.SetMaxOpenConns(1) // the limit is one of the connection
	s := d.store(t, db)
	work := mustBegin(t, s, "a")
	settled := mustBegin(t, s, "b")
	if err := settled.Complete(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), "pragma max_page_count = 1"); err != nil { // as many as there are
		t.Fatal(err)
	}
	large := message(t, "out")
	large.Data = make([]byte, mebibyte/2)
	err := work.Complete(t.Context(), []*envelope.Envelope{large})
	if err == nil || errors.Is(err, envelope.TooLarge) || errors.Is(err, idempotency.ErrFenced) {
		t.Errorf("error %v, want one that may pass", err)
	}
	full := false
	for i := 0; i < 1000 && !full; i++ {
		_, _, err := begin(t.Context(), t, s, fmt.Sprintf("new-%d", i))
		full = err != nil
	}
	if !full {
		t.Error("a full disk takes records")
	}
	if _, v, err := begin(t.Context(), t, s, "b"); err != nil || v.State != idempotency.Done {
		t.Errorf("a record that was settled is %v, %v", v.State, err)
	}
	if _, err := db.ExecContext(t.Context(), "pragma max_page_count = 1000000"); err != nil {
		t.Fatal(err)
	}
	if err := work.Complete(t.Context(), []*envelope.Envelope{large}); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

// TestTablesAreGone: the call that meets it fails, the next makes new ones; what
// was in progress is fenced. Emptied tables are just empty.
func TestTablesAreGone(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, d *database) {
		t.Helper()
		s := d.store(t, d.open(t))
		work := mustBegin(t, s, "a")
		d.exec(t, "delete from "+d.table("records"))
		if err := work.Complete(t.Context(), nil); !errors.Is(err, idempotency.ErrFenced) {
			t.Errorf("complete in an emptied table: %v, want fenced", err)
		}
		work = mustBegin(t, s, "a")
		d.exec(t, "drop table "+d.table("records"))
		if err := work.Complete(t.Context(), nil); err == nil || errors.Is(err, idempotency.ErrFenced) {
			t.Errorf("complete without a table: %v, want an error that may pass", err)
		}
		if err := work.Complete(t.Context(), nil); !errors.Is(err, idempotency.ErrFenced) {
			t.Errorf("complete in a new table: %v, want fenced", err)
		}
		mustBegin(t, s, "a")
		for _, name := range []string{"schema", "records", "outbox", "relay"} {
			d.exec(t, "drop table "+d.table(name))
		}
		if _, _, err := begin(t.Context(), t, s, "a"); err == nil {
			t.Error("tables that are not there take records")
		}
		mustBegin(t, s, "a")
	})
}

// TestTheRelayIsPatient with a database that has no tables, and makes them.
func TestTheRelayIsPatient(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, d *database) {
		t.Helper()
		db := d.open(t)
		s := d.store(t, db)
		b := &broker{}
		relay(t, s, b, &sqlstore.RelayOptions{Interval: 5 * time.Millisecond, MaxBackoff: 20 * time.Millisecond})
		publishAll(t, s, db, "1 k")
		eventually(t, "it is published", func() bool { return len(b.ids()) == 1 })
		for _, name := range []string{"relay", "outbox"} {
			d.exec(t, "drop table "+d.table(name))
		}
		eventually(t, "new ones are made", func() bool { _, err := s.Lag(t.Context()); return err == nil })
		eventually(t, "it goes on", func() bool {
			tx, err := db.BeginTx(t.Context(), nil)
			if err != nil {
				return false
			}
			if s.Publish(t.Context(), tx, "orders", order{}, envelope.WithID("2")) != nil {
				_ = tx.Rollback()
				return false
			}
			return tx.Commit() == nil
		})
		eventually(t, "and publishes", func() bool { return len(b.ids()) == 2 })
	})
}

// TestOneConnection is enough for records and for the outbox.
func TestOneConnection(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, d *database) {
		t.Helper()
		d.makeLedger(t)
		db := d.open(t)
		db.SetMaxOpenConns(1)
		s := d.store(t, db)
		publishAll(t, s, db, "1")
		if _, err := idempotency.Middleware(s, nil)(d.book)(t.Context(), message(t, "a")); err != nil {
			t.Error(err)
		}
	})
}

// TestRecordsAreRemoved when their time is over, and the oldest beyond the bound.
func TestRecordsAreRemoved(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, d *database) {
		t.Helper()
		db := d.open(t)
		s := sqlstore.New(db, d.dialect, &sqlstore.Options{Prefix: d.prefix, MaxRecords: 10})
		if got := s.Stats(); got.Records != -1 {
			t.Errorf("stats %+v before anything is counted", got)
		}
		g := idempotency.NewGuard(s, &idempotency.Options{Lease: time.Millisecond, TTL: 2 * time.Millisecond})
		for i := range 20 {
			if _, _, err := g.Begin(t.Context(), message(t, fmt.Sprint(i)), false); err != nil {
				t.Fatal(err)
			}
		}
		claims, changes := make([]idempotency.Claim, 500), make([]idempotency.Change, 500)
		for i := range claims {
			token := idempotency.NewToken()
			key := idempotency.NamedKey("scope", "t", fmt.Sprint(i))
			claims[i] = idempotency.Claim{Key: key, Token: token, Lease: time.Minute, TTL: time.Hour}
			changes[i] = idempotency.Change{Key: key, Token: token, Op: idempotency.Complete, TTL: time.Hour}
		}
		if _, err := s.Begin(t.Context(), claims); err != nil {
			t.Fatal(err)
		}
		count := "select count(*) from " + d.table("records")
		if n := d.number(t, count); n != len(claims) {
			t.Errorf("%d records, want those that are not over, which are %d", n, len(claims))
		}
		if _, err := s.Update(t.Context(), changes[:300]); err != nil {
			t.Fatal(err)
		}
		bounded := sqlstore.New(db, d.dialect, &sqlstore.Options{Prefix: d.prefix, MaxRecords: 350})
		mustBegin(t, bounded, "last")
		if n := d.number(t, count); n != 350 {
			t.Errorf("%d records, want the bound", n)
		}
		if got := bounded.Stats(); got.Records != 350 || got.Evicted != 151 {
			t.Errorf("stats %+v, want 350 records and 151 evicted", got)
		}
		if n := d.number(t, count+" where phase = 1"); n != 201 {
			t.Errorf("%d records in progress, want all of 201", n)
		}
	})
}
