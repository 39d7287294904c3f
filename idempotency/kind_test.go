package idempotency_test

import (
	"context"
	"strings"
	"testing"

	"github.com/anywire/anywire/idempotency"
)

type kindOptions struct{ Name string }

func TestKindOpensWhatAnEntrySays(t *testing.T) {
	t.Parallel()
	var opened kindOptions
	k := idempotency.NewKind("mine", func(_ context.Context, o kindOptions, s idempotency.Shared) (idempotency.Store, error) {
		opened = o
		return idempotency.NewMemory(&idempotency.MemoryOptions{MaxRecords: s.MaxRecords}), nil
	}, nil)
	if _, ok := k.NewOptions().(*kindOptions); !ok || k.KindName() != "mine" {
		t.Errorf("kind %q with options %T", k.KindName(), k.NewOptions())
	}
	for _, c := range []struct {
		options any
		want    string
	}{{nil, ""}, {kindOptions{"a"}, "a"}, {&kindOptions{"b"}, "b"}, {(*kindOptions)(nil), ""}} {
		opened.Name = "none"
		if s, err := k.OpenStore(t.Context(), c.options, idempotency.Shared{}); s == nil || err != nil || opened.Name != c.want {
			t.Errorf("%#v opens %v with %q, error %v, want %q", c.options, s, opened.Name, err, c.want)
		}
	}
	if _, err := k.OpenStore(t.Context(), 7, idempotency.Shared{}); err == nil || !strings.Contains(err.Error(), "kindOptions") {
		t.Errorf("options of a wrong type: error %v, want one that names the right one", err)
	}
	if s, err := k.OpenOn(t.Context(), 7, idempotency.Shared{}); s != nil || err != nil {
		t.Errorf("a kind without clients opens %v, error %v", s, err)
	}
}

func TestKindOfATransportHasNoEntry(t *testing.T) {
	t.Parallel()
	k := idempotency.NewKind[kindOptions]("theirs", nil, func(_ context.Context, client any, _ idempotency.Shared) (idempotency.Store, error) {
		if client != "theirs" {
			return nil, nil
		}
		return idempotency.NewMemory(nil), nil
	})
	if _, err := k.OpenStore(t.Context(), nil, idempotency.Shared{}); err == nil || !strings.Contains(err.Error(), `"theirs"`) {
		t.Errorf("error %v, want one that names the kind", err)
	}
	for client, want := range map[string]bool{"theirs": true, "other": false} {
		if s, err := k.OpenOn(t.Context(), client, idempotency.Shared{}); (s != nil) != want || err != nil {
			t.Errorf("%s opens %v, error %v", client, s, err)
		}
	}
}

func TestStatesAndOperationsHaveNames(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for s := idempotency.Acquired; s <= idempotency.Broken; s++ {
		seen[s.String()] = true
	}
	for op := idempotency.Extend; op <= idempotency.Fail; op++ {
		seen[op.String()] = true
	}
	if len(seen) != 12 || seen["unknown"] {
		t.Errorf("names %v, want 12 different ones", seen)
	}
	key := idempotency.Key{Scope: idempotency.ScopeOf("system", "group"), Hash: [32]byte{0xab}}
	if got, want := key.String(), "system/group/ab"+strings.Repeat("00", 31); got != want {
		t.Errorf("a key is shown as %q, want %q", got, want)
	}
}
