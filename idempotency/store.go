package idempotency

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/anywire/anywire/envelope"
)

// Store keeps records. Both methods take batches and cost one round trip each;
// an item is decided atomically, a batch is not. They block until the store has
// answered or ctx ends; an error means that nothing is known of any item, and
// the caller repeats the call with the same tokens: a store answers a repeated
// item as it answered the first. Stores are safe for concurrent use by many
// processes.
//
// [github.com/anywire/anywire/idempotency/storetest] is the contract as a suite.
type Store interface {
	// Begin answers each claim with a verdict, in order. An acquired record is in
	// progress, under the claim's token, for the claim's lease.
	Begin(ctx context.Context, claims []Claim) ([]Verdict, error)
	// Update makes changes, in order where two concern one record, and says for
	// each whether it holds: nil, [ErrFenced], or an error with the code
	// [envelope.TooLarge] for what the store can never take. A nil slice means
	// that all hold.
	Update(ctx context.Context, changes []Change) ([]error, error)
}

// ErrFenced answers a change whose token does not hold the record any more: it
// was taken over after its lease had ended, or is gone. Wrapped with %w.
var ErrFenced = errors.New("the record is held by another attempt")

// ErrRolledBack says that the transaction of an attempt was not committed: neither
// what the handler wrote nor the record has changed.
var ErrRolledBack = errors.New("the transaction was not committed")

// ErrUnreadable says that a record is there and cannot be read: it is damaged, or
// was written by a version of anywire that this one does not know.
var ErrUnreadable = errors.New("the record cannot be read")

// Claim asks for the record of a message that is about to be handled.
type Claim struct {
	Key         Key
	Fingerprint [sha256.Size]byte
	Token       Token         // of this acquisition
	Lease       time.Duration // how long it holds unless it is extended
	TTL         time.Duration // how long the record is kept after its last change; more than Lease
	Redrive     int           // of the message: opens a failed record whose own is lower
	Alone       bool          // nothing else runs in the process: a death now is this message's doing
}

// State is the answer to a claim.
type State uint8

// The answers to a claim.
const (
	Acquired State = iota + 1 // it is the claim's: run the handler
	Busy                      // another attempt holds it
	Done                      // it was handled: publish what was recorded, if anything, and acknowledge
	Failed                    // it failed for good: a dead letter without a run
	Mismatch                  // the key belongs to a message with another fingerprint
	Broken                    // the record cannot be read; Err says why
)

// String is the state's name.
func (s State) String() string {
	switch s {
	case Acquired:
		return "acquired"
	case Busy:
		return "busy"
	case Done:
		return "done"
	case Failed:
		return "failed"
	case Mismatch:
		return "mismatch"
	case Broken:
		return "broken"
	default:
		return "unknown"
	}
}

// Verdict is what becomes of a claim. Which fields are set depends on State.
type Verdict struct {
	State State

	// Acquired. Attempts have been made before and failed; Deaths are
	// acquisitions whose lease ended without a word, DeathsAlone those of them
	// that were the only thing their process did, which Attempts counts too.
	// Steps are the results that earlier attempts recorded; read-only.
	Attempts, Deaths, DeathsAlone int
	Steps                         map[string][]byte

	// Busy: the longest time until its holder's lease ends, unless it is
	// extended; more than 0.
	Until time.Duration

	// Done: the outputs that were recorded and may not have been published; nil:
	// there are none, or all are. Took is how long the handler ran.
	Outputs []*envelope.Envelope
	Took    time.Duration

	// Failed.
	Failure *Failure

	// Mismatch: what the record's message has.
	Fingerprint [sha256.Size]byte

	// Broken: wraps [ErrUnreadable].
	Err error
}

// Failure is why a message failed for good, as far as its dead letter needs it.
type Failure struct {
	Reason   envelope.Code
	Message  string
	Attempts int
}

// Op is what a change does to a record.
type Op uint8

// The operations. All but Settle need the record to be in progress under the
// change's token, or to be as the same change left it before.
const (
	Extend   Op = iota + 1 // the lease begins anew
	Remember               // the result of a step is kept
	Complete               // the handler succeeded with Outputs; without any the record is settled
	Settle                 // Outputs are published; holds also for a record that is settled or gone, whatever the token
	Release                // the attempt ended without success; the next claim acquires the record
	Fail                   // the message failed for good
)

// String is the operation's name.
func (o Op) String() string {
	switch o {
	case Extend:
		return "extend"
	case Remember:
		return "remember"
	case Complete:
		return "complete"
	case Settle:
		return "settle"
	case Release:
		return "release"
	case Fail:
		return "fail"
	default:
		return "unknown"
	}
}

// Change changes a record. Which fields count depends on Op.
type Change struct {
	Key   Key
	Token Token
	Op    Op
	Lease time.Duration // Extend, Remember
	TTL   time.Duration // how long the record is kept from now on

	Step  string // Remember
	Value []byte // Remember

	Outputs []*envelope.Envelope // Complete; read-only from now on
	Took    time.Duration        // Complete: how long the handler ran

	Counted bool // Release: it was an attempt

	Failure *Failure // Fail
}

// Stats are what a store knows of itself.
type Stats struct {
	Records int // kept now; -1: unknown
	Evicted uint64
	// Window is how long a record outlives its message at the present rate: TTL,
	// unless records have to be dropped before. 0: unknown.
	Window time.Duration
}

// Counter is a store that knows its [Stats].
type Counter interface{ Stats() Stats }

// Single is a store in whose process records live, so that batching gains
// nothing: one call for one item, without waiting for others.
type Single interface {
	BeginOne(ctx context.Context, claim *Claim) (Verdict, error)
	UpdateOne(ctx context.Context, change *Change) error
}

// Outbox is a store into which programs write messages within transactions of their
// own. An app that uses it publishes them.
type Outbox interface {
	// RunOutbox publishes what was committed, in order per key, until ctx ends; then
	// it returns nil. Any number of processes may run it, one works at a time.
	// publish returns nil when the broker has all messages, an [UnpublishedError]
	// where it knows which it has not, and any other error for all.
	RunOutbox(ctx context.Context, publish func(ctx context.Context, es []*envelope.Envelope) error) error
}

// UnpublishedError says which messages of a call were not published: the error of
// each, by its index. All others are confirmed.
type UnpublishedError map[int]error

// Error names one of the failures.
func (u UnpublishedError) Error() string {
	for i, err := range u {
		return fmt.Sprintf("%d messages are not published; number %d: %v", len(u), i, err)
	}
	return "no message failed"
}

// Closer is a store that holds something open.
type Closer interface {
	Close(ctx context.Context) error
}

// Committer is a transaction that an attempt opened and that ends with it. See
// [Work.Join].
type Committer interface {
	// Commit applies c to the record within the transaction and commits both, or
	// neither. A fenced change rolls back and is [ErrFenced].
	Commit(ctx context.Context, c *Change) error
	// Rollback ends it without effect. It is called at most once, and never after
	// Commit.
	Rollback(ctx context.Context) error
}

// StepRefuser is a [Committer] during which no [Step] can be recorded: its error
// says why, nil that it can.
type StepRefuser interface{ RefuseStep() error }
