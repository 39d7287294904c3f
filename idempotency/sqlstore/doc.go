// Package sqlstore keeps idempotency records in a database that the program has
// anyway, so that a message's record, its outputs and the rows that its handler
// writes are committed together, or not at all. It runs on PostgreSQL and SQLite
// through database/sql:
//
//	store := sqlstore.New(db, sqlstore.Postgres, nil)
//	app := anywire.New(&anywire.Options{Store: store})
//
//	func book(ctx context.Context, c Charged) error {
//		tx, err := sqlstore.Tx(ctx)
//		if err != nil {
//			return err
//		}
//		_, err = tx.ExecContext(ctx, `insert into ledger (id, receipt) values ($1, $2)`, c.Order, c.Receipt)
//		return err
//	}
//
// The store kinds postgres and sqlite, in packages of those names below this one,
// open a database that a configuration names.
//
// # Transactions of handlers
//
// [Tx] begins the attempt's transaction, on the store's database. The record is
// checked and written in it when the handler has returned: an attempt that was
// taken over meanwhile rolls back. A process that dies before the commit leaves
// nothing, one that dies after it leaves the outputs in the record, from which the
// next delivery publishes them. Where the connection is lost during the commit, the
// record is read again, under its lock, and its token decides.
//
// # Outbox
//
// [Store.Publish] writes messages of a producer into its own transaction,
// [Store.Relay] publishes them. Rows of one key are published in the order in which
// they were written. On PostgreSQL numbers of rows are given before the rows can be
// seen, so a relay that reads by number could miss a row of a transaction that is
// still open and publish a later one of the same key. That cannot happen, because
// transactions that publish one key take its advisory lock
// (pg_advisory_xact_lock) before their row gets its number: one key has one open
// transaction at a time. On SQLite there is one writer anyway.
//
// # Tables
//
// Four tables, anywire_schema, _records, _outbox and _relay, are made on first use,
// or brought up to date; tables of a newer version are refused. With
// Options.Require they are only looked at, and [Schema] has the statements. Tables
// that vanish while the program runs fail the call that meets it, and are made anew
// by the next: attempts in progress are then fenced, and what was done before is
// not known any more, as with every store that has lost its data.
//
// Records carry their age; those whose time is over are removed in small parts by
// the calls of Begin. Nothing runs beside them. All times are the database's, in
// microseconds since 1970.
//
// # Round trips
//
// On PostgreSQL each batch is one statement. On SQLite a batch is one transaction:
// transactions take turns, and a commit waits for the disk, so it is the batch that
// makes the speed. A transaction of a handler keeps all other writers waiting.
//
// Deadlocks, failed serializations and locked files are tried again within the
// call's context; all other errors are the caller's to repeat.
package sqlstore
