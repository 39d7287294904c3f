package natsstore

import (
	"strings"
	"testing"

	"github.com/anywire/anywire/idempotency"
)

func TestNames(t *testing.T) {
	t.Parallel()
	for prefix, want := range map[string]string{
		"": "anywire_records", "prod_": "prod_anywire_records", "a.b": "a-2ebanywire_records", "a-2eb": "a-2d2ebanywire_records",
	} {
		if got := bucketName(prefix); got != want {
			t.Errorf("prefix %q: %q, want %q", prefix, got, want)
		}
	}
	for scope, want := range map[string]string{
		"": "=", "system/group": "system/group", "s.y/g r=p*": "s=2ey/g=20r=3dp=2a", "ü": "=c3=bc",
	} {
		if got := scopeToken(scope); got != want {
			t.Errorf("scope %q: %q, want %q", scope, got, want)
		}
	}
	long := strings.Repeat("x", 500)
	if a, b := scopeToken(long), scopeToken(long+"y"); a == b || len(a) > mostScope {
		t.Errorf("long scopes are %q and %q", a, b)
	}
	s := subjects{stem: "$KV.b."}
	key := idempotency.NamedKey("s/g", "t", "n")
	for range 2 {
		if got, want := s.of(&key), "$KV.b.s/g."+key.String()[len("s/g/"):]; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	if err := (Options{}).Validate(); err != nil {
		t.Errorf("defaults: %v", err)
	}
	for want, o := range map[string]Options{
		`bucket "a.b"`: {Bucket: "a.b"}, "201 characters": {Bucket: strings.Repeat("a", 201)}, `storage "disk"`: {Storage: "disk"},
		"replicas 6": {Replicas: 6}, "connect_timeout": {ConnectTimeout: -1}, "max_record 1:": {MaxRecord: 1}, "ttl 1ms": {TTL: 1e6},
		"max_records -1": {MaxRecords: -1}, "one way to log in": {User: "u", Creds: "c"}, "cert and key": {TLS: TLS{Cert: "c"}},
	} {
		if err := o.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
		if _, err := New(nil, &o); err == nil {
			t.Errorf("New takes what %s", want)
		}
	}
}

func TestKind(t *testing.T) {
	t.Parallel()
	if s, err := Kind().OpenOn(t.Context(), "another client", idempotency.Shared{}); s != nil || err != nil {
		t.Errorf("another client: %v, %v, want none and no error", s, err)
	}
	if name := Kind().KindName(); name != "nats" {
		t.Errorf("kind %q", name)
	}
}

// TestCache: it is bounded, what is used stays, and a lease that nobody renews
// ends though it is looked at again and again.
func TestCache(t *testing.T) {
	t.Parallel()
	c := newCache(100)
	keyOf := func(i int) idempotency.Key { return idempotency.NamedKey("s", "t", strings.Repeat("x", i)) }
	for i := range 1000 {
		c.note(keyOf(i), &known{record: idempotency.Record{Phase: idempotency.InProgress}, revision: uint64(i + 1)})
		if c.get(keyOf(0)) == nil {
			t.Fatalf("what is used was forgotten after %d others", i)
		}
		if n := len(c.young) + len(c.old); n > 100 {
			t.Fatalf("%d records", n)
		}
	}
	if c.get(keyOf(500)) != nil {
		t.Error("what is not used was kept")
	}
	c.note(keyOf(0), &known{record: idempotency.Record{Phase: idempotency.Settled}, revision: 7})
	if c.get(keyOf(0)) != nil {
		t.Error("what is settled was kept")
	}
}
