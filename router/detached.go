package router

import (
	"context"
	"fmt"
	"slices"

	"github.com/anywire/anywire/envelope"
)

// Detached returns a context as a handler has it, without a router: [Input]
// answers in, and what is emitted is kept for [Emitted]. It is for tests of
// handlers.
func Detached(ctx context.Context, in *envelope.Envelope) context.Context {
	return context.WithValue(ctx, attemptKey{}, &attempt{emitter: detached{}, in: in})
}

// Emitted is what was emitted so far under a context of [Detached], or of a
// handler: complete envelopes, in order.
func Emitted(ctx context.Context) []*envelope.Envelope {
	t := attemptOf(ctx)
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.outputs)
}

// detached completes outputs as far as that needs no agent.
type detached struct{}

func (detached) complete(in, out *envelope.Envelope, _ int) error {
	out.CausedBy(in)
	if err := out.Validate(); err != nil {
		return fmt.Errorf("output %s: %w", out.WireType(), err)
	}
	return nil
}

func (detached) emittedLate(*envelope.Envelope) {}
