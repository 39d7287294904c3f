package memory_test

import (
	"math"
	"strings"
	"testing"

	"github.com/anywire/anywire/transport/memory"
)

func TestOpenChecksOptions(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		o   memory.Options
		err string
	}{
		{memory.Options{}, ""},
		{memory.Options{Capacity: 1, Paranoid: &memory.Paranoid{Duplicate: 1, Delay: 0, Reorder: 0.5}}, ""},
		{memory.Options{Capacity: -1}, "capacity -1"},
		{memory.Options{Paranoid: &memory.Paranoid{Duplicate: 2}}, "paranoid.duplicate 2"},
		{memory.Options{Paranoid: &memory.Paranoid{Delay: -1}}, "paranoid.delay -1"},
		{memory.Options{Paranoid: &memory.Paranoid{Reorder: math.NaN()}}, "paranoid.reorder NaN"},
	} {
		d, err := memory.Open(t.Context(), test.o)
		switch {
		case test.err == "":
			must(t, err)
			must(t, d.Close(t.Context()))
		case err == nil || !strings.Contains(err.Error(), test.err):
			t.Errorf("Open(%+v): %v, want an error with %q", test.o, err, test.err)
		}
	}
}

func TestKind(t *testing.T) {
	t.Parallel()
	k := memory.Kind()
	if k.KindName() != "memory" {
		t.Errorf("the kind is %q", k.KindName())
	}
	for _, o := range []*memory.Options{{}, {Paranoid: &memory.Paranoid{}}} {
		caps, err := k.Capabilities(o)
		must(t, err)
		d, err := k.Open(t.Context(), o)
		must(t, err)
		if caps != d.Capabilities() || caps.InProcess != (o.Paranoid == nil) {
			t.Errorf("declared %+v, has %+v", caps, d.Capabilities())
		}
		must(t, d.Close(t.Context()))
	}
	if _, ok := k.NewOptions().(*memory.Options); !ok {
		t.Errorf("NewOptions is a %T", k.NewOptions())
	}
}
