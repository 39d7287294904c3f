package memory

import (
	"strings"
	"testing"

	"github.com/anywire/anywire/transport/driver"
)

func TestInspectSaysThatNothingSurvives(t *testing.T) {
	t.Parallel()
	b := New(&Options{Paranoid: &Paranoid{}})
	found, err := b.Inspect(t.Context(), driver.Use{})
	if err != nil || len(found) != 2 {
		t.Fatalf("%v, %v", found, err)
	}
	for i, check := range []string{"durability", "paranoid"} {
		if f := found[i]; f.Level != driver.Warning || f.Check != check || f.Why == "" || f.Fix == "" {
			t.Errorf("finding %d: %+v", i, f)
		}
	}
	if err := b.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Inspect(t.Context(), driver.Use{}); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("a closed broker: %v", err)
	}
}
