package sqlstore_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	_ "modernc.org/sqlite" // or a driver of your choice

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/idempotency"
	"github.com/anywire/anywire/idempotency/sqlstore"
)

// Charged is a message.
type Charged struct{ Order, Receipt string }

// WireType names it.
func (Charged) WireType() string { return "shop.charged@1" }

// openExample opens a database with a table of the program's own.
func openExample() (db *sql.DB, remove func(), err error) {
	dir, err := os.MkdirTemp("", "anywire-example-")
	if err != nil {
		return nil, nil, err
	}
	db, err = sql.Open("sqlite", "file:"+filepath.Join(dir, "shop.db")+"?_txlock=immediate&_pragma=journal_mode(WAL)&_pragma=busy_timeout(10000)")
	if err == nil {
		_, err = db.ExecContext(context.Background(), `create table ledger (order_id text, receipt text)`)
	}
	return db, func() { _ = db.Close(); _ = os.RemoveAll(dir) }, err
}

// A row of the program's own is written once, however often its message comes.
func ExampleTx() {
	db, remove, err := openExample()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer remove()
	store := sqlstore.New(db, sqlstore.SQLite, nil)
	book := func(ctx context.Context, in *envelope.Envelope) ([]*envelope.Envelope, error) {
		tx, err := sqlstore.Tx(ctx)
		if err != nil {
			return nil, err
		}
		fmt.Println("booking", in.ID)
		_, err = tx.ExecContext(ctx, `insert into ledger (order_id, receipt) values ($1, $2)`, in.ID, "r-1")
		return nil, err
	}
	handle := idempotency.Middleware(store, nil)(book) // the router of an app does this by itself
	in, err := envelope.New(Charged{Order: "o-1"}, envelope.WithID("o-1"))
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 3 {
		if _, err := handle(context.Background(), in); err != nil {
			fmt.Println(err)
		}
	}
	var rows int
	if err := db.QueryRowContext(context.Background(), `select count(*) from ledger`).Scan(&rows); err != nil {
		fmt.Println(err)
	}
	fmt.Println(rows, "row")
	// Output:
	// booking o-1
	// 1 row
}

// A message is published if and when the transaction commits.
func ExampleStore_Publish() {
	db, remove, err := openExample()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer remove()
	ctx, cancel := context.WithCancel(context.Background())
	store := sqlstore.New(db, sqlstore.SQLite, nil)
	sell := func(order string) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }() // nothing, once it is committed
		if _, err := tx.ExecContext(ctx, `insert into ledger (order_id, receipt) values ($1, $2)`, order, "r-1"); err != nil {
			return err
		}
		if err := store.Publish(ctx, tx, "charged", Charged{Order: order}, envelope.WithIdempotencyKey(order)); err != nil {
			return err
		}
		return tx.Commit()
	}
	if err := sell("o-1"); err != nil {
		fmt.Println(err)
	}
	var relay sync.WaitGroup
	relay.Go(func() { // an app does this by itself
		err := store.Relay(ctx, func(_ context.Context, es []*envelope.Envelope) error {
			for _, e := range es {
				fmt.Printf("%s to %s: %s\n", e.IdempotencyKey, e.Topic, e.Data)
			}
			cancel()
			return nil
		}, nil)
		if err != nil {
			fmt.Println(err)
		}
	})
	relay.Wait()
	lag, err := store.Lag(context.Background())
	fmt.Println(lag.Rows, "rows wait", err)
	// Output:
	// o-1 to charged: {"Order":"o-1","Receipt":""}
	// 0 rows wait <nil>
}
