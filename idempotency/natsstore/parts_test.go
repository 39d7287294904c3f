package natsstore

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/idempotency"
	"github.com/anywire/anywire/internal/brokertest"
)

func keysOf(tb testing.TB, s *Store) int {
	tb.Helper()
	stream, err := s.bucket.js.Stream(tb.Context(), s.bucket.name)
	wantNil(tb, err)
	return int(stream.CachedInfo().State.Msgs)
}

// TestLargeOutputs: what does not fit into a message takes several keys, which go
// when the record is settled, whoever settles it.
func TestLargeOutputs(t *testing.T) {
	t.Parallel()
	s := opened(t, brokertest.SharedNATS(t).URL, nil)
	other := opened(t, brokertest.SharedNATS(t).URL, func(o *Options) { o.Bucket = s.o.Bucket })
	for i, settles := range []*Store{s, other} {
		c, want := claimOf(string(rune('a'+i))), output("0123456789", 300_000)
		wantState(t, s, c, idempotency.Acquired)
		wantNil(t, change(t, s, c, idempotency.Complete, want, output("2", 1)))
		if n := keysOf(t, s) - i; n != 4 {
			t.Errorf("3 MB in %d keys, want 3 and the record", n)
		}
		v := wantState(t, other, claimOf(string(rune('a'+i))), idempotency.Done)
		if len(v.Outputs) != 2 || !bytes.Equal(v.Outputs[0].Data, want.Data) {
			t.Errorf("%d outputs, or they differ", len(v.Outputs))
		}
		wantNil(t, change(t, settles, c, idempotency.Settle))
		eventually(t, func() bool { return keysOf(t, s) == i+1 })
		wantState(t, s, claimOf(string(rune('a'+i))), idempotency.Done)
	}
}

// TestLargeSteps: results of steps are kept the same way, and are there for the
// next attempt; a lease that is extended keeps them.
func TestLargeSteps(t *testing.T) {
	t.Parallel()
	s := opened(t, brokertest.SharedNATS(t).URL, nil)
	c, result := claimOf("a"), bytes.Repeat([]byte("x"), 1_500_000)
	wantState(t, s, c, idempotency.Acquired)
	errs, err := s.Update(t.Context(), []idempotency.Change{
		{Key: c.Key, Token: c.Token, Op: idempotency.Remember, Step: "s", Value: result, Lease: c.Lease, TTL: c.TTL},
	})
	wantNil(t, errors.Join(append(errs, err)...))
	wantNil(t, change(t, s, c, idempotency.Extend))
	s.cache.clear() // as another process
	wantNil(t, change(t, s, c, idempotency.Extend))
	wantNil(t, change(t, s, c, idempotency.Release))
	next := claimOf("a")
	if v := wantState(t, s, next, idempotency.Acquired); !bytes.Equal(v.Steps["s"], result) {
		t.Errorf("a step of %d bytes, want %d", len(v.Steps["s"]), len(result))
	}
	wantNil(t, change(t, s, next, idempotency.Complete))
	eventually(t, func() bool { return keysOf(t, s) == 1 })
}

// TestMissingPart: a record without one of its parts, or with another's bytes, is
// broken.
func TestMissingPart(t *testing.T) {
	t.Parallel()
	s := opened(t, brokertest.SharedNATS(t).URL, nil)
	kv, err := s.bucket.js.KeyValue(t.Context(), s.o.Bucket)
	wantNil(t, err)
	for name, harm := range map[string]func(key string) error{
		"missing": func(key string) error { return kv.Purge(t.Context(), key) },
		"deleted": func(key string) error {
			stream, err := s.bucket.js.Stream(t.Context(), s.bucket.name)
			if err != nil {
				return err
			}
			return stream.Purge(t.Context(), jetstream.WithPurgeSubject(s.subjects.stem+key))
		},
		"changed": func(key string) error { _, err := kv.Put(t.Context(), key, []byte("x")); return err },
	} {
		c := claimOf(name)
		wantState(t, s, c, idempotency.Acquired)
		wantNil(t, change(t, s, c, idempotency.Complete, output("0123456789", 150_000)))
		part := s.cache.get(c.Key).parts.subject(s.subjects.of(&c.Key), 1)
		wantNil(t, harm(part[len(s.subjects.stem):]))
		v := wantState(t, s, claimOf(name), idempotency.Broken)
		if !errors.Is(v.Err, idempotency.ErrUnreadable) {
			t.Errorf("%s: %v, want unreadable", name, v.Err)
		}
	}
}

// TestTooLarge: what is over the bound is refused, names it, and changes nothing;
// neither do its neighbours in the batch suffer.
func TestTooLarge(t *testing.T) {
	t.Parallel()
	s := opened(t, brokertest.SharedNATS(t).URL, func(o *Options) { o.MaxRecord = 100 * value.KiB })
	c, d := claimOf("a"), claimOf("b")
	wantState(t, s, c, idempotency.Acquired)
	wantState(t, s, d, idempotency.Acquired)
	errs, err := s.Update(t.Context(), []idempotency.Change{
		{Key: c.Key, Token: c.Token, Op: idempotency.Complete, TTL: c.TTL, Outputs: []*envelope.Envelope{output("1", 100<<10)}},
		{Key: d.Key, Token: d.Token, Op: idempotency.Complete, TTL: d.TTL},
		{Key: c.Key, Token: c.Token, Op: idempotency.Extend, Lease: c.Lease, TTL: d.TTL},
	})
	wantNil(t, err)
	if !errors.Is(errs[0], envelope.TooLarge) || !strings.Contains(errs[0].Error(), "max_record is 100KiB") || errs[1] != nil || errs[2] != nil {
		t.Errorf("%v, want one that is too large", errs)
	}
	wantState(t, s, claimOf("a"), idempotency.Busy)
	wantState(t, s, claimOf("b"), idempotency.Done)
}

// TestZombiesParts: parts of a write that is refused are removed.
func TestZombiesParts(t *testing.T) {
	t.Parallel()
	s := opened(t, brokertest.SharedNATS(t).URL, nil)
	other := opened(t, brokertest.SharedNATS(t).URL, func(o *Options) { o.Bucket = s.o.Bucket })
	c := claimOf("a")
	wantState(t, s, c, idempotency.Acquired)
	wantNil(t, change(t, other, c, idempotency.Release))
	wantState(t, other, claimOf("a"), idempotency.Acquired)
	if err := change(t, s, c, idempotency.Complete, output("0123456789", 150_000)); !errors.Is(err, idempotency.ErrFenced) {
		t.Errorf("Complete: %v, want fenced", err)
	}
	eventually(t, func() bool { return keysOf(t, s) == 1 })
	wantState(t, s, claimOf("a"), idempotency.Busy)
}

func FuzzParts(f *testing.F) {
	f.Add("0123456789abcdef 3 3000000 00112233445566778899aabbccddeeff")
	f.Add("a 0 0 b")
	f.Add("a.* 1 1 b")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parseParts(text)
		if err != nil || p.isZero() {
			return
		}
		again, err := parseParts(p.String())
		if err != nil || again != p || p.count > mostParts {
			t.Errorf("%q: %+v, read again %+v, %v", text, p, again, err)
		}
	})
}
