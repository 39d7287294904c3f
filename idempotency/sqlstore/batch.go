package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/anywire/anywire/idempotency"
)

// rounds cuts a batch into parts in which each record is named once, in order.
// There is nearly always one.
func rounds(n int, key func(i int) *idempotency.Key) [][]int {
	seen := make(map[idempotency.Key]int, n)
	var parts [][]int
	for i := range n {
		k := *key(i)
		round := seen[k]
		seen[k] = round + 1
		if round == len(parts) {
			parts = append(parts, make([]int, 0, n))
		}
		parts[round] = append(parts[round], i)
	}
	return parts
}

// beginBatch makes one statement of all claims.
func (s *Store) beginBatch(ctx context.Context, claims []idempotency.Claim, verdicts []idempotency.Verdict) error {
	for _, round := range rounds(len(claims), func(i int) *idempotency.Key { return &claims[i].Key }) {
		for n := 0; len(round) > 0; n++ {
			again, err := s.beginRound(ctx, claims, verdicts, round)
			if err != nil {
				return err
			}
			if len(again) > 0 && ctx.Err() != nil {
				return errors.Join(errRace, ctx.Err())
			}
			round = again
		}
	}
	return nil
}

// beginRound returns the claims that somebody else was too quick for: their
// records changed while the statement ran.
func (s *Store) beginRound(
	ctx context.Context, claims []idempotency.Claim, verdicts []idempotency.Verdict, round []int,
) (again []int, err error) {
	scopes, hashes := make([]string, len(round)), make([][]byte, len(round))
	prints, tokens := make([][]byte, len(round)), make([][]byte, len(round))
	leases, ttls := make([]int64, len(round)), make([]int64, len(round))
	redrives, alone := make([]int, len(round)), make([]int, len(round))
	for i, at := range round {
		c := &claims[at]
		scopes[i], hashes[i], prints[i], tokens[i] = c.Key.Scope, c.Key.Hash[:], c.Fingerprint[:], c.Token[:]
		leases[i], ttls[i] = c.Lease.Microseconds(), c.TTL.Microseconds()
		redrives[i], alone[i] = c.Redrive, number(c.Alone)
	}
	rows, err := s.db.QueryContext(ctx, s.text.begin, scopes, hashes, prints, tokens, leases, ttls, redrives, alone)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	decided := make([]bool, len(round))
	for rows.Next() {
		var n int
		var acquired bool
		var r row
		if err := rows.Scan(append([]any{&n, &acquired}, r.targets()...)...); err != nil {
			return nil, err
		}
		at := round[n-1]
		verdicts[at], decided[n-1] = r.verdict(&claims[at], acquired)
	}
	for i, at := range round {
		if !decided[i] {
			again = append(again, at)
		}
	}
	return again, rows.Err()
}

// verdict is that of a claim whose statement left the record alone, or acquired
// it. It is not decided where the record would be the claim's by now.
func (r *row) verdict(c *idempotency.Claim, acquired bool) (v idempotency.Verdict, decided bool) {
	rec, err := r.record()
	switch {
	case err != nil:
		return idempotency.Verdict{State: idempotency.Broken, Err: err}, true
	case acquired:
		return idempotency.Verdict{
			State: idempotency.Acquired, Attempts: rec.Attempts, Deaths: rec.Deaths, DeathsAlone: rec.DeathsAlone, Steps: rec.Steps,
		}, true
	}
	v = rec.Begin(c, r.leaseLeft())
	return v, v.State != idempotency.Acquired
}

// updateBatch makes one statement of all changes, and looks at those once more
// that it did not make.
func (s *Store) updateBatch(ctx context.Context, changes []idempotency.Change, errs []error) error {
	for _, round := range rounds(len(changes), func(i int) *idempotency.Key { return &changes[i].Key }) {
		fit := make([]int, 0, len(round))
		for _, at := range round {
			if errs[at] = s.tooLarge(&changes[at]); errs[at] == nil {
				fit = append(fit, at)
			}
		}
		rest, err := s.updateRound(ctx, changes, fit)
		if err == nil {
			err = s.explain(ctx, changes, errs, rest)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// updateRound returns the changes that were not made.
func (s *Store) updateRound(ctx context.Context, changes []idempotency.Change, round []int) (rest []int, err error) {
	if len(round) == 0 {
		return nil, nil
	}
	n := len(round)
	scopes, hashes, tokens := make([]string, n), make([][]byte, n), make([][]byte, n)
	ops, leases, ttls := make([]int, n), make([]int64, n), make([]int64, n)
	steps, outputs, took, counted := make([][]byte, n), make([][]byte, n), make([]int64, n), make([]int, n)
	reasons, messages, attempts := make([]string, n), make([]string, n), make([]int, n)
	for i, at := range round {
		c := &changes[at]
		scopes[i], hashes[i], tokens[i] = c.Key.Scope, c.Key.Hash[:], c.Token[:]
		ops[i], leases[i], ttls[i] = int(c.Op), c.Lease.Microseconds(), c.TTL.Microseconds()
		if c.Op == idempotency.Remember {
			steps[i] = appendStep(nil, c.Step, c.Value)
		}
		outputs[i], took[i], counted[i] = outputsOf(c.Outputs), int64(c.Took), number(c.Counted)
		failure := failureOf(c.Failure)
		reasons[i], messages[i], attempts[i] = string(failure.Reason), failure.Message, failure.Attempts
	}
	rows, err := s.db.QueryContext(ctx, s.text.update,
		scopes, hashes, tokens, ops, leases, ttls, steps, outputs, took, counted, reasons, messages, attempts)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	made := make([]bool, n)
	for rows.Next() {
		var i int
		if err := rows.Scan(&i); err != nil {
			return nil, err
		}
		made[i-1] = true
	}
	for i, at := range round {
		if !made[i] && changes[at].Op != idempotency.Settle { // which holds for all that it does not concern
			rest = append(rest, at)
		}
	}
	return rest, rows.Err()
}

// explain says why changes were not made: they were made before, or their records
// are another attempt's.
func (s *Store) explain(ctx context.Context, changes []idempotency.Change, errs []error, rest []int) error {
	if len(rest) == 0 {
		return nil
	}
	scopes, hashes := make([]string, len(rest)), make([][]byte, len(rest))
	for i, at := range rest {
		scopes[i], hashes[i] = changes[at].Key.Scope, changes[at].Key.Hash[:]
		var gone idempotency.Record
		errs[at] = gone.Apply(&changes[at])
	}
	rows, err := s.db.QueryContext(ctx, s.text.reread, scopes, hashes)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var n int
		var r row
		if err := rows.Scan(append([]any{&n}, r.targets()...)...); err != nil {
			return err
		}
		at := rest[n-1]
		rec, err := r.record()
		if err != nil {
			errs[at] = err
			continue
		}
		if rec.Phase == idempotency.InProgress && rec.Token == changes[at].Token && changes[at].Op.String() != "unknown" {
			return errRace
		}
		errs[at] = rec.Apply(&changes[at])
	}
	return rows.Err()
}

// beginOneByOne makes one transaction of the claims that acquire something: where
// the database lives in this process, a statement costs no round trip.
func (s *Store) beginOneByOne(ctx context.Context, claims []idempotency.Claim, verdicts []idempotency.Verdict) error {
	rest, err := s.look(ctx, claims, verdicts)
	if err != nil || len(rest) == 0 {
		return err
	}
	return s.write(ctx, func(tx *sql.Tx) error {
		q, err := s.single(ctx, tx)
		if err != nil {
			return err
		}
		defer q.close()
		for _, i := range rest {
			c := &claims[i]
			rec, v, err := q.begin(ctx, c)
			if err != nil {
				return err
			}
			if verdicts[i] = v; v.State != idempotency.Acquired {
				continue
			}
			if _, err := q.save.ExecContext(ctx, values(&c.Key, rec, c.TTL)...); err != nil {
				return err
			}
		}
		return nil
	})
}

// look answers the claims that acquire nothing, and returns the others: who only
// reads waits for no writer, and makes none wait.
func (s *Store) look(ctx context.Context, claims []idempotency.Claim, verdicts []idempotency.Verdict) (rest []int, err error) {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	load, err := conn.PrepareContext(ctx, s.text.load)
	if err != nil {
		return nil, err
	}
	defer func() { _ = load.Close() }()
	q := single{load: load}
	for i := range claims {
		_, v, err := q.begin(ctx, &claims[i])
		if err != nil {
			return nil, err
		}
		if verdicts[i] = v; v.State == idempotency.Acquired {
			rest = append(rest, i)
		}
	}
	return rest, nil
}

// begin is what becomes of a claim, and its record then.
func (q *single) begin(ctx context.Context, c *idempotency.Claim) (*idempotency.Record, idempotency.Verdict, error) {
	r, err := q.find(ctx, &c.Key)
	if err != nil {
		return nil, idempotency.Verdict{}, err
	}
	rec, err := r.record()
	if err != nil {
		return nil, idempotency.Verdict{State: idempotency.Broken, Err: err}, nil //nolint:nilerr // it concerns this claim only
	}
	v := rec.Begin(c, r.leaseLeft())
	return rec, v, nil
}

// updateOneByOne makes one transaction of all changes.
func (s *Store) updateOneByOne(ctx context.Context, changes []idempotency.Change, errs []error) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		q, err := s.single(ctx, tx)
		if err != nil {
			return err
		}
		defer q.close()
		for i := range changes {
			c := &changes[i]
			if errs[i] = s.tooLarge(c); errs[i] != nil {
				continue
			}
			r, err := q.find(ctx, &c.Key)
			if err != nil {
				return err
			}
			if errs[i], err = q.apply(ctx, r, c); err != nil {
				return err
			}
		}
		return nil
	})
}

// single reads and writes single records within a transaction.
type single struct{ load, save *sql.Stmt }

func (s *Store) single(ctx context.Context, tx *sql.Tx) (q single, err error) {
	if q.load, err = tx.PrepareContext(ctx, s.text.loadLocked); err != nil {
		return q, err
	}
	if q.save, err = tx.PrepareContext(ctx, s.text.save); err != nil {
		_ = q.load.Close()
	}
	return q, err
}

func (q *single) close() {
	_ = q.load.Close() // the transaction's end would do it too
	_ = q.save.Close()
}

// find reads a record. One that is not there is one whose time is over.
func (q *single) find(ctx context.Context, k *idempotency.Key) (*row, error) {
	r := &row{}
	err := q.load.QueryRowContext(ctx, k.Scope, k.Hash[:]).Scan(r.targets()...)
	if errors.Is(err, sql.ErrNoRows) {
		return &row{}, nil
	}
	return r, err
}

// apply makes a change of a record; own is the change's own error.
func (q *single) apply(ctx context.Context, r *row, c *idempotency.Change) (own, err error) {
	rec, err := r.record()
	if err != nil {
		return err, nil // it concerns this change only
	}
	before := rec.Phase
	own = rec.Apply(c)
	changed := rec.Phase != before || before == idempotency.InProgress && c.Op != idempotency.Settle
	if own != nil || !changed {
		return own, nil
	}
	if _, err := q.save.ExecContext(ctx, values(&c.Key, rec, c.TTL)...); err != nil {
		return nil, fmt.Errorf("write a record: %w", err)
	}
	return nil, nil
}
