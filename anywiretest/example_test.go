package anywiretest_test

import (
	"testing"

	"github.com/anywire/anywire/anywiretest"
)

// A handler that emits is tested as the function that it is; a whole app, over
// memory.
func Example() {
	_ = func(t *testing.T) {
		ctx := anywiretest.Context(t)
		if err := split(ctx, document{"two words"}); err != nil {
			t.Fatal(err)
		}
		if got := anywiretest.Emitted[word](t, ctx); len(got) != 2 {
			t.Errorf("words %v", got)
		}
	}
	_ = func(t *testing.T) {
		w := anywiretest.Start(t, splitter, &anywiretest.Options{Config: splitterConfig()})
		w.Publish("documents", document{"two words"})
		if got := anywiretest.Next[word](w, "words"); got.Text != "two" {
			t.Errorf("word %v", got)
		}
	}
	// Output:
}
