package idempotency_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/idempotency"
)

var errDown = errors.New("the store is down")

// remote is a store that is reached by batches, and may be down.
type remote struct {
	memory *idempotency.Memory

	mu      sync.Mutex
	down    bool
	refuse  map[idempotency.Op]error // answers to single changes
	limit   int                      // so many outputs are too large; 0: none are
	changes []idempotency.Change
}

var _ idempotency.Store = (*remote)(nil)

func newRemote() *remote {
	return &remote{memory: idempotency.NewMemory(nil), refuse: map[idempotency.Op]error{}}
}

func (r *remote) setDown(down bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = down
}

// refuses answers every change of a sort with err.
func (r *remote) refuses(op idempotency.Op, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuse[op] = err
}

func (r *remote) Begin(ctx context.Context, claims []idempotency.Claim) ([]idempotency.Verdict, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down || ctx.Err() != nil {
		return nil, errDown
	}
	return r.memory.Begin(ctx, claims)
}

func (r *remote) Update(ctx context.Context, changes []idempotency.Change) ([]error, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down || ctx.Err() != nil {
		return nil, errDown
	}
	r.changes = append(r.changes, changes...)
	errs := make([]error, len(changes))
	for i := range changes {
		c := &changes[i]
		switch refused := r.refuse[c.Op]; {
		case refused != nil:
			errs[i] = refused
		case r.limit > 0 && len(c.Outputs) >= r.limit:
			errs[i] = &envelope.Error{Code: envelope.TooLarge}
		default:
			errs[i] = r.memory.UpdateOne(ctx, c)
		}
	}
	if slices.ContainsFunc(errs, func(err error) bool { return err != nil }) {
		return errs, nil
	}
	return nil, nil // all hold
}

// did says which changes were made, in order.
func (r *remote) did() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var ops []string
	for _, c := range r.changes {
		ops = append(ops, c.Op.String())
	}
	return strings.Join(ops, " ")
}

// message is the input of most tests.
func message(id string) *envelope.Envelope {
	return &envelope.Envelope{ID: id, Source: "/s", Type: "order", SchemaVersion: 1, Data: []byte(`{"id":"` + id + `"}`)}
}

// handle gives a message to a handler behind the middleware.
func handle(
	ctx context.Context, store idempotency.Store, in *envelope.Envelope, h envelope.Handler,
) ([]*envelope.Envelope, error) {
	return idempotency.Middleware(store, nil)(h)(ctx, in)
}

// answer is a handler that answers with messages of these ids.
func answer(ids ...string) envelope.Handler {
	return func(context.Context, *envelope.Envelope) ([]*envelope.Envelope, error) {
		var outs []*envelope.Envelope
		for _, id := range ids {
			outs = append(outs, message(id))
		}
		return outs, nil
	}
}

// never is a handler that must not be called.
func never(t *testing.T) envelope.Handler {
	t.Helper()
	return func(context.Context, *envelope.Envelope) ([]*envelope.Envelope, error) {
		t.Error("the handler was called")
		return nil, nil
	}
}

// attempt runs fn in a handler, on a message whose earlier attempts failed.
func attempt(t *testing.T, store idempotency.Store, fn func(ctx context.Context) error) error {
	t.Helper()
	_, err := handle(t.Context(), store, message("1"), func(ctx context.Context, _ *envelope.Envelope) ([]*envelope.Envelope, error) {
		return nil, fn(ctx)
	})
	return err
}

func wantCode(t *testing.T, err error, code envelope.Code) {
	t.Helper()
	if !errors.Is(err, code) {
		t.Errorf("error %v, want one with the code %q", err, code)
	}
}

const lease = 30 * time.Second // the default
