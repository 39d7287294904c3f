package anywiretest

import (
	"context"
	"testing"

	"github.com/anywire/anywire"
	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/router"
)

// Context returns a context as a handler has it, so that a test can call one
// that emits or looks at its envelope. The options set the envelope's
// attributes. It ends with the test.
func Context(tb testing.TB, o ...anywire.SendOption) context.Context {
	tb.Helper()
	in, err := envelope.New(envelope.Raw{Type: "anywiretest.input@1"}, o...)
	if err != nil {
		tb.Fatalf("anywiretest: %v", err)
	}
	in.Attempt = 1
	return router.Detached(tb.Context(), in)
}

// Emitted returns what was emitted under a context of [Context] and is a T, in
// order. Other types are passed over.
func Emitted[T anywire.Typed](tb testing.TB, ctx context.Context) []T { //nolint:revive // tb comes first in test helpers
	tb.Helper()
	var all []T
	for _, e := range router.Emitted(ctx) {
		var v T
		if e.WireType() != v.WireType() {
			continue
		}
		if err := e.Decode(&v); err != nil {
			tb.Fatalf("anywiretest: %v", err)
		}
		all = append(all, v)
	}
	return all
}

// EmittedEnvelopes returns everything that was emitted under a context of
// [Context], in order, with topics, keys and delays.
func EmittedEnvelopes(ctx context.Context) []*envelope.Envelope { return router.Emitted(ctx) }
