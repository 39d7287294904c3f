package redisstore

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/idempotency"
	"github.com/anywire/anywire/internal/brokertest"
)

func TestLargeOutputsStandBeside(t *testing.T) {
	t.Parallel()
	s := shared(t)
	for name, c := range map[string]struct {
		size int
		keys int64
	}{"small": {beside / 2, 1}, "large": {2 * beside, 2}} {
		cl := claim(name)
		begin(t, s, cl)
		complete := change(&cl, idempotency.Complete)
		complete.Outputs = []*envelope.Envelope{output(c.size)}
		made(t, s, complete)
		key := keyOf(s, cl.Key)
		if n := s.client.Exists(t.Context(), key, key+":o").Val(); n != c.keys {
			t.Errorf("%s: %d keys, want %d", name, n, c.keys)
		}
		if n := s.client.StrLen(t.Context(), key).Val(); c.keys == 2 && n != headerSize {
			t.Errorf("%s: the record has %d bytes", name, n)
		}
		for k := range c.keys {
			if left := s.client.PTTL(t.Context(), key+[]string{"", ":o"}[k]).Val(); left > ttl || left < ttl-time.Minute {
				t.Errorf("%s: key %d lives for %v, want %v", name, k, left, ttl)
			}
		}
		v := expect(t, s, claim(name), idempotency.Done)
		if len(v.Outputs) != 1 || len(v.Outputs[0].Data) != c.size {
			t.Errorf("%s: other outputs", name)
		}
		if c.keys == 2 {
			s.client.Rename(t.Context(), key+":o", s.o.Prefix+"away")
			broken := expect(t, s, claim(name), idempotency.Broken)
			wantError(t, broken.Err, key, "are gone")
			s.client.Rename(t.Context(), s.o.Prefix+"away", key+":o")
		}
		made(t, s, change(&cl, idempotency.Settle))
		if n := s.client.Exists(t.Context(), key, key+":o").Val(); n != 1 {
			t.Errorf("%s: %d keys of a settled record", name, n)
		}
	}
}

func TestTooLarge(t *testing.T) {
	t.Parallel()
	c := client(t, brokertest.SharedRedis(t).Addrs[0])
	s := New(c, &Options{Prefix: "toolarge.", MaxRecord: 100 * value.KiB})
	list := claims("a"+s.o.Prefix+time.Now().String(), "b"+time.Now().String())
	begin(t, s, list...)
	complete, step, other := change(&list[0], idempotency.Complete), change(&list[0], idempotency.Remember), change(&list[1], idempotency.Complete)
	complete.Outputs = []*envelope.Envelope{output(101 << 10)}
	step.Step, step.Value = "half", make([]byte, 60<<10)
	again := step
	again.Step = "other half"
	errs := update(t, s, complete, step, again, other)
	for i, large := range []bool{true, false, true, false} {
		if errors.Is(errs[i], envelope.TooLarge) != large || (errs[i] == nil) == large {
			t.Errorf("change %d: %v", i, errs[i])
		}
	}
	size := len(idempotency.MarshalOutputs(complete.Outputs))
	wantError(t, errs[0], "max_record", "100KiB", fmt.Sprintf("%d bytes", headerSize+size))
	wantError(t, errs[2], "remember", "max_record", "100KiB")
	complete.Outputs = nil
	made(t, s, complete)
}

// TestPermanentRecord was made so by hand: its lease begins anew, and ends.
func TestPermanentRecord(t *testing.T) {
	t.Parallel()
	s := shared(t)
	c := claim("a")
	begin(t, s, c)
	if err := s.client.Persist(t.Context(), keyOf(s, c.Key)).Err(); err != nil {
		t.Fatal(err)
	}
	if v := expect(t, s, claim("a"), idempotency.Busy); v.Until != lease {
		t.Errorf("busy until %v, want %v", v.Until, lease)
	}
	if left := s.client.PTTL(t.Context(), keyOf(s, c.Key)).Val(); left <= 0 || left > ttl {
		t.Errorf("it lives for %v", left)
	}
	lapse(t, s, &c)
	expect(t, s, claim("a"), idempotency.Acquired)
}

// TestWhatIsNoRecord stands under a record's key: it is told, and stays as it is.
func TestWhatIsNoRecord(t *testing.T) {
	t.Parallel()
	s := shared(t)
	ctx := t.Context()
	for name, put := range map[string]func(key string) error{
		"a list":          func(key string) error { return s.client.LPush(ctx, key, "x").Err() },
		"another version": func(key string) error { return s.client.Set(ctx, key, "\x02"+strings.Repeat("x", 100), 0).Err() },
		"nothing":         func(key string) error { return s.client.Set(ctx, key, "", 0).Err() },
		"one byte":        func(key string) error { return s.client.Set(ctx, key, "\x01", 0).Err() },
		"a text":          func(key string) error { return s.client.Set(ctx, key, strings.Repeat("x", 200), 0).Err() },
	} {
		c := claim(name)
		key := keyOf(s, c.Key)
		if err := put(key); err != nil {
			t.Fatal(err)
		}
		before := s.client.Dump(ctx, key).Val()
		verdicts := begin(t, s, c, claim("beside "+name))
		if v := verdicts[0]; v.State != idempotency.Broken || !errors.Is(v.Err, idempotency.ErrUnreadable) {
			t.Errorf("%s: %v, %v", name, v.State, v.Err)
		}
		wantError(t, verdicts[0].Err, key)
		if verdicts[1].State != idempotency.Acquired {
			t.Errorf("its neighbour: %v", verdicts[1].State)
		}
		for _, op := range []idempotency.Op{idempotency.Extend, idempotency.Remember, idempotency.Complete, idempotency.Release} {
			if err := update(t, s, change(&c, op))[0]; !errors.Is(err, idempotency.ErrFenced) {
				t.Errorf("%s: %v: %v", name, op, err)
			}
		}
		if after := s.client.Dump(ctx, key).Val(); after != before {
			t.Errorf("%s is changed", name)
		}
	}
}

// TestDamagedRecords changes, adds and removes bytes: whatever comes of it, it is an
// answer to this record, and none to the batch.
func TestDamagedRecords(t *testing.T) {
	t.Parallel()
	s := shared(t)
	ctx, rnd := t.Context(), rand.New(rand.NewPCG(1, 2))
	states := map[idempotency.State]int{}
	for range 400 {
		c := claim("a")
		key := keyOf(s, c.Key)
		s.client.Del(ctx, key)
		begin(t, s, c)
		reach(t, s, &c, rnd.IntN(6))
		v := []byte(s.client.Get(ctx, key).Val())
		switch rnd.IntN(3) {
		case 0:
			v[rnd.IntN(len(v))] ^= 1 << rnd.IntN(8)
		case 1:
			v = v[:rnd.IntN(len(v))]
		default:
			v = append(v, byte(rnd.IntN(256)))
		}
		if err := s.client.Set(ctx, key, v, ttl).Err(); err != nil {
			t.Fatal(err)
		}
		other := claim("a")
		other.Redrive = 1
		got := begin(t, s, other)[0]
		states[got.State]++
		if got.State == idempotency.Broken && !errors.Is(got.Err, idempotency.ErrUnreadable) {
			t.Errorf("broken: %v", got.Err)
		}
		for op := idempotency.Extend; op <= idempotency.Fail; op++ {
			ch := change(&c, op)
			ch.Failure = &idempotency.Failure{}
			update(t, s, ch)
		}
	}
	if states[idempotency.Broken] < 50 || len(states) < 4 {
		t.Errorf("answers %v: that is no damage", states)
	}
}

// reach takes a record in progress to one of its phases.
func reach(tb testing.TB, s *Store, c *idempotency.Claim, phase int) {
	tb.Helper()
	step, complete, fail := change(c, idempotency.Remember), change(c, idempotency.Complete), change(c, idempotency.Fail)
	step.Step, step.Value = "one", []byte("result")
	complete.Outputs = []*envelope.Envelope{output(10)}
	fail.Failure = &idempotency.Failure{Reason: envelope.Rejected, Message: "no", Attempts: 3}
	made(tb, s, step)
	switch phase {
	case 1:
		made(tb, s, change(c, idempotency.Release))
	case 2:
		made(tb, s, complete)
	case 3:
		complete.Outputs = nil
		made(tb, s, complete)
	case 4:
		made(tb, s, fail)
	case 5:
		lapse(tb, s, c)
	}
}

func TestBatchesOfAllSorts(t *testing.T) {
	t.Parallel()
	for _, split := range []bool{false, true} {
		s := shared(t)
		s.split.Store(split)
		list := fresh(3 * mostItems) // more than one script takes
		for i := range list {
			list[i].Key.Scope = []string{"a/b", "c/d", "{x}/ }\n%"}[i%3]
			list[i].TTL = time.Duration(1+i%2) * time.Hour
		}
		list = append(list, list[0], list[1]) // once more: with the same token, and with another
		list[len(list)-1].Token = idempotency.NewToken()
		verdicts := begin(t, s, list...)
		for i, v := range verdicts {
			if want := i != len(list)-1; (v.State == idempotency.Acquired) != want || !want && v.State != idempotency.Busy {
				t.Fatalf("claim %d: %v", i, v.State)
			}
		}
		var changes []idempotency.Change
		for i := range list[:len(list)-2] {
			ch := change(&list[i], idempotency.Op(1+i%6))
			ch.Failure, ch.Outputs = &idempotency.Failure{}, []*envelope.Envelope{output(100)}
			changes = append(changes, ch, change(&list[i], idempotency.Settle))
		}
		changes = append(changes, idempotency.Change{Key: list[0].Key, Op: idempotency.Release}, idempotency.Change{Op: 77})
		errs := update(t, s, changes...)
		for i, err := range errs {
			if (err == nil) != (i < len(changes)-2) {
				t.Fatalf("change %d, %v: %v", i, changes[i].Op, err)
			}
		}
		if !errors.Is(errs[len(errs)-2], idempotency.ErrFenced) {
			t.Errorf("a change without a token: %v", errs[len(errs)-2])
		}
		wantError(t, errs[len(errs)-1], "77")
		if none, err := s.Begin(t.Context(), nil); len(none) != 0 || err != nil {
			t.Error(none, err)
		}
		if none, err := s.Update(t.Context(), nil); len(none) != 0 || err != nil {
			t.Error(none, err)
		}
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	s := New(redis.NewClient(&redis.Options{}), &Options{Prefix: "p."})
	defer func() { _ = s.client.Close() }()
	for scope, want := range map[string]string{
		"sys/group": "p.aw:{sys/group/7}:", "}{": "p.aw:{%7D%7B/7}:", "ü %\n": "p.aw:{ü%20%25%0A/7}:",
	} {
		if got := s.tag(scope, 7); got != want {
			t.Errorf("%q: %q, want %q", scope, got, want)
		}
	}
	key := keyOf(s, idempotency.Key{Scope: "sys/group", Hash: [32]byte{0: 65, 31: 1}})
	if key != "p.aw:{sys/group/1}:QQAAAAAAAAAAAAAAAAAA" {
		t.Errorf("%q", key)
	}
}

func TestKind(t *testing.T) {
	t.Parallel()
	server := brokertest.SharedRedis(t)
	k := Kind()
	if k.KindName() != "redis" {
		t.Errorf("%q", k.KindName())
	}
	if s, err := k.OpenOn(t.Context(), "no client", idempotency.Shared{}); s != nil || err != nil {
		t.Errorf("%v, %v", s, err)
	}
	c := client(t, server.Addrs[0])
	shared := idempotency.Shared{Prefix: "kind."}
	one, err := k.OpenOn(t.Context(), c, shared)
	if err != nil {
		t.Fatal(err)
	}
	two, err := k.OpenStore(t.Context(), Options{URL: server.URL}, shared)
	if err != nil {
		t.Fatal(err)
	}
	cl := claim(time.Now().String())
	for i, s := range []idempotency.Store{one, two} {
		cl.Token = idempotency.NewToken()
		v, err := s.Begin(patience(t), []idempotency.Claim{cl})
		if want := []idempotency.State{idempotency.Acquired, idempotency.Busy}[i]; err != nil || v[0].State != want {
			t.Errorf("%v, %v, want %v", v, err, want)
		}
		if err := s.(idempotency.Closer).Close(t.Context()); err != nil {
			t.Error(err)
		}
		if _, err := s.Begin(t.Context(), []idempotency.Claim{cl}); err == nil {
			t.Error("a closed store answers")
		}
	}
	if err := c.Ping(t.Context()).Err(); err != nil {
		t.Errorf("the caller's client: %v", err)
	}
	if _, err := k.OpenOn(t.Context(), c, idempotency.Shared{Prefix: "{"}); err == nil {
		t.Error("a wrong prefix is taken")
	}
}

func TestClientsThatCannotBe(t *testing.T) {
	t.Parallel()
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": "127.0.0.1:1"}})
	defer func() { _ = ring.Close() }()
	for _, s := range []*Store{New(ring, nil), New(nil, nil), New((*redis.Client)(nil), nil), New(nil, &Options{Prefix: "}"})} {
		_, err := s.Begin(t.Context(), claims("a"))
		wantError(t, err, "options of a Redis store")
		_, err = s.Update(t.Context(), []idempotency.Change{{Op: idempotency.Settle}})
		wantError(t, err, "options of a Redis store")
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestServerThatForgets(t *testing.T) {
	t.Parallel()
	server := brokertest.Redis(t, "maxmemory-policy volatile-lru")
	var log bytes.Buffer
	s, err := Open(t.Context(), Options{URL: server.URL, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "forgets records") || !strings.Contains(log.String(), "noeviction") {
		t.Errorf("log %q", log.String())
	}
}

func TestHints(t *testing.T) {
	t.Parallel()
	for _, h := range hints() {
		if err := explain(answer(h.prefix + " and so on")); !strings.HasSuffix(err.Error(), h.text) {
			t.Errorf("%v", err)
		}
	}
	plain := errors.New("READONLY, says nobody")
	if got := explain(plain); got != plain { //nolint:errorlint // the very same
		t.Errorf("%v", got)
	}
}

type answer string

func (a answer) Error() string { return string(a) }
func (answer) RedisError()     {}

// FuzzAnswers reads whatever a server may say.
func FuzzAnswers(f *testing.F) {
	var w writer
	w.number(1, 4)
	w.number(2, 4)
	w.number(3, 4)
	w.text("step")
	w.text("result")
	for _, seed := range []string{"", "A" + w.String(), "B12", "D12345678", "D12345678\x01\x00", "Mfingerprint", "F", "Edamaged", "x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var v idempotency.Verdict
		err := decide(&v, "key", text)
		if err == nil && (v.State < idempotency.Acquired || v.State > idempotency.Broken) {
			t.Errorf("%+v", v)
		}
		if v.State == idempotency.Broken && !errors.Is(v.Err, idempotency.ErrUnreadable) {
			t.Errorf("%v", v.Err)
		}
		if err == nil && !slices.Contains([]byte("ABDMFE"), text[0]) {
			t.Errorf("%q is an answer", text)
		}
	})
}
