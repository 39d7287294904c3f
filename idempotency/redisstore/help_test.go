package redisstore

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/anywire/anywire/idempotency"
	"github.com/anywire/anywire/internal/brokertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(brokertest.Runner(m)) }

const (
	lease = time.Minute
	ttl   = time.Hour
)

// client connects to a server; it is closed with the test.
func client(tb testing.TB, address string) *redis.Client {
	tb.Helper()
	c := redis.NewClient(&redis.Options{Addr: address, ContextTimeoutEnabled: true, MaxRetries: -1, Protocol: 2})
	tb.Cleanup(func() { _ = c.Close() })
	return c
}

// on makes a store on a client, with a prefix of its own.
func on(tb testing.TB, c redis.UniversalClient) *Store {
	tb.Helper()
	s := New(c, &Options{Prefix: "t" + rand.Text()[:8] + "."})
	tb.Cleanup(func() {
		if err := s.Close(context.WithoutCancel(tb.Context())); err != nil {
			tb.Error(err)
		}
	})
	return s
}

func shared(tb testing.TB) *Store {
	tb.Helper()
	return on(tb, client(tb, brokertest.SharedRedis(tb).Addrs[0]))
}

// claim asks for the record of a message with a name.
func claim(name string) idempotency.Claim {
	return idempotency.Claim{
		Key:         idempotency.NamedKey(idempotency.ScopeOf("sys", "group"), "type", name),
		Fingerprint: sha256.Sum256([]byte(name)), Token: idempotency.NewToken(), Lease: lease, TTL: ttl,
	}
}

func claims(names ...string) []idempotency.Claim {
	list := make([]idempotency.Claim, 0, len(names))
	for _, n := range names {
		list = append(list, claim(n))
	}
	return list
}

func change(c *idempotency.Claim, op idempotency.Op) idempotency.Change {
	return idempotency.Change{Key: c.Key, Token: c.Token, Op: op, Lease: c.Lease, TTL: c.TTL}
}

func begin(tb testing.TB, s *Store, list ...idempotency.Claim) []idempotency.Verdict {
	tb.Helper()
	v, err := s.Begin(patience(tb), list)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

func update(tb testing.TB, s *Store, list ...idempotency.Change) []error {
	tb.Helper()
	errs, err := s.Update(patience(tb), list)
	if err != nil {
		tb.Fatal(err)
	}
	if errs == nil {
		errs = make([]error, len(list))
	}
	return errs
}

// made makes changes that have to hold.
func made(tb testing.TB, s *Store, list ...idempotency.Change) {
	tb.Helper()
	for i, err := range update(tb, s, list...) {
		if err != nil {
			tb.Fatalf("%v: %v", list[i].Op, err)
		}
	}
}

func expect(tb testing.TB, s *Store, c idempotency.Claim, state idempotency.State) idempotency.Verdict {
	tb.Helper()
	v := begin(tb, s, c)[0]
	if v.State != state {
		tb.Fatalf("%v (%v), want %v", v.State, v.Err, state)
	}
	return v
}

// keyOf is the name of a record.
func keyOf(s *Store, k idempotency.Key) string {
	c := newCall(ttl)
	c.add(&task{write: func(*writer, int, func()) {}}, 0, s.tag(k.Scope, k.Hash[0]%buckets), &k)
	return c.w.String()
}

// patience bounds what must happen.
func patience(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 30*time.Second)
	tb.Cleanup(cancel)
	return ctx
}

func wantError(tb testing.TB, err error, words ...string) {
	tb.Helper()
	if err == nil {
		tb.Errorf("no error, want one with %q", words)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			tb.Errorf("%v: want %q in it", err, w)
		}
	}
}
