package redisdriver

import (
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/transport/driver"
)

// inspect are the findings of a use.
func inspect(tb testing.TB, d *Driver, use driver.Use) []driver.Finding {
	tb.Helper()
	found, err := d.Inspect(patience(tb), use)
	if err != nil {
		tb.Fatal(err)
	}
	for _, f := range found {
		if bad := f.Level != driver.Good; bad != (f.Why != "") || bad != (f.Fix != "") || f.Check == "" || f.Subject == "" || f.Found == "" {
			tb.Errorf("an incomplete finding: %+v", f)
		}
	}
	return found
}

// finding is the one of a check and a subject.
func finding(tb testing.TB, found []driver.Finding, check, subject string) driver.Finding {
	tb.Helper()
	for _, f := range found {
		if f.Check == check && f.Subject == subject {
			return f
		}
	}
	tb.Fatalf("no finding %q of %q in %+v", check, subject, found)
	return driver.Finding{}
}

// expect wants a level, and words somewhere in the finding.
func expect(tb testing.TB, f driver.Finding, level driver.Level, words ...string) {
	tb.Helper()
	text := fmt.Sprintf("%s %s %s", f.Found, f.Why, f.Fix)
	if f.Level != level {
		tb.Errorf("%s of %s is %v, want %v: %s", f.Check, f.Subject, f.Level, level, text)
	}
	for _, w := range words {
		if !strings.Contains(text, w) {
			tb.Errorf("%s of %s does not say %q: %s", f.Check, f.Subject, w, text)
		}
	}
}

// groupSubject is what findings call the group of sub.
func groupSubject(topic string) string { return "group " + sub(topic).Group + " of topic " + topic }

func TestInspectFindsNothingWrong(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.Redis(t).URL, nil)
	topic, out := unique(t), unique(t)
	ensureTopic(t, d, driver.Topic{Name: topic, Shards: 2})
	closeSource(t, subscribe(t, d, sub(topic)))
	publish(t, d, topic, "one")
	found := inspect(t, d, driver.Use{
		Writes: []string{topic, out}, Reads: []driver.Reading{{Topic: topic, Group: "group", Lease: longLease}, {Topic: out, Group: "new", Ordered: true}},
	})
	for _, f := range found {
		if f.Level != driver.Good {
			t.Errorf("%+v", f)
		}
	}
	expect(t, finding(t, found, "version", "server"), driver.Good, "Redis 7.0.")
	expect(t, finding(t, found, "appendfsync", "server"), driver.Good, "always")
	expect(t, finding(t, found, "maxmemory-policy", "server"), driver.Good, "noeviction")
	expect(t, finding(t, found, "stream", "topic "+topic), driver.Good, "2 shards")
	expect(t, finding(t, found, "stream", "topic "+out), driver.Good, "first use")
	expect(t, finding(t, found, "group", groupSubject(topic)), driver.Good, "2 shards")
	expect(t, finding(t, found, "lag", groupSubject(topic)), driver.Good, "1 waiting", "ago")
	if n := d.client.Exists(t.Context(), out, recordOf(out)).Val(); n != 0 {
		t.Error("an inspection made a topic")
	}
}

func TestInspectServers(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.Redis(t).URL, nil)
	for _, c := range []struct {
		set   []string // settings in turn
		check string
		level driver.Level
		words []string
	}{
		{[]string{"appendfsync", "everysec"}, "appendfsync", driver.Warning, []string{"last second"}},
		{[]string{"appendfsync", "no"}, "appendfsync", driver.Danger, []string{"half a minute"}},
		{[]string{"appendonly", "no"}, "appendonly", driver.Danger, []string{"every message", "CONFIG SET appendonly yes"}},
		{[]string{"save", "60 1"}, "appendonly", driver.Danger, []string{"snapshot"}},
		{[]string{"maxmemory-policy", "allkeys-lru"}, "maxmemory-policy", driver.Warning, []string{"no maxmemory"}},
		{[]string{"maxmemory", "1gb"}, "maxmemory-policy", driver.Danger, []string{"whole streams", "noeviction"}},
		{[]string{"maxmemory-policy", "volatile-ttl"}, "maxmemory-policy", driver.Warning, []string{"leases"}},
		{[]string{"maxmemory-policy", "noeviction"}, "maxmemory", driver.Good, []string{"1.0GiB"}},
		{[]string{"maxmemory", "100kb"}, "maxmemory", driver.Danger, []string{"100.0KiB", "OOM"}},
	} {
		if err := d.client.ConfigSet(t.Context(), c.set[0], c.set[1]).Err(); err != nil {
			t.Fatal(err)
		}
		expect(t, finding(t, inspect(t, d, driver.Use{}), c.check, "server"), c.level, c.words...)
	}
	if err := d.client.Do(t.Context(), "replicaof", "127.0.0.1", "1").Err(); err != nil {
		t.Fatal(err)
	}
	expect(t, finding(t, inspect(t, d, driver.Use{}), "role", "server"), driver.Danger, "replica")
}

func TestInspectReplicas(t *testing.T) {
	t.Parallel()
	_, master, _ := brokertest.RedisSentinel(t)
	d, _ := open(t, master.URL, nil)
	found := inspect(t, d, driver.Use{})
	expect(t, finding(t, found, "role", "server"), driver.Good, "1 replicas")
	expect(t, finding(t, found, "min-replicas-to-write", "server"), driver.Warning, "confirmed last")
}

func TestInspectTopicsAndGroups(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedRedis(t).URL, func(o *Options) { o.Require = true })
	ctx := t.Context()
	text, shards, old, missing, some := unique(t), unique(t), unique(t), unique(t), unique(t)
	for _, err := range []error{
		d.client.Set(ctx, text, "x", 0).Err(),
		d.client.HSet(ctx, recordOf(shards), recordShards, 2).Err(),
		d.client.Set(ctx, streamOf(shards, 1, 2), "x", 0).Err(),
		d.client.HSet(ctx, recordOf(some), recordShards, 2).Err(),
		d.client.XGroupCreateMkStream(ctx, streamOf(some, 0, 2), "group", "0").Err(),
		d.client.XAdd(ctx, &redis.XAddArgs{Stream: old, ID: "1-1", Values: []string{"a", "b"}}).Err(),
		d.client.XGroupCreate(ctx, old, "group", "0").Err(),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	reads := []driver.Reading{{Topic: old, Group: "group"}, {Topic: old, Group: "new"}, {Topic: some, Group: "group"}, {Topic: text, Group: "group"}}
	found := inspect(t, d, driver.Use{Writes: []string{missing, shards}, Reads: reads})
	expect(t, finding(t, found, "stream", "topic "+text), driver.Danger, "is a string", "rename")
	expect(t, finding(t, found, "stream", "topic "+shards), driver.Danger, shards+":1", "is a string")
	expect(t, finding(t, found, "stream", "topic "+missing), driver.Danger, "require")
	expect(t, finding(t, found, "group", "group new of topic "+old), driver.Warning, "1 messages", "from: now")
	expect(t, finding(t, found, "lag", groupSubject(old)), driver.Danger, "group_expiry")
	expect(t, finding(t, found, "group", groupSubject(some)), driver.Warning, "1 of 2 shards")
	if err := d.client.HSet(ctx, recordOf(old), recordAge, "none").Err(); err != nil {
		t.Fatal(err)
	}
	expect(t, finding(t, inspect(t, d, driver.Use{Reads: reads[:1]}), "lag", groupSubject(old)), driver.Good, "1 waiting")
}

func TestInspectWithFewRights(t *testing.T) {
	t.Parallel()
	server := brokertest.Redis(t, "user default off", "user all on >secret ~* &* +@all",
		"user blind on >secret ~* -@all +ping +client|setname",
		"user writer on >secret ~out ~{out}:* +@all -xtrim", "user reader on >secret ~in* ~{in* +@all -@scripting")
	open := func(user string) *Driver {
		d, _ := open(t, "redis://"+server.Addrs[0], func(o *Options) { o.User, o.Password = user, value.NewSecret("secret") })
		return d
	}
	all := open("all")
	publish(t, all, "in", "x")
	use := driver.Use{Writes: []string{"out"}, Reads: []driver.Reading{{Topic: "in", Group: "group"}}}
	found := inspect(t, open("blind"), use)
	for check, subject := range map[string]string{
		"version": "server", "appendonly": "server", "maxmemory-policy": "server", "clock": "server", "rights": "server",
		"stream": "topic in",
	} {
		expect(t, finding(t, found, check, subject), driver.Unknown)
	}
	expect(t, finding(t, inspect(t, all, use), "rights", "server"), driver.Good, "user all")
	found = inspect(t, open("writer"), use)
	expect(t, finding(t, found, "rights", "topic out"), driver.Danger, "xtrim")
	expect(t, finding(t, found, "rights", "topic in"), driver.Danger, "in")
	expect(t, finding(t, inspect(t, open("reader"), driver.Use{Reads: use.Reads}), "rights", "topic in"), driver.Danger, "evalsha")
}
