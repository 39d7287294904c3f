package idempotency

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/anywire/anywire/envelope"
)

// Phase is where a record is in its life.
type Phase uint8

// The phases of a record.
const (
	InProgress    Phase = iota + 1 // an attempt holds it
	Released                       // an attempt ended without success
	Completed                      // outputs are recorded, and may not be published
	Settled                        // done
	FailedForGood                  // until a redrive
)

// Record is the state of a message, and the rules by which it changes: stores
// that can compare and set keep it as it is, others do the same in their own
// words. When a record is dropped because of its age is the store's business.
type Record struct {
	Phase       Phase
	Fingerprint [sha256.Size]byte
	Token       Token         // of the last acquisition
	Lease       time.Duration // of the last acquisition or extension
	Alone       bool          // the last acquisition is the only thing its process does

	Attempts, Deaths, DeathsAlone int // see [Verdict]
	Redrive                       int // of the message that was acquired last

	Steps   map[string][]byte
	Outputs []*envelope.Envelope
	Took    time.Duration
	Failure *Failure
}

// Begin applies a claim to a record; the zero Record is that of a message that is
// new. left is how long the lease of a record in progress may still last by the
// store's clock; 0 or less: it is over. Only an acquired record has changed.
func (r *Record) Begin(c *Claim, left time.Duration) Verdict {
	if r.Phase == 0 {
		r.Fingerprint = c.Fingerprint
		return r.acquire(c)
	}
	if r.Fingerprint != c.Fingerprint {
		return Verdict{State: Mismatch, Fingerprint: r.Fingerprint}
	}
	switch r.Phase {
	case InProgress:
		return r.contend(c, left)
	case Completed, Settled:
		return Verdict{State: Done, Outputs: r.Outputs, Took: r.Took}
	case FailedForGood:
		if c.Redrive <= r.Redrive {
			return Verdict{State: Failed, Failure: r.Failure}
		}
		r.Attempts, r.Deaths, r.DeathsAlone, r.Failure = 0, 0, 0, nil
	case Released:
	}
	return r.acquire(c)
}

// contend is a claim for a record that another attempt holds, or held when it
// died.
func (r *Record) contend(c *Claim, left time.Duration) Verdict {
	if r.Token == c.Token { // the same claim once more: its answer was lost
		return r.acquire(c)
	}
	if left > 0 {
		return Verdict{State: Busy, Until: left}
	}
	r.Deaths++
	if r.Alone {
		r.DeathsAlone++
		r.Attempts++
	}
	return r.acquire(c)
}

func (r *Record) acquire(c *Claim) Verdict {
	r.Phase, r.Token, r.Lease, r.Alone = InProgress, c.Token, c.Lease, c.Alone
	r.Redrive = max(r.Redrive, c.Redrive)
	return Verdict{
		State: Acquired, Attempts: r.Attempts, Deaths: r.Deaths, DeathsAlone: r.DeathsAlone, Steps: r.Steps,
	}
}

// Apply makes a change, or answers [ErrFenced]. A change that was made before is
// made again without effect.
func (r *Record) Apply(c *Change) error {
	if c.Op == Settle {
		if r.Phase == Completed {
			r.settle()
		}
		return nil
	}
	if r.Token != c.Token || r.Phase != InProgress && !c.Op.made(r.Phase) {
		return fmt.Errorf("%v: %w", c.Op, ErrFenced)
	}
	if r.Phase != InProgress {
		return nil // once more: its answer was lost
	}
	switch c.Op {
	case Extend:
		r.Lease = c.Lease
	case Remember:
		r.Lease = c.Lease
		r.addStep(c.Step, c.Value)
	case Complete:
		r.Took, r.Outputs, r.Phase = c.Took, c.Outputs, Completed
		if len(c.Outputs) == 0 {
			r.settle()
		}
	case Release:
		r.Phase = Released
		if c.Counted {
			r.Attempts++
		}
	case Fail:
		r.Phase, r.Failure = FailedForGood, c.Failure
	default:
		return fmt.Errorf("operation %d is not known", c.Op)
	}
	return nil
}

// made reports whether a record in a phase is as o leaves it.
func (o Op) made(p Phase) bool {
	switch o {
	case Complete:
		return p == Completed || p == Settled
	case Release:
		return p == Released
	case Fail:
		return p == FailedForGood
	default:
		return false
	}
}

// settle leaves what tells duplicates, and the token, for a Complete whose answer
// was lost.
func (r *Record) settle() {
	*r = Record{Phase: Settled, Fingerprint: r.Fingerprint, Token: r.Token, Took: r.Took, Redrive: r.Redrive}
}

// addStep keeps one more result. Verdicts share the map, so it is replaced.
func (r *Record) addStep(name string, value []byte) {
	steps := maps.Clone(r.Steps)
	if steps == nil {
		steps = map[string][]byte{}
	}
	steps[name] = value
	r.Steps = steps
}

// recordVersion begins every record that is kept as bytes.
const recordVersion = 1

// MarshalBinary writes a record as a store keeps it: a version byte, the phase,
// the fingerprint, the token, then numbers as varints and texts behind their
// length. A settled record takes about 60 bytes.
func (r *Record) MarshalBinary() ([]byte, error) {
	doc := append(make([]byte, 0, 128), recordVersion, byte(r.Phase))
	doc = append(doc, r.Fingerprint[:]...)
	doc = append(doc, r.Token[:]...)
	alone := int64(0)
	if r.Alone {
		alone = 1
	}
	for _, n := range [...]int64{
		int64(r.Lease), alone, int64(r.Attempts), int64(r.Deaths), int64(r.DeathsAlone), int64(r.Redrive), int64(r.Took),
	} {
		doc = binary.AppendVarint(doc, n)
	}
	doc = binary.AppendUvarint(doc, uint64(len(r.Steps)))
	if len(r.Steps) > 0 { // to sort nothing costs as much as all the rest
		for _, name := range slices.Sorted(maps.Keys(r.Steps)) {
			doc = appendText(appendText(doc, name), string(r.Steps[name]))
		}
	}
	var outputs []byte
	if len(r.Outputs) > 0 {
		outputs = MarshalOutputs(r.Outputs)
	}
	doc = appendText(doc, string(outputs))
	if r.Failure == nil {
		return append(doc, 0), nil
	}
	doc = appendText(appendText(append(doc, 1), string(r.Failure.Reason)), r.Failure.Message)
	return binary.AppendUvarint(doc, uint64(r.Failure.Attempts)), nil
}

// UnmarshalBinary reads what MarshalBinary wrote. Its error wraps
// [ErrUnreadable]. The record shares doc, which must not change any more.
func (r *Record) UnmarshalBinary(doc []byte) error {
	d := unreader{rest: doc}
	if version := d.byte(); d.err == nil && version != recordVersion {
		return fmt.Errorf("version %d, this program knows %d: %w", version, recordVersion, ErrUnreadable)
	}
	phase := Phase(d.byte())
	if d.err == nil && (phase < InProgress || phase > FailedForGood) {
		d.err = fmt.Errorf("phase %d does not exist", phase)
	}
	*r = Record{Phase: phase}
	copy(r.Fingerprint[:], d.bytes(sha256.Size))
	copy(r.Token[:], d.bytes(uint64(len(r.Token))))
	r.Lease, r.Alone = time.Duration(d.signed()), d.signed() != 0
	r.Attempts, r.Deaths, r.DeathsAlone, r.Redrive = int(d.signed()), int(d.signed()), int(d.signed()), int(d.signed())
	r.Took = time.Duration(d.signed())
	r.readSteps(&d)
	if outputs := d.bytes(d.number()); d.err == nil && len(outputs) > 0 {
		r.Outputs, d.err = UnmarshalOutputs(outputs)
	}
	if d.byte() != 0 {
		r.Failure = &Failure{
			Reason: envelope.Code(d.bytes(d.number())), Message: string(d.bytes(d.number())), Attempts: int(d.number()),
		}
	}
	if d.err == nil && len(d.rest) > 0 {
		d.err = errors.New("bytes behind its end")
	}
	if d.err != nil {
		*r = Record{}
		return fmt.Errorf("%w: %w", d.err, ErrUnreadable)
	}
	return nil
}

func (r *Record) readSteps(d *unreader) {
	count := d.number()
	if d.err == nil && count > uint64(len(d.rest)) {
		d.err = errShort
	}
	for i := uint64(0); d.err == nil && i < count; i++ {
		if r.Steps == nil {
			r.Steps = map[string][]byte{}
		}
		name := string(d.bytes(d.number()))
		r.Steps[name] = d.bytes(d.number())
	}
}
