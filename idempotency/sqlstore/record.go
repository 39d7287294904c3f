package sqlstore

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/idempotency"
)

// columns are a record's, in the order of row.
const columns = `phase, fingerprint, token, lease, alone, attempts, deaths, deaths_alone, redrive, took, steps, outputs, ` +
	`failure, failure_message, failure_attempts`

// row is a record as the database has it.
type row struct {
	phase                                int
	fingerprint, token                   []byte
	lease                                int64 // microseconds
	alone, attempts, deaths, deathsAlone int
	redrive                              int
	took                                 int64 // nanoseconds
	steps, outputs                       []byte
	failure, failureMessage              string
	failureAttempts                      int
	left, kept                           int64 // microseconds until the lease, and the record, are over
}

// targets are where the columns are scanned to, then left and kept.
func (r *row) targets() []any {
	return []any{
		&r.phase, &r.fingerprint, &r.token, &r.lease, &r.alone, &r.attempts, &r.deaths, &r.deathsAlone, &r.redrive, &r.took,
		&r.steps, &r.outputs, &r.failure, &r.failureMessage, &r.failureAttempts, &r.left, &r.kept,
	}
}

// record reads the row; its error wraps [idempotency.ErrUnreadable]. A record
// whose time is over is a new one.
func (r *row) record() (*idempotency.Record, error) {
	rec := &idempotency.Record{}
	if r.kept <= 0 {
		return rec, nil
	}
	phase := idempotency.Phase(r.phase) // checked below
	if r.phase < int(idempotency.InProgress) || r.phase > int(idempotency.FailedForGood) {
		return nil, fmt.Errorf("phase %d does not exist: %w", r.phase, idempotency.ErrUnreadable)
	}
	if len(r.fingerprint) != len(rec.Fingerprint) || len(r.token) != len(rec.Token) {
		return nil, fmt.Errorf("a fingerprint of %d and a token of %d bytes: %w", len(r.fingerprint), len(r.token), idempotency.ErrUnreadable)
	}
	steps, err := readSteps(r.steps)
	if err != nil {
		return nil, err
	}
	*rec = idempotency.Record{
		Phase: phase, Fingerprint: [sha256.Size]byte(r.fingerprint), Token: idempotency.Token(r.token),
		Lease: time.Duration(r.lease) * time.Microsecond, Alone: r.alone != 0,
		Attempts: r.attempts, Deaths: r.deaths, DeathsAlone: r.deathsAlone, Redrive: r.redrive,
		Steps: steps, Took: time.Duration(r.took),
	}
	if len(r.outputs) > 0 {
		if rec.Outputs, err = idempotency.UnmarshalOutputs(r.outputs); err != nil {
			return nil, err
		}
	}
	if phase == idempotency.FailedForGood {
		rec.Failure = &idempotency.Failure{Reason: envelope.Code(r.failure), Message: r.failureMessage, Attempts: r.failureAttempts}
	}
	return rec, nil
}

func (r *row) leaseLeft() time.Duration { return time.Duration(r.left) * time.Microsecond }

// values are what save writes for a record.
func values(k *idempotency.Key, r *idempotency.Record, ttl time.Duration) []any {
	failure := failureOf(r.Failure)
	return []any{
		k.Scope, k.Hash[:], int(r.Phase), r.Fingerprint[:], r.Token[:], r.Lease.Microseconds(), number(r.Alone),
		r.Attempts, r.Deaths, r.DeathsAlone, r.Redrive, int64(r.Took), writeSteps(r.Steps), outputsOf(r.Outputs),
		string(failure.Reason), failure.Message, failure.Attempts, ttl.Microseconds(),
	}
}

// failureOf is f as a column takes it: PostgreSQL keeps no text with a zero byte,
// or one that is not UTF-8.
func failureOf(f *idempotency.Failure) idempotency.Failure {
	if f == nil {
		return idempotency.Failure{}
	}
	clean := func(text string) string { return strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", ""), "\ufffd") }
	return idempotency.Failure{Reason: envelope.Code(clean(string(f.Reason))), Message: clean(f.Message), Attempts: f.Attempts}
}

func outputsOf(outputs []*envelope.Envelope) []byte {
	if len(outputs) == 0 {
		return []byte{}
	}
	return idempotency.MarshalOutputs(outputs)
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Steps are kept as names and values, each behind its length, so that one is
// added by appending it. Of one name the last counts.
func appendStep(doc []byte, name string, value []byte) []byte {
	doc = append(binary.AppendUvarint(doc, uint64(len(name))), name...)
	return append(binary.AppendUvarint(doc, uint64(len(value))), value...)
}

func writeSteps(steps map[string][]byte) []byte {
	doc := []byte{}
	for _, name := range slices.Sorted(maps.Keys(steps)) {
		doc = appendStep(doc, name, steps[name])
	}
	return doc
}

var errShort = errors.New("it ends too early")

func readSteps(doc []byte) (map[string][]byte, error) {
	var steps map[string][]byte
	for len(doc) > 0 {
		var part [2][]byte
		for i := range part {
			n, size := binary.Uvarint(doc)
			if size <= 0 || n > uint64(len(doc)-size) {
				return nil, fmt.Errorf("steps: %w: %w", errShort, idempotency.ErrUnreadable)
			}
			end := size + int(n) // not beyond doc
			part[i], doc = doc[size:end:end], doc[end:]
		}
		if steps == nil {
			steps = map[string][]byte{}
		}
		steps[string(part[0])] = part[1]
	}
	return steps, nil
}
