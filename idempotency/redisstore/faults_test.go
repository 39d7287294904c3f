package redisstore

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/idempotency"
	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/internal/faultproxy"
)

// TestLostReplies drops the reply to each operation after the server has done it:
// the repeated call answers as the first would have.
func TestLostReplies(t *testing.T) {
	t.Parallel()
	server := brokertest.SharedRedis(t)
	proxy := faultproxy.New(t, faultproxy.Redis, server.Addrs[0])
	s := on(t, client(t, proxy.Addr()))
	begin(t, s, claim("the scripts are loaded"))
	lost := func(what string, call func() error) {
		t.Helper()
		dropped := proxy.DropReply(1, faultproxy.Contains("evalsha"))
		if err := call(); err == nil {
			t.Errorf("%s: a lost reply is a success", what)
		}
		<-dropped
		if err := call(); err != nil {
			t.Errorf("%s, repeated: %v", what, err)
		}
	}
	acquire := func(what string, c idempotency.Claim, attempts, deaths int) {
		t.Helper()
		lost(what, func() error {
			v, err := s.Begin(patience(t), []idempotency.Claim{c})
			if err == nil && (v[0].State != idempotency.Acquired || v[0].Attempts != attempts || v[0].Deaths != deaths) {
				t.Errorf("%s: %+v", what, v[0])
			}
			return err
		})
	}
	alter := func(c idempotency.Change) {
		t.Helper()
		made(t, s, idempotency.Change{Key: c.Key, Op: idempotency.Settle, TTL: ttl}) // loads the script
		lost(c.Op.String(), func() error {
			errs, err := s.Update(patience(t), []idempotency.Change{c})
			return errors.Join(append(errs, err)...)
		})
	}
	c := claim("a")
	acquire("begin", c, 0, 0)
	alter(change(&c, idempotency.Extend))
	remember := change(&c, idempotency.Remember)
	remember.Step, remember.Value = "one", []byte("1")
	alter(remember)
	release := change(&c, idempotency.Release)
	release.Counted = true
	alter(release)
	c.Token = idempotency.NewToken()
	acquire("begin again", c, 1, 0)
	lapse(t, s, &c)
	c.Token = idempotency.NewToken()
	acquire("takeover", c, 1, 1)
	complete := change(&c, idempotency.Complete)
	complete.Outputs = []*envelope.Envelope{output(2 * beside)}
	alter(complete)
	alter(change(&c, idempotency.Settle))
	alter(complete)
	if v := expect(t, s, claim("a"), idempotency.Done); len(v.Outputs) != 0 {
		t.Errorf("%d outputs of a settled record", len(v.Outputs))
	}
	d := claim("b")
	acquire("begin", d, 0, 0)
	fail := change(&d, idempotency.Fail)
	fail.Failure = &idempotency.Failure{Reason: envelope.Rejected, Message: "no", Attempts: 1}
	alter(fail)
	if v := expect(t, s, claim("b"), idempotency.Failed); *v.Failure != *fail.Failure {
		t.Errorf("failure %+v", v.Failure)
	}
}

// lapse lets time pass until the lease of a record is over.
func lapse(tb testing.TB, s *Store, c *idempotency.Claim) {
	tb.Helper()
	if ok, err := s.client.PExpire(tb.Context(), keyOf(s, c.Key), c.TTL-c.Lease-time.Second).Result(); err != nil || !ok {
		tb.Fatalf("PEXPIRE: %v, %v", ok, err)
	}
}

// TestServerThatIsSilent never answers: calls end with their context, whatever ends
// it, and what was sent has happened.
func TestServerThatIsSilent(t *testing.T) {
	t.Parallel()
	server := brokertest.SharedRedis(t)
	proxy := faultproxy.New(t, faultproxy.Bytes, server.Addrs[0])
	for name, o := range map[string]redis.Options{
		"timeouts of the context": {ContextTimeoutEnabled: true},
		"those of the client":     {ReadTimeout: time.Minute},
	} {
		o.Addr = proxy.Addr()
		proxy.Set(faultproxy.Faults{})
		c := redis.NewClient(&o)
		s := New(c, &Options{Prefix: "silent." + name[:1]})
		begin(t, s, claim("before"))
		proxy.Set(faultproxy.Faults{HoldReplies: true})
		deadline, end := context.WithTimeout(t.Context(), 200*time.Millisecond)
		cancelled, cancel := context.WithCancel(t.Context())
		timer := time.AfterFunc(200*time.Millisecond, cancel)
		for _, ctx := range []context.Context{deadline, cancelled} {
			began := time.Now()
			if _, err := s.Begin(ctx, claims("a")); !errors.Is(err, ctx.Err()) || ctx.Err() == nil {
				t.Errorf("%s: %v, want %v", name, err, ctx.Err())
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("%s: it took %v", name, took)
			}
		}
		end()
		timer.Stop()
		cancel()
		brief, end := context.WithTimeout(t.Context(), 10*time.Millisecond)
		if err := s.Close(brief); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		end()
		_ = c.Close() // which ends what is under way
		s.calls.Wait()
	}
}

func TestSlowServer(t *testing.T) {
	t.Parallel()
	proxy := faultproxy.New(t, faultproxy.Redis, brokertest.SharedRedis(t).Addrs[0])
	s := on(t, client(t, proxy.Addr()))
	begin(t, s, claim("the connection is made"))
	proxy.Set(faultproxy.Faults{Latency: 50 * time.Millisecond, Slice: 100})
	began := time.Now()
	list := claims("a", "b", "c", "d", "e", "f", "g", "h", "i", "j")
	for _, v := range begin(t, s, list...) {
		if v.State != idempotency.Acquired {
			t.Errorf("%v", v.State)
		}
	}
	if took := time.Since(began); took < 100*time.Millisecond || took > 10*time.Second {
		t.Errorf("a round trip of 100ms and more took %v", took)
	}
}

// TestOneRoundTrip counts what goes over the wire: one command for a batch.
func TestOneRoundTrip(t *testing.T) {
	t.Parallel()
	s := on(t, client(t, brokertest.Redis(t).Addrs[0]))
	calls := func() (n string) {
		for line := range strings.Lines(s.client.Info(t.Context(), "commandstats").Val()) {
			if rest, ok := strings.CutPrefix(line, "cmdstat_evalsha:"); ok {
				n, _, _ = strings.Cut(rest, ",")
			}
		}
		return n
	}
	begin(t, s, claim("x"))
	before := calls()
	list := fresh(200)
	begin(t, s, list...)
	if after := calls(); before != "calls=1" || after != "calls=2" {
		t.Errorf("evalsha: %s before 200 claims, %s after", before, after)
	}
}

func TestServerThatIsAway(t *testing.T) {
	t.Parallel()
	server := brokertest.Redis(t)
	s := on(t, client(t, server.Addrs[0]))
	c := claim("a")
	begin(t, s, c)
	server.Kill(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_, err := s.Begin(ctx, claims("b"))
	wantError(t, err, "refused")
	_, err = s.Update(ctx, []idempotency.Change{change(&c, idempotency.Complete)})
	wantError(t, err, "record")
	server.Start(t)
	for deadline := patience(t); ; {
		_, err = s.Begin(deadline, claims("b"))
		if err == nil {
			break
		}
		if deadline.Err() != nil {
			t.Fatalf("it does not come back: %v", err)
		}
	}
	expect(t, s, claim("a"), idempotency.Busy)
	made(t, s, change(&c, idempotency.Complete))
	expect(t, s, claim("a"), idempotency.Done)
}

// TestEmptiedServer forgets everything: attempts are fenced, messages are new.
func TestEmptiedServer(t *testing.T) {
	t.Parallel()
	s := on(t, client(t, brokertest.Redis(t).Addrs[0]))
	list := claims("held", "completed")
	begin(t, s, list...)
	complete := change(&list[1], idempotency.Complete)
	complete.Outputs = []*envelope.Envelope{output(10)}
	made(t, s, complete)
	for _, command := range []string{"flushall", "script flush"} {
		var args []any
		for a := range strings.FieldsSeq(command) {
			args = append(args, a)
		}
		if err := s.client.Do(t.Context(), args...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for i, err := range update(t, s, change(&list[0], idempotency.Complete), complete, change(&list[1], idempotency.Settle)) {
		if errors.Is(err, idempotency.ErrFenced) != (i < 2) {
			t.Errorf("change %d: %v", i, err)
		}
	}
	for _, name := range []string{"held", "completed"} {
		expect(t, s, claim(name), idempotency.Acquired)
	}
}

func TestServersThatRefuse(t *testing.T) {
	t.Parallel()
	server := brokertest.Redis(t,
		"user default on nopass ~* &* +@all",
		"user reader on >secret ~* -@all +ping +get +evalsha +eval",
		"user elsewhere on >secret ~other* +@all",
		"user blind on >secret ~* -@all +ping",
		"user enough on >secret ~*aw:* -@all "+Rights)
	admin := client(t, server.Addrs[0])
	as := func(user string) *Store {
		c := redis.NewClient(&redis.Options{Addr: server.Addrs[0], Username: user, Password: "secret", Protocol: 2})
		t.Cleanup(func() { _ = c.Close() })
		return on(t, c)
	}
	held := claim("held")
	refused := func(s *Store, words ...string) {
		t.Helper()
		c := claim("a")
		_, err := s.Begin(patience(t), []idempotency.Claim{c})
		wantError(t, err, append(words, keyOf(s, c.Key))...)
		_, err = s.Update(patience(t), []idempotency.Change{change(&held, idempotency.Complete)})
		wantError(t, err, words...)
	}
	for _, user := range []string{"reader", "elsewhere", "blind"} {
		refused(as(user), "ACL SETUSER", "+setrange")
	}
	lives(t, as("enough"))
	s := on(t, admin)
	begin(t, s, held)
	config := func(name, value string) {
		t.Helper()
		if err := admin.ConfigSet(t.Context(), name, value).Err(); err != nil {
			t.Fatal(err)
		}
	}
	config("maxmemory", "1")
	refused(s, "OOM", "raise it")
	config("maxmemory", "0")
	config("min-replicas-to-write", "1")
	refused(s, "NOREPLICAS", "min-replicas-to-write")
	config("min-replicas-to-write", "0")
	lives(t, s)
	expect(t, s, claim("held"), idempotency.Busy)
	if err := admin.Do(t.Context(), "replicaof", "127.0.0.1", "1").Err(); err != nil {
		t.Fatal(err)
	}
	refused(s, "READONLY", "connect to the master")
}

// lives takes records through all phases, by all commands.
func lives(tb testing.TB, s *Store) {
	tb.Helper()
	list := claims("1", "2", "3")
	begin(tb, s, list...)
	remember, complete, fail := change(&list[0], idempotency.Remember), change(&list[0], idempotency.Complete), change(&list[1], idempotency.Fail)
	extend := change(&list[2], idempotency.Extend)
	extend.Lease *= 2
	complete.Outputs = []*envelope.Envelope{output(2 * beside)}
	fail.Failure = &idempotency.Failure{Reason: "no"}
	made(tb, s, remember, complete, fail, extend)
	expect(tb, s, claim("1"), idempotency.Done)
	expect(tb, s, claim("2"), idempotency.Failed)
	expect(tb, s, claim("3"), idempotency.Busy)
	made(tb, s, change(&list[0], idempotency.Settle), change(&list[2], idempotency.Release))
	expect(tb, s, claim("3"), idempotency.Acquired)
}

func TestNodeOfACluster(t *testing.T) {
	t.Parallel()
	nodes := brokertest.RedisCluster(t)
	s := on(t, client(t, nodes[0].Addrs[0]))
	_, err := s.Begin(patience(t), claims("a", "b", "c", "d", "e"))
	wantError(t, err, "CROSSSLOT", "each bucket")
	_, err = s.Begin(patience(t), claims("a", "b", "c", "d", "e"))
	wantError(t, err, "MOVED", "cluster: true")
	_, err = Open(t.Context(), Options{URL: nodes[0].URL})
	wantError(t, err, "cluster: true", nodes[0].Addrs[0])
}

func TestFailover(t *testing.T) {
	t.Parallel()
	sentinel, master, replica := brokertest.RedisSentinel(t)
	s, err := Open(t.Context(), Options{Sentinel: Sentinel{Master: brokertest.SentinelMaster, Addresses: sentinel.Addrs}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close(context.WithoutCancel(t.Context())) }()
	c := claim("a")
	begin(t, s, c)
	at := client(t, replica.Addrs[0])
	ctx := patience(t)
	for at.Exists(ctx, keyOf(s, c.Key)).Val() == 0 {
		if ctx.Err() != nil {
			t.Fatal("the replica does not get the record")
		}
	}
	master.Kill(t)
	for {
		errs, err := s.Update(ctx, []idempotency.Change{change(&c, idempotency.Complete)})
		if err == nil && errors.Join(errs...) == nil {
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("no failover: %v, %v", errs, err)
		}
	}
	expect(t, s, claim("a"), idempotency.Done)
}

func TestOpenThatCannotBe(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := listener.Addr().String()
	_ = listener.Close()
	server := brokertest.Redis(t, "proto-max-bulk-len 2mb", "user default on >secret ~* &* +@all")
	brief := value.Duration(300 * time.Millisecond)
	for name, c := range map[string]struct {
		o     Options
		words []string
	}{
		"nobody there":       {Options{URL: "redis://me:hidden@" + nobody, ConnectTimeout: brief}, []string{"connect_timeout 300ms", "refused", "***@"}},
		"no password":        {Options{URL: "redis://" + server.Addrs[0]}, []string{"NOAUTH", "set user and password"}},
		"a wrong one":        {Options{URL: "redis://:hidden@" + server.Addrs[0]}, []string{"WRONGPASS"}},
		"less than a record": {Options{URL: "redis://:secret@" + server.Addrs[0]}, []string{"proto-max-bulk-len", "max_record 64MiB"}},
		"options":            {Options{URL: "http://x", MaxRecord: 1, Prefix: "{"}, []string{"redis://", "max_record", "brace"}},
	} {
		s, err := Open(t.Context(), c.o)
		if s != nil {
			t.Errorf("%s: a store", name)
		}
		wantError(t, err, c.words...)
		if err != nil && strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: the error shows a password: %v", name, err)
		}
	}
}
