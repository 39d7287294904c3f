package watermillredis

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/redisdriver"
)

// topic is one that nobody else has.
func topic(tb testing.TB) string {
	tb.Helper()
	return strings.NewReplacer("/", ".").Replace(tb.Name()) + "." + envelope.NewID()
}

func native(d *Driver) redis.UniversalClient { return d.Native().(redis.UniversalClient) }

func join(tb testing.TB, d driver.Driver, topic string) driver.Source {
	tb.Helper()
	src, err := d.Subscribe(tb.Context(), driver.Subscription{Topic: topic, Group: "g", Window: 8, Lease: time.Minute})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), 30*time.Second)
		defer cancel()
		if err := src.Close(ctx); err != nil {
			tb.Errorf("close the source: %v", err)
		}
	})
	return src
}

// next receives one message and acknowledges it.
func next(tb testing.TB, src driver.Source) *driver.Message {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), time.Minute)
	defer cancel()
	msgs, err := src.Receive(ctx, 1)
	if err != nil {
		tb.Fatal(err)
	}
	if err := src.Settle(ctx, []driver.Settlement{{Token: msgs[0].Token}}); err != nil {
		tb.Fatal(err)
	}
	return msgs[0]
}

func values(m *driver.Message) map[string]string {
	all := map[string]string{}
	for _, h := range m.Headers {
		all[h.Name] = h.Value
	}
	return all
}

func sample() *driver.Message {
	return &driver.Message{
		Key: "k", Body: []byte("body"),
		Headers: []driver.Header{{Name: "ce_id", Value: "1"}, {Name: "ce_partitionkey", Value: "k"}, {Name: "content-type", Value: "text/plain"}},
	}
}

// An entry is as docs/wire.md says, so any client reads it.
func TestEntriesAreReadable(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedRedis(t).URL, Options{})
	name := topic(t)
	if err := d.Publish(t.Context(), name, []*driver.Message{sample()}); err != nil {
		t.Fatal(err)
	}
	entries, err := native(d).XRange(t.Context(), name, "-", "+").Result()
	if err != nil || len(entries) != 1 {
		t.Fatalf("%v, %v", entries, err)
	}
	want := map[string]any{"ce_id": "1", "ce_partitionkey": "k", "content-type": "text/plain", "data": "body"}
	if !maps.Equal(entries[0].Values, want) {
		t.Errorf("entry %v, want %v", entries[0].Values, want)
	}
}

// The native driver and this one share streams, both ways.
func TestTheNativeDriverReadsTheSameStream(t *testing.T) {
	t.Parallel()
	server := brokertest.SharedRedis(t)
	bridge, _ := open(t, server.URL, Options{})
	other, err := redisdriver.Open(t.Context(), redisdriver.Options{URL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Close(context.WithoutCancel(t.Context())) })
	for name, pair := range map[string][2]driver.Driver{"from native": {other, bridge}, "to native": {bridge, other}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stream := topic(t)
			src := join(t, pair[1], stream)
			if err := pair[0].Publish(t.Context(), stream, []*driver.Message{sample()}); err != nil {
				t.Fatal(err)
			}
			got := next(t, src)
			if got.Key != "k" || string(got.Body) != "body" || values(got)["ce_id"] != "1" || values(got)["content-type"] != "text/plain" {
				t.Errorf("received %+v", got)
			}
		})
	}
}

// The adapter ends its subscription at an entry that its unmarshaller refuses:
// this one refuses none.
func TestEntriesOfStrangersComeUpRaw(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedRedis(t).URL, Options{Consumers: 1})
	name := topic(t)
	src := join(t, d, name)
	for _, fields := range [][]string{
		{"colour", "blue", "size", "\xff"},
		{"data", "only a body"},
		{"ce", `{"id":"7","datacontenttype":"text/plain"}`, "data", "packed"},
		{"ce", "no JSON"},
		{"_watermill_message_uuid", "u", "metadata", "\x81\xa1a\xa1b", "payload", "plain"},
	} {
		if err := native(d).XAdd(t.Context(), &redis.XAddArgs{Stream: name, Values: fields}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	want := []map[string]string{
		{"colour": "blue", "size": "\xff"},
		{},
		{"ce_id": "7", "content-type": "text/plain"},
		{"ce": "no JSON"},
		{"_watermill_message_uuid": "u", "metadata": "\x81\xa1a\xa1b", "payload": "plain"},
	}
	for i, bodies := 0, []string{"", "only a body", "packed", "", ""}; i < len(want); i++ {
		if got := next(t, src); !maps.Equal(values(got), want[i]) || string(got.Body) != bodies[i] || got.Position == "" {
			t.Errorf("received %v %q at %q, want %v %q", values(got), got.Body, got.Position, want[i], bodies[i])
		}
	}
}

// What a closed source held is free at once, not after max_idle.
func TestCloseGivesBackAtOnce(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedRedis(t).URL, Options{
		ClaimInterval: quick().ClaimInterval, // max_idle stays a minute
	})
	name := topic(t)
	if err := d.Publish(t.Context(), name, []*driver.Message{sample()}); err != nil {
		t.Fatal(err)
	}
	a := join(t, d, name)
	if msgs, err := a.Receive(t.Context(), 1); err != nil || len(msgs) != 1 {
		t.Fatalf("received %v, %v", msgs, err)
	}
	began := time.Now()
	if err := a.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	next(t, join(t, d, name))
	if took := time.Since(began); took > DefaultMaxIdle/2 {
		t.Errorf("it came again after %v", took)
	}
	left, err := native(d).XPending(t.Context(), name, "g").Result()
	if err != nil || left.Count != 0 {
		t.Errorf("pending %+v, %v", left, err)
	}
}

// A group that somebody deletes comes back, and says so.
func TestADeletedGroupBeginsAnew(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedRedis(t).URL, Options{Consumers: 1, BlockTime: quick().BlockTime})
	name := topic(t)
	src := join(t, d, name)
	if err := native(d).XGroupDestroy(t.Context(), name, "g").Err(); err != nil {
		t.Fatal(err)
	}
	if err := d.Publish(t.Context(), name, []*driver.Message{sample()}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var said []string
	for {
		msgs, err := src.Receive(ctx, 1)
		if err == nil {
			if err := src.Settle(ctx, []driver.Settlement{{Token: msgs[0].Token}}); err != nil {
				t.Error(err)
			}
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("nothing came: %v", said)
		}
		said = append(said, err.Error())
	}
	if !slices.ContainsFunc(said, func(s string) bool { return strings.Contains(s, "begins anew") }) {
		t.Errorf("Receive said %q", said)
	}
}

func TestTheCodecNeverFails(t *testing.T) {
	t.Parallel()
	for _, v := range []map[string]any{nil, {}, {"a": 1}, {"data": nil}, {"ce": 7}} {
		if m, err := (codec{}).Unmarshal(v); m == nil || err != nil {
			t.Errorf("%v: %v, %v", v, m, err)
		}
	}
	fields, err := codec{}.Marshal("t", message.NewMessage("", nil))
	if err != nil || len(fields) == 0 {
		t.Errorf("a message of nothing is %v, %v: Redis wants a field", fields, err)
	}
}

func TestInspectFindsWhatLoses(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.Redis(t, "maxmemory-policy allkeys-lru").URL, Options{MaxLen: 10})
	if err := native(d).Set(t.Context(), "text", "x", 0).Err(); err != nil {
		t.Fatal(err)
	}
	found, err := d.Inspect(t.Context(), driver.Use{Writes: []string{"text", "new"}})
	if err != nil {
		t.Fatal(err)
	}
	levels := map[string]driver.Level{}
	for _, f := range found {
		levels[f.Check+" "+f.Subject] = f.Level
		if f.Level >= driver.Warning && (f.Why == "" || f.Fix == "") {
			t.Errorf("a finding without reason or fix: %+v", f)
		}
	}
	want := map[string]driver.Level{
		"appendonly server": driver.Good, "maxmemory-policy server": driver.Danger, "max_len transport": driver.Warning,
		"stream topic text": driver.Danger, "stream topic new": driver.Good,
	}
	if !maps.Equal(levels, want) {
		t.Errorf("found %v, want %v", levels, want)
	}
}
