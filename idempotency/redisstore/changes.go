package redisstore

import (
	"context"
	"fmt"
	"time"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/idempotency"
)

// beside is the size from which on outputs have a key of their own.
const beside = 64 << 10

// The answers to a change.
const (
	fenced = 0
	holds  = 1
	full   = 2
	broken = 3
)

// Update implements [idempotency.Store].
func (s *Store) Update(ctx context.Context, changes []idempotency.Change) ([]error, error) {
	if len(changes) == 0 {
		return nil, s.usable()
	}
	u := &updates{store: s, changes: changes}
	u.prepare()
	err := s.run(ctx, task{
		script: updateScript, count: len(changes), parts: 3, limit: true, well: holds,
		item: u.item, write: u.write, answer: u.answer,
	})
	if err != nil {
		return nil, err
	}
	return u.errs, nil
}

// updates is one call of Update.
type updates struct {
	store   *Store
	changes []idempotency.Change
	outputs [][]byte // of changes that have some
	errs    []error  // nil: all hold
}

// prepare encodes outputs, and refuses what cannot be done before anything is
// sent.
func (u *updates) prepare() {
	for i := range u.changes {
		c := &u.changes[i]
		size := 0
		switch c.Op {
		case idempotency.Complete:
			if len(c.Outputs) == 0 {
				continue
			}
			if len(u.outputs) == 0 {
				u.outputs = make([][]byte, len(u.changes))
			}
			u.outputs[i] = idempotency.MarshalOutputs(c.Outputs)
			size = len(u.outputs[i])
		case idempotency.Remember:
			size = len(c.Step) + len(c.Value)
		case idempotency.Fail:
			if c.Failure == nil {
				u.fail(i, fmt.Errorf("%v without a failure", c.Op))
			}
		case idempotency.Extend, idempotency.Settle, idempotency.Release:
		default:
			u.fail(i, fmt.Errorf("operation %d is not known", c.Op))
		}
		if limit := u.store.o.MaxRecord; size+headerSize > int(limit) {
			u.fail(i, u.tooLarge(c, size+headerSize))
		}
	}
}

func (u *updates) tooLarge(c *idempotency.Change, size int) error {
	more := "more"
	if size > 0 {
		more = fmt.Sprintf("%d bytes", size)
	}
	return &envelope.Error{Code: envelope.TooLarge, Message: fmt.Sprintf(
		"%v: the record would take %s, max_record of the Redis store is %v: keep what is large elsewhere, or raise max_record",
		c.Op, more, u.store.o.MaxRecord)}
}

func (u *updates) fail(i int, err error) {
	if u.errs == nil {
		u.errs = make([]error, len(u.changes))
	}
	u.errs[i] = err
}

// item is where change i goes; nil: it is refused already.
func (u *updates) item(i int) (*idempotency.Key, time.Duration) {
	if len(u.errs) > 0 && u.errs[i] != nil {
		return nil, 0
	}
	return &u.changes[i].Key, u.changes[i].TTL
}

// write gives the script one change: what the record has to begin with, and what
// to do.
func (u *updates) write(w *writer, i int, mark func()) {
	c := &u.changes[i]
	w.held(c.Token)
	mark()
	switch c.Op {
	case idempotency.Extend:
		w.WriteByte(opExtend)
		w.times(c.Lease, c.TTL)
	case idempotency.Remember:
		w.WriteByte(opStep)
		w.times(c.Lease, c.TTL)
		w.text(c.Step)
		w.number(uint64(len(c.Value)), 4)
		w.Write(c.Value)
	case idempotency.Complete:
		u.complete(w, i)
	case idempotency.Settle:
		w.WriteByte(opSettle)
	case idempotency.Release:
		w.WriteByte(opRelease)
		counted := uint64(0)
		if c.Counted {
			counted = 1
		}
		w.number(counted, 1)
	case idempotency.Fail:
		w.WriteByte(opFail)
		w.text(string(c.Failure.Reason))
		w.text(c.Failure.Message)
		w.number(uint64(c.Failure.Attempts), 4)
	}
	mark()
}

func (u *updates) complete(w *writer, i int) {
	c := &u.changes[i]
	if len(c.Outputs) == 0 {
		w.tombstone(c)
		return
	}
	op := byte(opOutputs)
	if len(u.outputs[i]) > beside {
		op = opBeside
	}
	w.WriteByte(op)
	w.number(uint64(c.Took), 8)
	w.Write(u.outputs[i])
}

// answer reads what became of one change.
func (u *updates) answer(i int, key string, answer any) error {
	c := &u.changes[i]
	switch answer {
	case int64(holds):
	case int64(fenced):
		u.fail(i, fmt.Errorf("%v: %w", c.Op, idempotency.ErrFenced))
	case int64(full):
		u.fail(i, u.tooLarge(c, 0))
	case int64(broken):
		u.fail(i, u.foreign(c, key))
	default:
		return errReply
	}
	return nil
}

// foreign is the error of a change of what is no record: whoever had one there has
// lost it.
func (u *updates) foreign(c *idempotency.Change, key string) error {
	err := unreadable(key, fmt.Errorf("%v: what is there is no record of this version", c.Op))
	if c.Op == idempotency.Settle {
		return err
	}
	return fmt.Errorf("%w: %w", idempotency.ErrFenced, err)
}
