package idempotency

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/anywire/anywire/envelope"
)

// Options configure a [Guard] and [Middleware]. Zero values are the defaults.
type Options struct {
	System string        // default "anywire"
	Group  string        // consumer group whose records these are; default "default"
	Lease  time.Duration // how long a silent attempt holds a record; default 30 s
	TTL    time.Duration // how long a record is kept after its last change; default 24 h
	// Key is the idempotency key of a message; nil: its own, else its identity. An
	// error, and an empty key, are final: the message is rejected.
	Key func(in *envelope.Envelope) (string, error)
}

func (o *Options) filled() Options {
	var f Options
	if o != nil {
		f = *o
	}
	if f.System == "" {
		f.System = "anywire"
	}
	if f.Group == "" {
		f.Group = "default"
	}
	if f.Lease <= 0 {
		f.Lease = 30 * time.Second
	}
	if f.TTL <= 0 {
		f.TTL = 24 * time.Hour
	}
	return f
}

// Guard takes messages of one consumer group through their records: what the
// router and [Middleware] share. Calls of concurrent messages reach the store as
// batches. A Guard is safe for concurrent use.
type Guard struct {
	options Options
	scope   string
	store   Store
	single  Single // nil: calls are batched
	begins  batches[Claim, Verdict]
	updates batches[Change, error]
}

// NewGuard returns a guard over a store. With a nil store there are no records:
// [Guard.Bare] still gives handlers their [EffectKey].
func NewGuard(store Store, o *Options) *Guard {
	g := &Guard{options: o.filled(), store: store}
	g.scope = ScopeOf(g.options.System, g.options.Group)
	g.single, _ = store.(Single)
	if store != nil {
		g.begins.call = store.Begin
		g.updates.call = func(ctx context.Context, changes []Change) ([]error, error) {
			errs, err := store.Update(ctx, changes)
			if errs == nil && err == nil {
				errs = make([]error, len(changes))
			}
			return errs, err
		}
	}
	return g
}

// Store is the guard's; nil: there is none.
func (g *Guard) Store() Store { return g.store }

// TTL is how long records are kept after their last change.
func (g *Guard) TTL() time.Duration { return g.options.TTL }

// Begin asks for the record of in. The work is the attempt's, to be ended by
// [Work.Complete], [Work.Release] or [Work.Fail]; it is nil unless the verdict is
// [Acquired]. alone says that nothing else runs in this process. An error that is
// [envelope.Invalid] means that the message has no usable key; with any other the
// store did not answer, and the caller tries again.
func (g *Guard) Begin(ctx context.Context, in *envelope.Envelope, alone bool) (*Work, Verdict, error) {
	key, err := g.Key(in)
	if err != nil {
		return nil, Verdict{}, err
	}
	claim := Claim{
		Key: key, Fingerprint: in.Fingerprint(), Token: NewToken(),
		Lease: g.options.Lease, TTL: g.options.TTL, Redrive: in.Redrive, Alone: alone,
	}
	v, err := g.begin(ctx, &claim)
	if err != nil || v.State != Acquired {
		return nil, v, err
	}
	return &Work{guard: g, key: key, token: claim.Token, steps: v.Steps, began: time.Now()}, v, nil
}

// Bare is the work of an attempt without a record.
func (g *Guard) Bare(in *envelope.Envelope) *Work {
	key, err := g.Key(in)
	if err != nil {
		key = KeyOf(g.scope, in)
	}
	return &Work{guard: g, key: key, began: time.Now()}
}

// Settle notes that the outputs of messages are published, whoever recorded them,
// in one call.
func (g *Guard) Settle(ctx context.Context, keys ...Key) error {
	if g.store == nil || len(keys) == 0 {
		return nil
	}
	changes := make([]Change, len(keys))
	for i, key := range keys {
		changes[i] = Change{Key: key, Op: Settle, TTL: g.options.TTL}
	}
	_, err := g.store.Update(ctx, changes)
	return err
}

// Immediate reports whether the records live in this process, so that a call of
// the store costs no round trip.
func (g *Guard) Immediate() bool { return g.single != nil }

// Renew begins the leases of works anew, in one call. It returns those that
// another attempt has taken; an error means that nothing is known.
func (g *Guard) Renew(ctx context.Context, works []*Work) (lost []*Work, err error) {
	if len(works) == 0 || g.store == nil {
		return nil, nil
	}
	changes := make([]Change, len(works))
	for i, w := range works {
		changes[i] = w.change(Extend)
	}
	errs, err := g.store.Update(ctx, changes)
	if err != nil {
		return nil, err
	}
	for i, w := range works {
		if i < len(errs) && errors.Is(errs[i], ErrFenced) {
			lost = append(lost, w)
		}
	}
	return lost, nil
}

// Key names the record of a message. Its error is [envelope.Invalid].
func (g *Guard) Key(in *envelope.Envelope) (Key, error) {
	if g.options.Key == nil {
		return KeyOf(g.scope, in), nil
	}
	name, err := g.options.Key(in)
	if err != nil {
		return Key{}, &envelope.Error{Code: envelope.Invalid, Message: "the message has no idempotency key", Err: err}
	}
	if name == "" {
		return Key{}, &envelope.Error{Code: envelope.Invalid, Message: "the message's idempotency key is empty"}
	}
	return NamedKey(g.scope, in.Type, name), nil
}

func (g *Guard) begin(ctx context.Context, c *Claim) (Verdict, error) {
	if g.single != nil {
		return g.single.BeginOne(ctx, c)
	}
	return g.begins.do(ctx, *c)
}

// update makes one change. Its error is the change's own, or why the store did
// not answer; [ErrFenced] and [envelope.TooLarge] are final.
func (g *Guard) update(ctx context.Context, c *Change) error {
	if g.single != nil {
		return g.single.UpdateOne(ctx, c)
	}
	own, err := g.updates.do(ctx, *c)
	if err != nil {
		return fmt.Errorf("idempotency store: %w", err)
	}
	return own
}
