package natsstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/idempotency"
	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/internal/faultproxy"
)

func output(id string, size int) *envelope.Envelope {
	return &envelope.Envelope{ID: id, Source: "/s", Type: "t", SchemaVersion: 1, Topic: "t", Data: bytes.Repeat([]byte(id), size)}
}

// journal collects what is logged.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

func (j *journal) logger() *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }

func (j *journal) expect(tb testing.TB, texts ...string) {
	tb.Helper()
	for _, text := range texts {
		if !strings.Contains(j.String(), text) {
			tb.Errorf("the log does not say %q:\n%s", text, j)
		}
	}
}

// TestLostConfirmation: the server has written what it was asked to, and its
// answer is lost with the connection. Each change is made once.
func TestLostConfirmation(t *testing.T) {
	t.Parallel()
	proxy := faultproxy.New(t, faultproxy.NATS, brokertest.SharedNATS(t).Addrs[0])
	s := opened(t, "nats://"+proxy.Addr(), nil)
	loses := func(what, name string, f func()) {
		t.Helper()
		c := claimOf(name)
		dropped := proxy.DropReply(1, faultproxy.Contains(s.subjects.of(&c.Key)))
		f()
		select {
		case <-dropped:
		default:
			t.Errorf("%s: no reply was lost", what)
		}
	}
	c := claimOf("a")
	loses("begin", "a", func() { wantState(t, s, c, idempotency.Acquired) })
	wantState(t, s, claimOf("a"), idempotency.Busy)
	loses("extend", "a", func() { wantNil(t, change(t, s, c, idempotency.Extend)) })
	loses("complete", "a", func() { wantNil(t, change(t, s, c, idempotency.Complete, output("1", 10))) })
	if v := wantState(t, s, claimOf("a"), idempotency.Done); len(v.Outputs) != 1 {
		t.Errorf("%+v, want one output", v)
	}
	loses("settle", "a", func() { wantNil(t, change(t, s, c, idempotency.Settle)) })
	if v := wantState(t, s, claimOf("a"), idempotency.Done); len(v.Outputs) != 0 {
		t.Errorf("%+v, want no output", v)
	}

	if v := release(t, s, "b", loses); v.Attempts != 1 {
		t.Errorf("%+v, want one attempt", v)
	}
}

// release counts an attempt whose confirmation is lost.
func release(t *testing.T, s *Store, name string, loses func(string, string, func())) idempotency.Verdict {
	t.Helper()
	c := claimOf(name)
	wantState(t, s, c, idempotency.Acquired)
	loses("release", name, func() {
		errs, err := s.Update(t.Context(), []idempotency.Change{{Key: c.Key, Token: c.Token, Op: idempotency.Release, Counted: true, TTL: c.TTL}})
		wantNil(t, errors.Join(append(errs, err)...))
	})
	return wantState(t, s, claimOf(name), idempotency.Acquired)
}

func wantNil(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// TestLostWithinBatch: the answers behind the lost one are lost, too.
func TestLostWithinBatch(t *testing.T) {
	t.Parallel()
	proxy := faultproxy.New(t, faultproxy.NATS, brokertest.SharedNATS(t).Addrs[0])
	s := opened(t, "nats://"+proxy.Addr(), nil)
	claims := make([]idempotency.Claim, 100)
	for i := range claims {
		claims[i] = claimOf(fmt.Sprint(i))
	}
	dropped := proxy.DropReply(50, faultproxy.Contains("$KV."+s.o.Bucket))
	verdicts, err := s.Begin(t.Context(), claims)
	wantNil(t, err)
	<-dropped
	for i, v := range verdicts {
		if v.State != idempotency.Acquired || v.Deaths != 0 {
			t.Errorf("claim %d: %+v, want it acquired without a death", i, v)
		}
	}
}

// TestSilence: while no answer comes, a call ends with its ctx, and says why; the
// same call later has what it asked for.
func TestSilence(t *testing.T) {
	t.Parallel()
	proxy := faultproxy.New(t, faultproxy.NATS, brokertest.SharedNATS(t).Addrs[0])
	s := opened(t, "nats://"+proxy.Addr(), nil)
	proxy.Set(faultproxy.Faults{HoldReplies: true})
	c := claimOf("a")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := s.Begin(ctx, []idempotency.Claim{c}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Begin: %v, want the end of its time", err)
	}
	time.AfterFunc(patience+500*time.Millisecond, func() { proxy.Set(faultproxy.Faults{}) })
	wantState(t, s, c, idempotency.Acquired) // over an answer that counts as lost
	wantNil(t, change(t, s, c, idempotency.Complete))
}

// TestServerDown: calls end with their ctx; once the server is back they go on.
func TestServerDown(t *testing.T) {
	t.Parallel()
	server := brokertest.NATS(t)
	s := opened(t, server.URL, nil)
	c := claimOf("a")
	wantState(t, s, c, idempotency.Acquired)
	server.Kill(t)
	for range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		_, err := s.Update(ctx, []idempotency.Change{{Key: c.Key, Token: c.Token, Op: idempotency.Complete, TTL: c.TTL}})
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, errDisconnected) && !errors.Is(err, errLost) {
			t.Errorf("Update: %v, want the end of its time and why", err)
		}
	}
	waits := make(chan error)
	go func() {
		_, err := s.Update(t.Context(), []idempotency.Change{{Key: c.Key, Token: c.Token, Op: idempotency.Complete, TTL: c.TTL}})
		waits <- err
	}()
	server.Start(t)
	wantNil(t, <-waits)
	wantState(t, s, claimOf("a"), idempotency.Done)
}

// TestOpenWithoutServer: it says where, and within its time.
func TestOpenWithoutServer(t *testing.T) {
	t.Parallel()
	_, err := Open(t.Context(), Options{URL: "nats://user:secret@127.0.0.1:1", ConnectTimeout: 300_000_000})
	if err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") || strings.Contains(err.Error(), "secret") ||
		!strings.Contains(err.Error(), "connect_timeout") {
		t.Errorf("%v, want the address and the limit, and no password", err)
	}
}

// TestBucketDeleted: it is made anew with an alarm. What was begun is fenced, also
// when another process has begun it in the new bucket: revisions do not repeat.
func TestBucketDeleted(t *testing.T) {
	t.Parallel()
	var log journal
	s := opened(t, brokertest.SharedNATS(t).URL, func(o *Options) { o.Logger = log.logger() })
	other := opened(t, brokertest.SharedNATS(t).URL, func(o *Options) { o.Bucket = s.o.Bucket })
	c := claimOf("a")
	wantState(t, s, c, idempotency.Acquired)
	wantNil(t, s.bucket.js.DeleteStream(t.Context(), s.bucket.name))
	if err := change(t, s, c, idempotency.Complete); !errors.Is(err, idempotency.ErrFenced) {
		t.Errorf("Complete: %v, want fenced", err)
	}
	log.expect(t, "made anew", s.o.Bucket, "is gone while its message is being handled")

	wantState(t, other, claimOf("b"), idempotency.Acquired)
	c = claimOf("b")
	wantState(t, s, c, idempotency.Busy)
	revision := s.cache.get(c.Key).revision
	wantNil(t, s.bucket.js.DeleteStream(t.Context(), s.bucket.name))
	wantState(t, other, c, idempotency.Acquired)
	if now := other.cache.get(c.Key).revision; now <= revision {
		t.Errorf("revision %d in the new bucket, and %d in the old", now, revision)
	}
}

// TestEmptied: what was begun is fenced, and said; messages are new again.
func TestEmptied(t *testing.T) {
	t.Parallel()
	var log journal
	s := opened(t, brokertest.SharedNATS(t).URL, func(o *Options) { o.Logger = log.logger() })
	c, d := claimOf("a"), claimOf("b")
	wantState(t, s, c, idempotency.Acquired)
	wantState(t, s, d, idempotency.Acquired)
	wantNil(t, change(t, s, d, idempotency.Complete))
	stream, err := s.bucket.js.Stream(t.Context(), s.bucket.name)
	wantNil(t, err)
	wantNil(t, stream.Purge(t.Context()))
	if err := change(t, s, c, idempotency.Extend); !errors.Is(err, idempotency.ErrFenced) {
		t.Errorf("Extend: %v, want fenced", err)
	}
	log.expect(t, "is gone while its message is being handled")
	wantState(t, s, claimOf("a"), idempotency.Acquired)
	wantState(t, s, claimOf("b"), idempotency.Acquired)
}

// TestDeletedByHand: a key that a KV client deletes is one without a record.
func TestDeletedByHand(t *testing.T) {
	t.Parallel()
	s := opened(t, brokertest.SharedNATS(t).URL, nil)
	kv, err := s.bucket.js.KeyValue(t.Context(), s.o.Bucket)
	wantNil(t, err)
	for name, remove := range map[string]func(ctx context.Context, key string, opts ...jetstream.KVDeleteOpt) error{
		"delete": kv.Delete, "purge": kv.Purge,
	} {
		c := claimOf(name)
		wantState(t, s, c, idempotency.Acquired)
		wantNil(t, change(t, s, c, idempotency.Complete))
		wantNil(t, remove(t.Context(), s.subjects.of(&c.Key)[len(s.subjects.stem):]))
		again := claimOf(name)
		wantState(t, s, again, idempotency.Acquired)
		wantNil(t, change(t, s, again, idempotency.Complete))
		wantState(t, s, claimOf(name), idempotency.Done)
	}
}

// TestRights: what a user may not do is the error of the call that needs it, soon.
func TestRights(t *testing.T) {
	t.Parallel()
	server := brokertest.NATS(t, `authorization { users: [
		{ user: all, password: p }
		{ user: reader, password: p, permissions: { publish: { allow: ["$JS.API.STREAM.INFO.>", "$JS.API.DIRECT.GET.>"] } } }
	] }`)
	as := func(user string) func(*Options) {
		return func(o *Options) { o.User, o.Password, o.Bucket = user, value.NewSecret("p"), "rights" }
	}
	start := time.Now()
	o := Options{URL: server.URL}
	as("reader")(&o)
	if _, err := Open(t.Context(), o); err == nil || !strings.Contains(err.Error(), "$JS.API.STREAM.CREATE") {
		t.Errorf("Open without a bucket: %v, want the subject that is forbidden", err)
	}
	writer := opened(t, server.URL, as("all"))
	wantState(t, writer, claimOf("held"), idempotency.Acquired)
	s := opened(t, server.URL, as("reader"))
	c := claimOf("a")
	if _, err := s.Begin(t.Context(), []idempotency.Claim{c}); err == nil || !strings.Contains(err.Error(), s.subjects.of(&c.Key)) {
		t.Errorf("Begin: %v, want the subject that is forbidden", err)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
}

// TestFull: a bucket that is full is an error of the call, and what it holds goes
// on.
func TestFull(t *testing.T) {
	t.Parallel()
	s := opened(t, brokertest.SharedNATS(t).URL, nil)
	stream, err := s.bucket.js.Stream(t.Context(), s.bucket.name)
	wantNil(t, err)
	cfg := stream.CachedInfo().Config
	cfg.MaxBytes = 64 << 10
	_, err = s.bucket.js.UpdateStream(t.Context(), cfg)
	wantNil(t, err)
	c := claimOf("a")
	wantState(t, s, c, idempotency.Acquired)
	_, err = s.Update(t.Context(), []idempotency.Change{
		{Key: c.Key, Token: c.Token, Op: idempotency.Complete, TTL: c.TTL, Outputs: []*envelope.Envelope{output("1", 100_000)}},
	})
	if err == nil || !strings.Contains(err.Error(), "maximum bytes exceeded") {
		t.Errorf("Complete: %v, want that there is no room", err)
	}
	wantNil(t, change(t, s, c, idempotency.Complete))
}

// TestClosed: calls end, and later ones fail.
func TestClosed(t *testing.T) {
	t.Parallel()
	proxy := faultproxy.New(t, faultproxy.NATS, brokertest.SharedNATS(t).Addrs[0])
	s := opened(t, "nats://"+proxy.Addr(), nil)
	wantState(t, s, claimOf("a"), idempotency.Acquired)
	proxy.Set(faultproxy.Faults{HoldReplies: true})
	waits := make(chan error)
	go func() {
		_, err := s.Begin(t.Context(), []idempotency.Claim{claimOf("b")})
		waits <- err
	}()
	eventually(t, func() bool { s.wire.mu.Lock(); defer s.wire.mu.Unlock(); return len(s.wire.calls) == 1 })
	wantNil(t, s.Close(t.Context()))
	if err := <-waits; !errors.Is(err, errClosed) {
		t.Errorf("a call under way: %v, want closed", err)
	}
	if _, err := s.Begin(t.Context(), []idempotency.Claim{claimOf("c")}); !errors.Is(err, errClosed) {
		t.Errorf("a call later: %v, want closed", err)
	}
	wantNil(t, s.Close(t.Context()))
}

func eventually(tb testing.TB, ok func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			tb.Fatal("it did not happen in time")
		}
		pause(tb.Context(), time.Millisecond)
	}
}

// TestNoAnswer: an answer that does not come, though the connection is there,
// counts as lost.
func TestNoAnswer(t *testing.T) {
	t.Parallel()
	s := opened(t, brokertest.SharedNATS(t).URL, nil)
	_, err := s.nc.SubscribeSync("silent." + s.o.Bucket)
	wantNil(t, err)
	requests := []request{{subject: "silent." + s.o.Bucket}, s.get("nothing")}
	ctx, cancel := context.WithTimeout(t.Context(), 10*patience)
	defer cancel()
	s.wire.exchange(ctx, requests)
	if err := requests[0].err; !errors.Is(err, errLost) || !errors.Is(err, errNoAnswer) {
		t.Errorf("%v, want that no answer came", err)
	}
	if requests[1].reply == nil {
		t.Errorf("%v, want the other answer", requests[1].err)
	}
}

// TestOutdated: what a store remembers of a record that others have changed since
// does not decide.
func TestOutdated(t *testing.T) {
	t.Parallel()
	s := opened(t, brokertest.SharedNATS(t).URL, nil)
	other := opened(t, brokertest.SharedNATS(t).URL, func(o *Options) { o.Bucket = s.o.Bucket })
	first, second := claimOf("a"), claimOf("a")
	wantState(t, other, first, idempotency.Acquired)
	wantState(t, s, claimOf("a"), idempotency.Busy)
	wantNil(t, change(t, other, first, idempotency.Release))
	wantState(t, other, second, idempotency.Acquired)
	wantNil(t, change(t, s, second, idempotency.Extend)) // s remembers another token

	wantNil(t, change(t, other, second, idempotency.Complete, output("1", 10)))
	wantNil(t, change(t, s, claimOf("a"), idempotency.Settle)) // s remembers it in progress
	if v := wantState(t, other, claimOf("a"), idempotency.Done); len(v.Outputs) > 0 {
		t.Errorf("%+v, want it settled", v)
	}
}
