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
func Context(t testing.TB, o ...anywire.SendOption) context.Context {
	t.Helper()
	in, err := envelope.New(envelope.Raw{Type: "anywiretest.input@1"}, o...)
	if err != nil {
		t.Fatalf("anywiretest: %v", err)
	}
	in.Attempt = 1
	return router.Detached(t.Context(), in)
}

// Emitted returns what was emitted under a context of [Context] and is a T, in
// order. Other types are passed over.
func Emitted[T anywire.Typed](t testing.TB, ctx context.Context) []T { //nolint:revive // t comes first in test helpers
	t.Helper()
	var all []T
	for _, e := range router.Emitted(ctx) {
		var v T
		if e.WireType() != v.WireType() {
			continue
		}
		if err := e.Decode(&v); err != nil {
			t.Fatalf("anywiretest: %v", err)
		}
		all = append(all, v)
	}
	return all
}

// EmittedEnvelopes returns everything that was emitted under a context of
// [Context], in order, with topics, keys and delays.
func EmittedEnvelopes(ctx context.Context) []*envelope.Envelope { return router.Emitted(ctx) }
