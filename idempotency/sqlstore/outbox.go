package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/idempotency"
)

// Encode makes the envelope of a message, as [envelope.New] does.
type Encode func(ctx context.Context, v envelope.Typed, opts ...envelope.Option) (*envelope.Envelope, error)

// SetEncode has [Store.Publish] make envelopes by encode, in place of
// [envelope.New]: an app checks its messages so, and names their source.
func (s *Store) SetEncode(encode Encode) { s.encode.Store(&encode) }

// Publish writes a message into the outbox within the caller's transaction: it is
// published if and when tx commits, by the process that runs [Store.Relay]. Its
// time and its delay count from now. It is published at least once, with one id.
//
// Messages of one key are published in the order of Publish, and those of
// different transactions never overtake each other: on PostgreSQL a transaction
// that has published a key makes others that publish it wait in Publish until it
// ends, like two that change one row; two that publish the same keys in different
// order may be a deadlock, which PostgreSQL answers with an error to one of them.
// On SQLite one transaction writes at a time. Messages without a key have no
// order.
//
// Errors of the message have code [envelope.Invalid] and leave tx as it was.
func (s *Store) Publish(ctx context.Context, tx *sql.Tx, topic string, v envelope.Typed, opts ...envelope.Option) error {
	e, err := s.message(ctx, topic, v, opts)
	switch {
	case err != nil:
		return err
	case tx == nil:
		return &envelope.Error{Code: envelope.Invalid, Message: fmt.Sprintf("publish to %q: the transaction is nil", topic)}
	case s.invalid != nil:
		return s.invalid
	}
	if err := s.prepareIn(ctx, tx); err != nil {
		return s.failed("publish", err)
	}
	doc := idempotency.MarshalOutputs([]*envelope.Envelope{e})
	if e.Key == "" || s.dialect != Postgres {
		_, err = tx.ExecContext(ctx, s.text.insert, e.Key, topic, doc)
	} else {
		_, err = tx.ExecContext(ctx, s.text.insertKeyed, e.Key, topic, doc, lockNumber("outbox", s.options.table("outbox"), e.Key))
	}
	if err != nil {
		return s.failed("publish", err)
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return nil
}

func (s *Store) message(ctx context.Context, topic string, v envelope.Typed, opts []envelope.Option) (*envelope.Envelope, error) {
	encode := func(_ context.Context, v envelope.Typed, opts ...envelope.Option) (*envelope.Envelope, error) {
		return envelope.New(v, opts...)
	}
	if given := s.encode.Load(); given != nil {
		encode = *given
	}
	e, err := encode(ctx, v, opts...)
	switch {
	case err != nil:
		return nil, err
	case topic == "":
		return nil, &envelope.Error{Code: envelope.Invalid, Message: "publish without a topic"}
	case e.Topic != "" && e.Topic != topic:
		return nil, &envelope.Error{Code: envelope.Invalid, Message: fmt.Sprintf(
			"publish to %q, and WithTopic says %q: give one", topic, e.Topic)}
	}
	e.Topic = topic
	return e, nil
}

// prepareIn makes the tables, where they are missing, in the caller's transaction:
// it may hold the only connection, or the lock that making them needs. They are
// believed to be there only when somebody has seen them committed.
func (s *Store) prepareIn(ctx context.Context, tx *sql.Tx) error {
	if s.ready.Load() {
		return nil
	}
	if s.dialect == SQLite && !s.options.Require { // who reads first cannot wait for others who make them
		if _, err := tx.ExecContext(ctx, expand(s.dialect, &s.options, schemaTable)); err != nil {
			return err
		}
	}
	current, err := s.current(ctx, tx)
	if err != nil || current {
		return err
	}
	return s.migrate(ctx, tx)
}

// Lag is what waits in an outbox.
type Lag struct {
	Rows   int
	Oldest time.Duration // age of the oldest row; 0: none waits
}

// Lag counts what is committed and not yet published. It costs a look at every row
// that waits.
func (s *Store) Lag(ctx context.Context) (Lag, error) {
	if err := s.prepare(ctx); err != nil {
		return Lag{}, err
	}
	var l Lag
	var micros int64
	if err := s.db.QueryRowContext(ctx, s.text.lag).Scan(&l.Rows, &micros); err != nil {
		return Lag{}, s.failed("lag", err)
	}
	l.Oldest = time.Duration(micros) * time.Microsecond
	return l, nil
}

// waiting is one row of the outbox.
type waiting struct {
	id  int64
	key string
	doc []byte
}

func (w *waiting) envelope() (*envelope.Envelope, error) {
	es, err := idempotency.UnmarshalOutputs(w.doc)
	if err == nil && len(es) != 1 {
		err = fmt.Errorf("%d messages in one row: %w", len(es), idempotency.ErrUnreadable)
	}
	if err != nil {
		return nil, err
	}
	return es[0], nil
}

// read returns rows of the outbox after one, in order.
func (s *Store) read(ctx context.Context, after int64, most int) ([]waiting, error) {
	rows, err := s.db.QueryContext(ctx, s.text.waiting, after, most)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var found []waiting
	for rows.Next() {
		var w waiting
		if err := rows.Scan(&w.id, &w.key, &w.doc); err != nil {
			return nil, err
		}
		found = append(found, w)
	}
	return found, rows.Err()
}

// drop deletes rows whose messages are confirmed, whoever leads by now.
func (s *Store) drop(ctx context.Context, ids []int64) error {
	if len(ids) == 0 {
		return nil
	}
	list := make([]byte, 0, 8*len(ids))
	for i, id := range ids {
		if i > 0 {
			list = append(list, ',')
		}
		list = fmt.Append(list, id)
	}
	text := expand(s.dialect, &s.options, `delete from {outbox} where id in (`+string(list)+`)`)
	return s.try(ctx, func() error {
		_, err := s.exec(ctx, text)
		return err
	})
}

// lead takes or renews the lease of the store's one relay.
func (s *Store) lead(ctx context.Context, token idempotency.Token, lease time.Duration) (leads bool, err error) {
	err = s.try(ctx, func() error {
		rows, err := s.exec(ctx, s.text.lead, token[:], lease.Microseconds())
		leads = rows > 0
		return err
	})
	return leads, err
}

// resign lets another relay lead at once.
func (s *Store) resign(ctx context.Context, token idempotency.Token) error {
	_, err := s.exec(ctx, s.text.resign, token[:])
	return err
}

// UnpublishedError is what a relay's publish function returns where it knows which of
// the messages failed.
type UnpublishedError = idempotency.UnpublishedError

// isHopeless reports whether publishing a message again cannot help.
func isHopeless(err error) bool {
	return errors.Is(err, envelope.Invalid) || errors.Is(err, envelope.TooLarge) || errors.Is(err, envelope.Unsupported) ||
		errors.Is(err, idempotency.ErrUnreadable)
}
