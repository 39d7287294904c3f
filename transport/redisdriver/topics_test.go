package redisdriver

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/transport/driver"
)

func ensureTopic(tb testing.TB, d *Driver, spec driver.Topic) driver.Topic {
	tb.Helper()
	got, err := d.EnsureTopic(tb.Context(), spec)
	if err != nil {
		tb.Fatal(err)
	}
	return got
}

// wantError wants an error that says all of these words.
func wantError(tb testing.TB, err error, words ...string) {
	tb.Helper()
	if err == nil {
		tb.Errorf("no error, want one that says %q", words)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			tb.Errorf("error %q, want it to say %q", err, w)
		}
	}
}

func TestTopicsAreRecorded(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedRedis(t).URL, nil)
	for _, c := range []struct {
		spec driver.Topic
		want driver.Topic
	}{
		{driver.Topic{}, driver.Topic{Shards: 1, RetentionAge: defaultAge}},
		{driver.Topic{Shards: 3, RetentionAge: time.Hour, RetentionBytes: 1 << 20}, driver.Topic{Shards: 3, RetentionAge: time.Hour, RetentionBytes: 1 << 20}},
		{driver.Topic{RetentionAge: -time.Hour}, driver.Topic{Shards: 1, RetentionAge: -1}},
	} {
		c.spec.Name = unique(t)
		c.want.Name = c.spec.Name
		first := ensureTopic(t, d, c.spec)
		other, _ := open(t, brokertest.SharedRedis(t).URL, nil)
		again := ensureTopic(t, other, driver.Topic{Name: c.spec.Name, Require: true})
		first.RetentionAge, again.RetentionAge = max(first.RetentionAge, -1), max(again.RetentionAge, -1)
		if first != c.want || again != c.want {
			t.Errorf("%+v: made %+v, found %+v, want %+v", c.spec, first, again, c.want)
		}
		all, err := d.Topics(t.Context())
		if err != nil || !slices.Contains(all, again) {
			t.Errorf("Topics does not list %+v: %v", again, err)
		}
	}
}

func TestTopicsThatDiffer(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedRedis(t).URL, nil)
	name := ensureTopic(t, d, driver.Topic{Name: unique(t), Shards: 2, RetentionAge: time.Hour, RetentionBytes: 5000}).Name
	for _, c := range []struct {
		spec  driver.Topic
		words []string
	}{
		{driver.Topic{Shards: 3}, []string{"2 shards", "3 are asked for"}},
		{driver.Topic{RetentionAge: 2 * time.Hour}, []string{"1h0m0s", "2h0m0s", "HSET '{" + name + "}:topic' retention_age"}},
		{driver.Topic{RetentionAge: -1}, []string{"1h0m0s", "none"}},
		{driver.Topic{RetentionBytes: 6000, Shards: 1}, []string{"5000", "6000", "2 shards"}},
		{driver.Topic{Shards: -1}, []string{"-1 shards"}},
		{driver.Topic{Shards: mostShards + 1}, []string{"4097 shards", "4096"}},
		{driver.Topic{RetentionBytes: -1}, []string{"-1 bytes"}},
		{driver.Topic{Replicas: 3}, []string{"3 replicas"}},
	} {
		c.spec.Name = name
		_, err := d.EnsureTopic(t.Context(), c.spec)
		wantError(t, err, append(c.words, name)...)
	}
}

func TestStrangersStreamIsATopic(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedRedis(t).URL, func(o *Options) { o.Require = true })
	name := unique(t)
	if err := d.Publish(t.Context(), name, texts("x")); !errors.Is(err, driver.ErrNotFound) {
		t.Errorf("Publish to a topic that is required and missing: %v", err)
	}
	if err := d.client.XAdd(t.Context(), &redis.XAddArgs{Stream: name, Values: []string{"data", "hello"}}).Err(); err != nil {
		t.Fatal(err)
	}
	_, err := d.EnsureTopic(t.Context(), driver.Topic{Name: name, Shards: 2})
	wantError(t, err, "1 shards", "2 are asked for")
	if got := ensureTopic(t, d, driver.Topic{Name: name}); got.Shards != 1 {
		t.Errorf("%+v", got)
	}
	publish(t, d, name, "world")
	var got []string
	if err := d.Browse(t.Context(), name, driver.Start{}, false, func(m *driver.Message) bool {
		got = append(got, string(m.Body))
		return true
	}); err != nil || !slices.Equal(got, []string{"hello", "world"}) {
		t.Errorf("read %q, %v", got, err)
	}
}

func TestTopicsThatCannotBe(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedRedis(t).URL, nil)
	ctx := t.Context()
	text, list, bad := unique(t), unique(t), unique(t)
	if err := errors.Join(
		d.client.Set(ctx, text, "x", time.Minute).Err(),
		d.client.LPush(ctx, recordOf(list), "x").Err(),
		d.client.HSet(ctx, recordOf(bad), recordShards, "many").Err(),
	); err != nil {
		t.Fatal(err)
	}
	for name, words := range map[string][]string{
		text: {`key "` + text + `" is a string`}, list: {"WRONGTYPE"}, bad: {`shards is "many"`}, "a{b}": {"brace"},
	} {
		_, err := d.EnsureTopic(ctx, driver.Topic{Name: name})
		wantError(t, err, append(words, name)...)
		wantError(t, d.Publish(ctx, name, texts("x")), words...)
		_, err = d.Subscribe(ctx, sub(name))
		wantError(t, err, words...)
	}
	if _, err := d.describe(ctx, unique(t)); !errors.Is(err, driver.ErrNotFound) {
		t.Errorf("describe of a missing topic: %v", err)
	}
}

// TestShardsOfAnotherType: every shard whose key is no stream is named at the start,
// by whoever comes to it first.
func TestShardsOfAnotherType(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedRedis(t).URL, nil)
	ctx := t.Context()
	name := ensureTopic(t, d, driver.Topic{Name: unique(t), Shards: 4}).Name
	if err := errors.Join(
		d.client.Set(ctx, name+":1", "x", time.Minute).Err(),
		d.client.HSet(ctx, name+":3", "a", "b").Err(),
		d.client.Set(ctx, name, "x", time.Minute).Err(), // no key of ours
	); err != nil {
		t.Fatal(err)
	}
	words := []string{`key "` + name + `:1" is a string`, `key "` + name + `:3" is a hash`, "rename the topic, or delete the key"}
	for what, call := range map[string]func(d *Driver) error{
		"EnsureTopic": func(d *Driver) error {
			_, err := d.EnsureTopic(ctx, driver.Topic{Name: name})
			return err
		},
		"Subscribe": func(d *Driver) error {
			_, err := d.Subscribe(ctx, sub(name))
			return err
		},
		"Publish": func(d *Driver) error { return d.Publish(ctx, name, texts("x")) },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			fresh, _ := open(t, brokertest.SharedRedis(t).URL, nil)
			wantError(t, call(fresh), words...)
		})
	}
}

func TestTopicsThatOverlap(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedRedis(t).URL, nil)
	a, b := unique(t), unique(t)
	ensureTopic(t, d, driver.Topic{Name: a, Shards: 3})
	_, err := d.EnsureTopic(t.Context(), driver.Topic{Name: a + ":2"})
	wantError(t, err, "shard 2 of topic", a)
	ensureTopic(t, d, driver.Topic{Name: a + ":3"}) // there is no such shard
	ensureTopic(t, d, driver.Topic{Name: b + ":1"})
	ensureTopic(t, d, driver.Topic{Name: b}) // one shard: its stream is another
	other := unique(t)
	ensureTopic(t, d, driver.Topic{Name: other + ":1"})
	_, err = d.EnsureTopic(t.Context(), driver.Topic{Name: other, Shards: 2})
	wantError(t, err, "shard 1", other+":1")
}

// TestLostRecord: without it nobody knows how many shards there are, and one of
// them alone would hide the others.
func TestLostRecord(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedRedis(t).URL, nil)
	name := ensureTopic(t, d, driver.Topic{Name: unique(t), Shards: 2}).Name
	if err := d.Publish(t.Context(), name, texts("a", "b")); err != nil {
		t.Fatal(err)
	}
	if err := d.Publish(t.Context(), name, []*driver.Message{{}, {}}); err != nil {
		t.Fatal(err)
	}
	if err := d.client.Del(t.Context(), recordOf(name)).Err(); err != nil {
		t.Fatal(err)
	}
	other, _ := open(t, brokertest.SharedRedis(t).URL, nil)
	_, err := other.EnsureTopic(t.Context(), driver.Topic{Name: name})
	wantError(t, err, "HSET '{"+name+"}:topic' shards")
	if got := ensureTopic(t, other, driver.Topic{Name: name, Shards: 2}); got.Shards != 2 {
		t.Errorf("%+v", got)
	}
}

// TestTopicsAreLookedAtAgain makes what is known old.
func TestTopicsAreLookedAtAgain(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedRedis(t).URL, nil)
	ctx, name := t.Context(), unique(t)
	publish(t, d, name, "a")
	grow := func() {
		d.topics.mu.Lock()
		defer d.topics.mu.Unlock()
		d.topics.known[name].until = time.Now().Add(-time.Second)
	}
	if err := d.client.HSet(ctx, recordOf(name), recordAge, "1h").Err(); err != nil {
		t.Fatal(err)
	}
	grow()
	publish(t, d, name, "b")
	if meta, err := d.describe(ctx, name); err != nil || meta.retentionAge != time.Hour {
		t.Errorf("after a change by hand: %+v, %v", meta, err)
	}
	if err := d.client.Del(ctx, recordOf(name), name).Err(); err != nil {
		t.Fatal(err)
	}
	grow()
	publish(t, d, name, "c")
	if n, err := d.client.Exists(ctx, recordOf(name)).Result(); n != 1 || err != nil {
		t.Errorf("a topic that was deleted is not recorded anew: %v", err)
	}
}

func TestPublishersTrimWhatNobodyReads(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedRedis(t).URL, nil)
	ctx := t.Context()
	name := ensureTopic(t, d, driver.Topic{Name: unique(t), RetentionAge: time.Hour}).Name
	for i := range 300 { // the server drops whole nodes of its tree
		if err := d.client.XAdd(ctx, &redis.XAddArgs{Stream: name, ID: "2-*", Values: []string{"data", strings.Repeat("x", i)}}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	publish(t, d, name, "new")
	d.topics.mu.Lock()
	d.topics.known[name].until = time.Now().Add(-time.Second)
	d.topics.mu.Unlock()
	publish(t, d, name, "newer")
	eventually(t, "old entries are dropped", func() bool { return length(t, d.client, name) < 200 })
	if n := length(t, d.client, name); n < 2 {
		t.Errorf("%d entries are left, want the new ones at least", n)
	}
}
