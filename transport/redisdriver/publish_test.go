package redisdriver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/internal/faultproxy"
	"github.com/anywire/anywire/transport/driver"
)

// behind opens a driver whose connections go through a proxy.
func behind(tb testing.TB, server *brokertest.Server, change func(*Options)) (*Driver, *faultproxy.Proxy) {
	tb.Helper()
	proxy := faultproxy.New(tb, faultproxy.Redis, server.Addrs[0])
	d, _ := open(tb, "redis://"+proxy.Addr()+"/0", change)
	return d, proxy
}

// direct is a client without a proxy.
func direct(tb testing.TB, server *brokertest.Server) *redis.Client {
	tb.Helper()
	o, err := redis.ParseURL(server.URL)
	if err != nil {
		tb.Fatal(err)
	}
	client := redis.NewClient(o)
	tb.Cleanup(func() { _ = client.Close() })
	return client
}

// length is how many entries a stream has.
func length(tb testing.TB, client redis.UniversalClient, stream string) int {
	tb.Helper()
	n, err := client.XLen(context.WithoutCancel(tb.Context()), stream).Result()
	if err != nil {
		tb.Fatal(err)
	}
	return int(n)
}

// eventually waits until ok.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	ctx := patience(tb)
	for !ok() {
		if !pause(ctx, 5*time.Millisecond) {
			tb.Fatalf("%s: not in time", what)
		}
	}
}

// start calls Publish beside the test.
func start(ctx context.Context, d *Driver, topic string, msgs ...*driver.Message) <-chan error {
	done := make(chan error, 1)
	go func() { done <- d.Publish(ctx, topic, msgs) }()
	return done
}

func wait(tb testing.TB, done <-chan error) error {
	tb.Helper()
	select {
	case err := <-done:
		return err
	case <-patience(tb).Done():
		tb.Fatal("a call does not return")
		return nil
	}
}

// pipelines counts what a client sends together.
type pipelines struct{ n atomic.Int64 }

func (p *pipelines) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (p *pipelines) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (p *pipelines) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		p.n.Add(1)
		return next(ctx, cmds)
	}
}

func TestConcurrentPublishersShareAPipeline(t *testing.T) {
	t.Parallel()
	const publishers, each = 256, 4
	server := brokertest.SharedRedis(t)
	proxy := faultproxy.New(t, faultproxy.Redis, server.Addrs[0])
	client := redis.NewClient(&redis.Options{Addr: proxy.Addr()})
	defer func() { _ = client.Close() }()
	var sent pipelines
	client.AddHook(&sent)
	d := New(client, nil)
	defer func() { _ = d.Close(context.WithoutCancel(t.Context())) }()
	topic := unique(t)
	publish(t, d, topic, "first")
	proxy.Set(faultproxy.Faults{Latency: 5 * time.Millisecond})
	before := sent.n.Load()
	var group sync.WaitGroup
	for range publishers {
		group.Go(func() {
			for range each {
				if err := d.Publish(t.Context(), topic, texts("x")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if n := length(t, direct(t, server), topic); n != publishers*each+1 {
		t.Errorf("%d messages are stored, want %d", n, publishers*each+1)
	}
	if n := sent.n.Load() - before; n > publishers*each/4 {
		t.Errorf("%d pipelines for %d messages", n, publishers*each)
	}
}

func TestLostReplyDoublesNothing(t *testing.T) {
	t.Parallel()
	server := brokertest.SharedRedis(t)
	for name, c := range map[string]struct {
		msgs []*driver.Message
		trap string
		nth  int
	}{
		"one":     {keyed("a"), "xadd", 1},
		"batch":   {keyed("a", "b", "c", "d", "e"), "xadd", 3},
		"ordered": {keyed("a", "a", "a", "b"), "exec", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, proxy := behind(t, server, nil)
			topic := unique(t)
			if _, err := d.EnsureTopic(t.Context(), driver.Topic{Name: topic}); err != nil {
				t.Fatal(err)
			}
			dropped := proxy.DropReply(c.nth, faultproxy.Contains(c.trap))
			err := d.Publish(patience(t), topic, c.msgs)
			<-dropped
			if err == nil || !strings.Contains(err.Error(), "may be stored") {
				t.Errorf("Publish: %v, want that nobody knows", err)
			}
			var failed driver.BatchError
			if len(c.msgs) > 1 && !errors.As(err, &failed) {
				t.Errorf("Publish: %T, want a BatchError", err)
			}
			for i := range failed {
				if c.trap == "xadd" && i < 0 || i >= len(c.msgs) {
					t.Errorf("message %d failed", i)
				}
			}
			publish(t, d, topic, "after")
			if n := length(t, d.client, topic); n != len(c.msgs)+1 {
				t.Errorf("%d messages are stored, want %d", n, len(c.msgs)+1)
			}
		})
	}
}

// keyed are messages with these keys.
func keyed(keys ...string) []*driver.Message {
	msgs := make([]*driver.Message, 0, len(keys))
	for i, key := range keys {
		msgs = append(msgs, &driver.Message{Key: key, Body: []byte(strconv.Itoa(i))})
	}
	return msgs
}

func TestBrokenRequestStoresNothing(t *testing.T) {
	t.Parallel()
	d, proxy := behind(t, brokertest.SharedRedis(t), nil)
	topic := unique(t)
	publish(t, d, topic, "before")
	broken := proxy.BreakRequest(1, faultproxy.Contains("xadd"))
	if err := d.Publish(patience(t), topic, keyed("a", "a")); err == nil {
		t.Error("Publish over a broken connection succeeded")
	}
	<-broken
	publish(t, d, topic, "after")
	if n := length(t, d.client, topic); n != 2 {
		t.Errorf("%d messages are stored, want 2", n)
	}
}

// TestCallersLeave lets one caller leave while its message is under way, and one
// while it is in the queue.
func TestCallersLeave(t *testing.T) {
	t.Parallel()
	server := brokertest.SharedRedis(t)
	d, proxy := behind(t, server, nil)
	client, topic := direct(t, server), unique(t)
	publish(t, d, topic, "before")
	proxy.Set(faultproxy.Faults{HoldReplies: true})
	var stuck []<-chan error
	for i := range mostFlushers {
		stuck = append(stuck, start(t.Context(), d, topic, texts("under way")...))
		eventually(t, "the message is under way", func() bool {
			d.pub.mu.Lock()
			defer d.pub.mu.Unlock()
			return d.pub.pending == i+1 && len(d.pub.queue) == 0
		})
	}
	leaving, cancel := context.WithCancel(t.Context())
	queued, first := start(leaving, d, topic, texts("never sent")...), make(chan error, 1)
	go func() { first <- d.Publish(leaving, topic, texts("never sent", "either")) }()
	eventually(t, "the messages are queued", func() bool {
		d.pub.mu.Lock()
		defer d.pub.mu.Unlock()
		return len(d.pub.queue) == 2
	})
	cancel()
	for _, done := range []<-chan error{queued, first} {
		if err := wait(t, done); !errors.Is(err, context.Canceled) {
			t.Errorf("Publish: %v, want context.Canceled", err)
		}
	}
	proxy.Set(faultproxy.Faults{})
	for _, done := range stuck {
		if err := wait(t, done); err != nil {
			t.Errorf("a message that was under way: %v", err)
		}
	}
	publish(t, d, topic, "after")
	if n := length(t, client, topic); n != mostFlushers+2 {
		t.Errorf("%d messages are stored, want %d: what was queued is not sent", n, mostFlushers+2)
	}
}

func TestFullQueueWaitsForRoom(t *testing.T) {
	t.Parallel()
	d, proxy := behind(t, brokertest.SharedRedis(t), func(o *Options) { o.MaxPending = 2 })
	topic := unique(t)
	publish(t, d, topic, "before")
	proxy.Set(faultproxy.Faults{HoldReplies: true})
	held := start(t.Context(), d, topic, keyed("a", "b")...)
	room := func(n int) func() bool {
		return func() bool {
			d.pub.mu.Lock()
			defer d.pub.mu.Unlock()
			return len(d.pub.waiting) == n && d.pub.pending == 2
		}
	}
	eventually(t, "the queue is full", room(0))
	leaving, cancel := context.WithCancel(t.Context())
	impatient, patient := start(leaving, d, topic, keyed("c")...), start(t.Context(), d, topic, keyed("d", "e", "f")...)
	eventually(t, "two wait for room", room(2))
	cancel()
	if err := wait(t, impatient); !errors.Is(err, context.Canceled) {
		t.Errorf("Publish without room: %v, want context.Canceled", err)
	}
	proxy.Set(faultproxy.Faults{})
	for _, done := range []<-chan error{held, patient} {
		if err := wait(t, done); err != nil {
			t.Errorf("Publish: %v", err)
		}
	}
	if n := length(t, d.client, topic); n != 6 {
		t.Errorf("%d messages are stored, want 6", n)
	}
}

func TestPublishWaitsForTheServer(t *testing.T) {
	t.Parallel()
	server := brokertest.Redis(t)
	d, _ := open(t, server.URL, nil)
	brief, _ := open(t, server.URL, func(o *Options) { o.PublishTimeout.UnmarshalText([]byte("200ms")) })
	topic := unique(t)
	publish(t, d, topic, "before")
	publish(t, brief, topic, "before")
	server.Kill(t)
	err := brief.Publish(patience(t), topic, texts("too late"))
	if err == nil || !strings.Contains(err.Error(), "publish_timeout is 200ms") || !strings.Contains(err.Error(), "refused") {
		t.Errorf("Publish without a server: %v, want publish_timeout and why", err)
	}
	waiting := start(patience(t), d, topic, keyed("a", "a", "b")...)
	eventually(t, "nothing gets through", func() bool {
		d.pub.mu.Lock()
		defer d.pub.mu.Unlock()
		return d.pub.stuck != nil
	})
	server.Start(t)
	if err := wait(t, waiting); err != nil {
		t.Errorf("Publish across a restart: %v", err)
	}
	if n := length(t, d.client, topic); n != 5 {
		t.Errorf("%d messages are stored, want 5", n)
	}
}

func TestRefusalsAreClear(t *testing.T) {
	t.Parallel()
	server := brokertest.Redis(t)
	d, _ := open(t, server.URL, func(o *Options) { o.PublishTimeout.UnmarshalText([]byte("300ms")) })
	ctx, topic := t.Context(), unique(t)
	publish(t, d, topic, "before")
	refused := func(why string, words ...string) {
		t.Helper()
		for _, msgs := range [][]*driver.Message{keyed("a"), keyed("a", "a")} {
			err := d.Publish(patience(t), topic, msgs)
			for _, w := range words {
				if err == nil || !strings.Contains(err.Error(), w) {
					t.Errorf("%s: %v, want it to say %q", why, err, w)
				}
			}
		}
		if n := length(t, d.client, topic); n != 1 {
			t.Errorf("%s: %d messages are stored, want 1", why, n)
		}
	}
	set := func(name, value string) {
		t.Helper()
		if err := d.client.ConfigSet(ctx, name, value).Err(); err != nil {
			t.Fatal(err)
		}
	}
	set("maxmemory", "1mb")
	refused("out of memory", "OOM", "raise it")
	set("maxmemory", "0")
	set("min-replicas-to-write", "1")
	refused("too few replicas", "NOREPLICAS", "min-replicas-to-write")
	set("min-replicas-to-write", "0")
	if err := d.client.Do(ctx, "replicaof", "127.0.0.1", "1").Err(); err != nil {
		t.Fatal(err)
	}
	refused("a replica", "READONLY", "connect to the master")
	if err := d.client.Do(ctx, "replicaof", "no", "one").Err(); err != nil {
		t.Fatal(err)
	}
	publish(t, d, topic, "after")
}

func TestStreamOfAnotherType(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedRedis(t).URL, nil)
	topic := unique(t)
	publish(t, d, topic, "before")
	if err := errors.Join(d.client.Del(t.Context(), topic).Err(), d.client.Set(t.Context(), topic, "x", time.Minute).Err()); err != nil {
		t.Fatal(err)
	}
	for _, msgs := range [][]*driver.Message{keyed("a"), keyed("a", "a")} {
		err := d.Publish(patience(t), topic, msgs)
		if err == nil || !strings.Contains(err.Error(), "WRONGTYPE") || !strings.Contains(err.Error(), topic) {
			t.Errorf("Publish: %v", err)
		}
	}
}

func TestPackedAttributes(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedRedis(t).URL, func(o *Options) { o.Attributes = attributesPacked })
	topic := unique(t)
	m := &driver.Message{Key: "k", Body: []byte("b"), Headers: []driver.Header{{Name: "ce_id", Value: "1"}}}
	if err := d.Publish(t.Context(), topic, []*driver.Message{m}); err != nil {
		t.Fatal(err)
	}
	entries, err := d.client.XRange(t.Context(), topic, "-", "+").Result()
	if err != nil || len(entries) != 1 || entries[0].Values["ce"] != `{"id":"1","partitionkey":"k"}` || len(entries[0].Values) != 2 {
		t.Errorf("entries %v, %v", entries, err)
	}
	plain, _ := open(t, brokertest.SharedRedis(t).URL, nil)
	err = plain.Browse(t.Context(), topic, driver.Start{}, false, func(got *driver.Message) bool {
		wantHeaders(t, got, m)
		if got.Key != "k" || string(got.Body) != "b" {
			t.Errorf("read %+v", got)
		}
		return true
	})
	if err != nil {
		t.Error(err)
	}
}

func TestShardsByKeyAndInTurn(t *testing.T) {
	t.Parallel()
	const shards = 4
	d, _ := open(t, brokertest.SharedRedis(t).URL, nil)
	topic := unique(t)
	if _, err := d.EnsureTopic(t.Context(), driver.Topic{Name: topic, Shards: shards}); err != nil {
		t.Fatal(err)
	}
	var want [shards]int
	var msgs []*driver.Message
	for i := range 40 {
		key := fmt.Sprint("key-", i%13)
		msgs = append(msgs, &driver.Message{Key: key})
		want[driver.ShardOf(key, shards)]++
	}
	for range 2 * shards {
		msgs = append(msgs, &driver.Message{Body: []byte("without a key")})
	}
	if err := d.Publish(t.Context(), topic, msgs); err != nil {
		t.Fatal(err)
	}
	for shard := range shards {
		if n := length(t, d.client, streamOf(topic, shard, shards)); n != want[shard]+2 {
			t.Errorf("shard %d has %d messages, want %d", shard, n, want[shard]+2)
		}
	}
}

func TestHeadersThatAreRefused(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedRedis(t).URL, nil)
	topic := unique(t)
	bad := &driver.Message{Key: "a", Headers: []driver.Header{{Name: "data", Value: "x"}}}
	err := d.Publish(t.Context(), topic, []*driver.Message{bad, {Key: "a"}, {Key: "b"}})
	var failed driver.BatchError
	if !errors.As(err, &failed) || len(failed) != 2 || !strings.Contains(failed[0].Error(), `header "data"`) || failed[1] == nil {
		t.Errorf("Publish: %v", err)
	}
	if n := length(t, d.client, topic); n != 1 {
		t.Errorf("%d messages are stored, want that of key b", n)
	}
}

// TestLargeCallsGoInParts sends more than one part of a call, in order.
func TestLargeCallsGoInParts(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedRedis(t).URL, nil)
	topic := unique(t)
	var msgs []*driver.Message
	var want []string
	for i := range 2*mostOfCall + 10 {
		m := &driver.Message{Key: "key", Body: []byte(strconv.Itoa(i))}
		if i%100 == 0 {
			m.Body = make([]byte, mostBytesOfCall/4)
		}
		msgs, want = append(msgs, m), append(want, string(m.Body))
	}
	if err := d.Publish(t.Context(), topic, msgs); err != nil {
		t.Fatal(err)
	}
	var got []string
	err := d.Browse(t.Context(), topic, driver.Start{}, false, func(m *driver.Message) bool {
		got = append(got, string(m.Body))
		return true
	})
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%d messages in another order than published: %v", len(got), err)
	}
}

func TestCloseEndsPublishes(t *testing.T) {
	t.Parallel()
	d, proxy := behind(t, brokertest.SharedRedis(t), nil)
	topic := unique(t)
	publish(t, d, topic, "before")
	proxy.Set(faultproxy.Faults{HoldReplies: true})
	var calls []<-chan error
	for range 2 * mostFlushers {
		calls = append(calls, start(t.Context(), d, topic, texts("x")...))
	}
	eventually(t, "all are under way or queued", func() bool {
		d.pub.mu.Lock()
		defer d.pub.mu.Unlock()
		return d.pub.pending == 2*mostFlushers
	})
	brief, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_ = d.Close(brief)
	for _, done := range calls {
		if err := wait(t, done); !errors.Is(err, driver.ErrClosed) && (err == nil || !strings.Contains(err.Error(), "may be stored")) {
			t.Errorf("Publish when the driver closed: %v", err)
		}
	}
}
