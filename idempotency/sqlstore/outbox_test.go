package sqlstore_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/idempotency/sqlstore"
)

// broker keeps what a relay publishes.
type broker struct {
	mu   sync.Mutex
	got  []*envelope.Envelope
	fail func(es []*envelope.Envelope) error // nil: takes all
	asks int
}

func (b *broker) publish(_ context.Context, es []*envelope.Envelope) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asks++
	var parts sqlstore.UnpublishedError
	if b.fail != nil {
		if err := b.fail(es); err != nil && !errors.As(err, &parts) {
			return err
		}
	}
	for i, e := range es {
		if parts[i] == nil {
			b.got = append(b.got, e)
		}
	}
	if parts != nil {
		return parts
	}
	return nil
}

func (b *broker) ids() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var ids []string
	for _, e := range b.got {
		ids = append(ids, e.ID)
	}
	return ids
}

func (b *broker) setFail(f func(es []*envelope.Envelope) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fail = f
}

// relay runs a relay until the test, or stop, ends it.
func relay(t *testing.T, s *sqlstore.Store, b *broker, o *sqlstore.RelayOptions) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- s.Relay(ctx, b.publish, o) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the relay ends with %v, want nil", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// publishAll publishes messages in one transaction, each "id" or "id key".
func publishAll(t *testing.T, s *sqlstore.Store, db *sql.DB, messages ...string) {
	t.Helper()
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range messages {
		publish(t, s, tx, m)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
}

func publish(t *testing.T, s *sqlstore.Store, tx *sql.Tx, m string) {
	t.Helper()
	id, key, _ := strings.Cut(m, " ")
	if err := s.Publish(t.Context(), tx, "orders", order{ID: id}, envelope.WithID(id), envelope.WithKey(key)); err != nil {
		t.Fatal(err)
	}
}

func wantLag(t *testing.T, s *sqlstore.Store, rows int) {
	t.Helper()
	lag, err := s.Lag(t.Context())
	if err != nil || lag.Rows != rows || (lag.Oldest > 0) != (rows > 0) {
		t.Errorf("lag %+v, %v; want %d rows", lag, err, rows)
	}
}

func TestOutbox(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, d *database) {
		t.Helper()
		db := d.open(t)
		s := d.store(t, db)
		tx, err := db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		publish(t, s, tx, "never") // also makes the tables, which go with it
		if err := tx.Rollback(); err != nil {
			t.Fatal(err)
		}
		wantLag(t, s, 0)
		at := time.Now().Add(time.Hour).Truncate(time.Microsecond)
		tx, err = db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		publish(t, s, tx, "a k")
		if err := s.Publish(t.Context(), tx, "audit", order{ID: "b"}, envelope.WithID("b"), envelope.WithIdempotencyKey("once"), envelope.WithDeliverAt(at)); err != nil {
			t.Fatal(err)
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond) // so that the oldest has an age
		wantLag(t, s, 2)
		b := &broker{}
		relay(t, s, b, nil)
		eventually(t, "both are published", func() bool { return len(b.ids()) == 2 })
		eventually(t, "both are deleted", func() bool { return d.number(t, "select count(*) from "+d.table("outbox")) == 0 })
		wantLag(t, s, 0)
		first, second := b.got[0], b.got[1]
		if first.ID != "a" || first.Key != "k" || first.Topic != "orders" || string(first.Data) != `{"ID":"a"}` {
			t.Errorf("the first is %+v", first)
		}
		if second.ID != "b" || second.Topic != "audit" || second.IdempotencyKey != "once" || !second.DeliverAt.Equal(at) {
			t.Errorf("the second is %+v", second)
		}
	})
}

// TestPublishWakesTheRelay of its process, which would look only once an hour.
func TestPublishWakesTheRelay(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, d *database) {
		t.Helper()
		db := d.open(t)
		s := d.store(t, db)
		b := &broker{}
		relay(t, s, b, &sqlstore.RelayOptions{Interval: time.Hour})
		for i := range 5 {
			publishAll(t, s, db, fmt.Sprint(i))
			eventually(t, "it is published", func() bool { return len(b.ids()) == i+1 })
		}
	})
}

func TestPublishRefuses(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, d *database) {
		t.Helper()
		db := d.open(t)
		s := d.store(t, db)
		tx, err := db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = tx.Rollback() }()
		for want, err := range map[string]error{
			"without a topic":        s.Publish(t.Context(), tx, "", order{}),
			"WithTopic says":         s.Publish(t.Context(), tx, "orders", order{}, envelope.WithTopic("other")),
			"the transaction is nil": s.Publish(t.Context(), nil, "orders", order{}),
			"message is nil":         s.Publish(t.Context(), tx, "orders", nil),
			"idempotencykey":         s.Publish(t.Context(), tx, "orders", order{}, envelope.WithIdempotencyKey("\x00")),
		} {
			if !errors.Is(err, envelope.Invalid) || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want one that is invalid and says %q", err, want)
			}
		}
		publish(t, s, tx, "a") // the transaction is as it was
		s.SetEncode(func(context.Context, envelope.Typed, ...envelope.Option) (*envelope.Envelope, error) {
			return nil, &envelope.Error{Code: envelope.Invalid, Message: "not in the catalog"}
		})
		if err := s.Publish(t.Context(), tx, "orders", order{}); err == nil || err.Error() != "not in the catalog" {
			t.Errorf("error %v, want that of the app's encoder", err)
		}
	})
}

// TestOlderTransactionIsNotOvertaken: a second transaction with the same key waits
// for the first, so that the order of rows is that of commits.
func TestOlderTransactionIsNotOvertaken(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, d *database) {
		t.Helper()
		db := d.open(t)
		s := d.store(t, db)
		b := &broker{}
		relay(t, s, b, &sqlstore.RelayOptions{Interval: 5 * time.Millisecond})
		eventually(t, "the tables are there", func() bool { _, err := s.Lag(t.Context()); return err == nil })
		older, err := db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		publish(t, s, older, "1 k")
		younger := make(chan struct{})
		go func() {
			defer close(younger)
			publishAll(t, s, db, "2 k")
		}()
		if d.dialect == sqlstore.Postgres {
			eventually(t, "the younger transaction waits", func() bool {
				return d.number(t, "select count(*) from pg_locks where locktype = 'advisory' and not granted") > 0
			})
			publishAll(t, s, db, "other x", "without") // nobody else waits
			eventually(t, "others are published", func() bool { return len(b.ids()) == 2 })
		}
		select {
		case <-younger:
			t.Fatal("the younger transaction has committed before the older one")
		case <-time.After(200 * time.Millisecond):
		}
		publish(t, s, older, "1b k")
		if err := older.Commit(); err != nil {
			t.Fatal(err)
		}
		<-younger
		eventually(t, "all are published", func() bool { return slices.Contains(b.ids(), "2") })
		keyed := slices.DeleteFunc(b.ids(), func(id string) bool { return id == "other" || id == "without" })
		if want := []string{"1", "1b", "2"}; !slices.Equal(keyed, want) {
			t.Errorf("published %v, want %v", keyed, want)
		}
	})
}

// TestRowsGetTheirNumberUnderTheLock: otherwise a row could be before one of the
// transaction that it waited for.
func TestRowsGetTheirNumberUnderTheLock(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, d *database) {
		t.Helper()
		const workers, each = 8, 15
		db := d.open(t)
		s := d.store(t, db)
		b := &broker{}
		relay(t, s, b, &sqlstore.RelayOptions{Interval: time.Millisecond})
		relay(t, d.store(t, d.open(t)), b, &sqlstore.RelayOptions{Interval: time.Millisecond})
		eventually(t, "the tables are there", func() bool { _, err := s.Lag(t.Context()); return err == nil })
		var mu sync.Mutex
		var committed []string // of the key, in the order of commits as far as this process can tell
		var group sync.WaitGroup
		for w := range workers {
			group.Go(func() {
				for i := range each {
					id := fmt.Sprintf("%d-%d", w, i)
					tx, err := db.BeginTx(t.Context(), nil)
					if err != nil {
						t.Error(err)
						return
					}
					if err := s.Publish(t.Context(), tx, "orders", order{ID: id}, envelope.WithID(id), envelope.WithKey("k")); err != nil {
						_ = tx.Rollback()
						t.Error(err)
						return
					}
					mu.Lock() // the key's lock is held: nobody else is here
					committed = append(committed, id)
					mu.Unlock()
					if err := tx.Commit(); err != nil {
						t.Error(err)
					}
				}
			})
		}
		group.Wait()
		eventually(t, "all are published", func() bool { return len(b.ids()) >= workers*each })
		if got := b.ids(); !slices.Equal(got, committed) {
			t.Errorf("published in the order\n%v, committed in\n%v", got, committed)
		}
	})
}

// TestFailureHoldsBackItsKeyOnly, for as long as it lasts.
func TestFailureHoldsBackItsKeyOnly(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, d *database) {
		t.Helper()
		db := d.open(t)
		s := d.store(t, db)
		failing := func(id string) func([]*envelope.Envelope) error {
			return func(es []*envelope.Envelope) error {
				parts := sqlstore.UnpublishedError{}
				held := ""
				for i, e := range es {
					if e.ID == id {
						parts[i], held = errors.New("not now"), e.Key
					} else if held != "" && e.Key == held {
						parts[i] = envelope.NotAttempted
					}
				}
				if len(parts) == 0 {
					return nil
				}
				return parts
			}
		}
		b := &broker{fail: failing("2")}
		publishAll(t, s, db, "1 a", "2 a", "3 a", "4 b", "5", "6 a", "7 b")
		relay(t, s, b, &sqlstore.RelayOptions{MaxBackoff: 10 * time.Millisecond, Batch: 3})
		eventually(t, "the others are published", func() bool { return len(b.ids()) == 4 })
		if want := []string{"1", "4", "5", "7"}; !slices.Equal(b.ids(), want) {
			t.Errorf("published %v, want %v", b.ids(), want)
		}
		b.setFail(nil)
		eventually(t, "the rest is published", func() bool { return len(b.ids()) == 7 })
		if want := []string{"2", "3", "6"}; !slices.Equal(b.ids()[4:], want) {
			t.Errorf("then %v, want %v", b.ids()[4:], want)
		}
	})
}

// TestHopelessRow: what no broker takes stays, holds back its key and nobody else,
// and does not make the relay wait. A row that cannot be read is one, too.
func TestHopelessRow(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, d *database) {
		t.Helper()
		db := d.open(t)
		s := d.store(t, db)
		publishAll(t, s, db, "0 broken", "1 a", "2 a", "3 b")
		d.exec(t, "update "+d.table("outbox")+" set doc = $1 where ordered_by = 'broken'", []byte{99})
		b := &broker{fail: func(es []*envelope.Envelope) error { // says nothing of single messages
			if slices.ContainsFunc(es, func(e *envelope.Envelope) bool { return e.ID == "1" }) {
				return &envelope.Error{Code: envelope.TooLarge}
			}
			return nil
		}}
		relay(t, s, b, &sqlstore.RelayOptions{Interval: 10 * time.Millisecond, MaxBackoff: 10 * time.Millisecond})
		eventually(t, "the other key is published", func() bool { return slices.Contains(b.ids(), "3") })
		publishAll(t, s, db, "4 b", "5 a")
		eventually(t, "what comes later, too", func() bool { return slices.Contains(b.ids(), "4") })
		if want := []string{"3", "4"}; !slices.Equal(b.ids(), want) {
			t.Errorf("published %v, want %v", b.ids(), want)
		}
		eventually(t, "four rows are left", func() bool {
			lag, err := s.Lag(t.Context())
			return err == nil && lag.Rows == 4
		})
	})
}

// TestBrokerIsAway: the relay asks less and less often, and goes on.
func TestBrokerIsAway(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, d *database) {
		t.Helper()
		db := d.open(t)
		s := d.store(t, db)
		b := &broker{fail: func([]*envelope.Envelope) error { return errors.New("no route to the broker") }}
		var all []string
		for i := range 40 {
			all = append(all, fmt.Sprint(i))
		}
		publishAll(t, s, db, all...)
		relay(t, s, b, &sqlstore.RelayOptions{Interval: time.Millisecond, MaxBackoff: 50 * time.Millisecond})
		asked := func() int {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.asks
		}
		eventually(t, "it has tried for a while", func() bool { return asked() >= 10 })
		before := asked()
		time.Sleep(500 * time.Millisecond) // what must not happen needs a time in which it could
		if asks := asked() - before; asks > 3*(500/50+2) {
			t.Errorf("%d calls in half a second, want three for each wait of 50 ms at most", asks)
		}
		b.setFail(nil)
		eventually(t, "all are published", func() bool { return len(b.ids()) == len(all) })
		if got := b.ids(); !slices.Equal(got, all) {
			t.Errorf("published %v", got)
		}
	})
}

// TestOneRelayLeads: a relay that ends hands over at once, one that does not end
// leads on.
func TestOneRelayLeads(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, d *database) {
		t.Helper()
		first, second := &broker{}, &broker{}
		db := d.open(t)
		s := d.store(t, db)
		o := &sqlstore.RelayOptions{Interval: 5 * time.Millisecond, Lease: time.Hour}
		stop := relay(t, s, first, o)
		publishAll(t, s, db, "1")
		eventually(t, "the first leads", func() bool { return len(first.ids()) == 1 })
		relay(t, d.store(t, d.open(t)), second, o)
		publishAll(t, s, db, "2")
		eventually(t, "it leads on", func() bool { return len(first.ids()) == 2 })
		stop()
		publishAll(t, s, db, "3")
		eventually(t, "the second leads", func() bool { return len(second.ids()) == 1 })
	})
}

// TestRelayThatLostItsLease stops publishing in the middle.
func TestRelayThatLostItsLease(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, d *database) {
		t.Helper()
		db := d.open(t)
		s := d.store(t, db)
		publishAll(t, s, db, "1")
		started, ended := make(chan struct{}), make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() {
			once := sync.OnceFunc(func() { close(started) })
			_ = s.Relay(ctx, func(ctx context.Context, _ []*envelope.Envelope) error {
				once()
				<-ctx.Done()
				select {
				case <-ended:
				default:
					close(ended)
				}
				return ctx.Err()
			}, &sqlstore.RelayOptions{Lease: 600 * time.Millisecond, MaxBackoff: time.Millisecond})
		})
		defer group.Wait()
		defer cancel()
		<-started
		time.Sleep(time.Second) // longer than the lease, which is renewed
		select {
		case <-ended:
			t.Fatal("a relay that publishes for longer than its lease loses it")
		default:
		}
		d.exec(t, "update "+d.table("relay")+" set token = $1, lease_until = lease_until + 3600000000", []byte("another"))
		select {
		case <-ended:
		case <-time.After(time.Minute):
			t.Error("the publishing goes on though another relay leads")
		}
		wantLag(t, s, 1)
	})
}
