package natsdriver

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/transport/driver"
)

// inspected are the findings of a use by check and subject.
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

func TestInspectFindsNothingWrong(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedNATS(t).URL, nil)
	topic, out := unique(t), unique(t)
	publish(t, d, topic, "one") // first: consumers that exist count it a little later
	closeSource(t, subscribe(t, d, sub(topic)))
	found := inspect(t, d, driver.Use{
		Writes: []string{topic, out}, Reads: []driver.Reading{{Topic: topic, Group: "group", Lease: longLease}, {Topic: topic, Group: "new"}},
	})
	for _, f := range found {
		if f.Level != driver.Good && f.Check != "sync_interval" {
			t.Errorf("%+v", f)
		}
	}
	expect(t, finding(t, found, "stream", "topic "+topic), driver.Good, "1 messages")
	expect(t, finding(t, found, "stream", "topic "+out), driver.Good, "first use")
	expect(t, finding(t, found, "lag", "group "+sub(topic).Group+" of topic "+topic), driver.Good, "1 waiting", "ago")
	expect(t, finding(t, found, "consumer", "group new of topic "+topic), driver.Good, "first use")
	expect(t, finding(t, found, "version", "server"), driver.Good, "2.")
	if _, err := d.js.Stream(t.Context(), escapeName(out)); err == nil {
		t.Error("an inspection made a stream")
	}
}

// A topic whose subject somebody else's stream has cannot be made on first use.
func TestInspectASubjectThatIsTaken(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedNATS(t).URL, nil)
	topic, other := unique(t), "hog-"+nuid.Next()
	if _, err := d.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: other, Subjects: []string{topic}}); err != nil {
		t.Fatal(err)
	}
	found := inspect(t, d, driver.Use{Writes: []string{topic}})
	expect(t, finding(t, found, "stream", "topic "+topic), driver.Danger, other, "rename")
	if _, err := d.EnsureTopic(t.Context(), driver.Topic{Name: topic}); err == nil || !strings.Contains(err.Error(), other) {
		t.Errorf("the topic is made: %v", err)
	}
}

func TestInspectForeignStreamsAndConsumers(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedNATS(t).URL, nil)
	stream := func(change func(*jetstream.StreamConfig)) string {
		topic := unique(t)
		cfg := jetstream.StreamConfig{Name: escapeName(topic), Subjects: []string{topic}, Duplicates: time.Minute}
		change(&cfg)
		if _, err := d.js.CreateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		return topic
	}
	consumer := func(topic, group string, cfg jetstream.ConsumerConfig) {
		cfg.Durable, cfg.AckPolicy = group, jetstream.AckExplicitPolicy
		if _, err := d.js.CreateConsumer(t.Context(), escapeName(topic), cfg); err != nil {
			t.Fatal(err)
		}
	}
	queue := stream(func(c *jetstream.StreamConfig) { c.Retention = jetstream.WorkQueuePolicy })
	memory := stream(func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage })
	dropping := stream(func(c *jetstream.StreamConfig) { c.MaxMsgs, c.Duplicates = 10, time.Second })
	full := stream(func(c *jetstream.StreamConfig) { c.MaxMsgs, c.Discard = 5, jetstream.DiscardNew })
	publish(t, d, full, "1", "2", "3", "4")
	consumer(full, "limited", jetstream.ConsumerConfig{MaxDeliver: 5})
	consumer(full, "short", jetstream.ConsumerConfig{AckWait: time.Second, MaxAckPending: -1})
	consumer(full, "mortal", jetstream.ConsumerConfig{AckWait: longLease, InactiveThreshold: time.Hour})
	found := inspect(t, d, driver.Use{
		Writes: []string{queue, memory, dropping, full, strings.Repeat("x", 300)},
		Reads: []driver.Reading{
			{Topic: full, Group: "limited", Lease: longLease},
			{Topic: full, Group: "short", Lease: longLease},
			{Topic: full, Group: "mortal", Lease: longLease},
		},
	})
	expect(t, finding(t, found, "stream", "topic "+queue), driver.Danger, "retention")
	expect(t, finding(t, found, "stream", "topic "+strings.Repeat("x", 300)), driver.Danger, "too long")
	expect(t, finding(t, found, "storage", "topic "+memory), driver.Danger, "memory")
	expect(t, finding(t, found, "bounds", "topic "+dropping), driver.Danger, "discard old")
	expect(t, finding(t, found, "duplicate_window", "topic "+dropping), driver.Warning, "1s", "twice")
	expect(t, finding(t, found, "bounds", "topic "+full), driver.Warning, "80 %")
	expect(t, finding(t, found, "consumer", "group limited of topic "+full), driver.Danger, "max_deliver 5", "nats consumer rm")
	expect(t, finding(t, found, "consumer", "group short of topic "+full), driver.Danger, "ack_wait 1s", "refuses to start")
	expect(t, finding(t, found, "consumer", "group mortal of topic "+full), driver.Danger, "place is lost")
}

// A backlog that is about to be dropped unread is a warning at 80 % of the way,
// a danger at 95 %.
func TestInspectLagAgainstRetention(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedNATS(t).URL, nil)
	topic := unique(t)
	if _, err := d.EnsureTopic(t.Context(), driver.Topic{Name: topic, RetentionAge: time.Hour}); err != nil {
		t.Fatal(err)
	}
	publish(t, d, topic, "old")
	closeSource(t, subscribe(t, d, sub(topic)))
	for age, level := range map[time.Duration]driver.Level{time.Hour: driver.Good, 70 * time.Second: driver.Good} {
		x := &inspection{Driver: d, streams: map[string]*jetstream.StreamInfo{}}
		if err := x.topic(t.Context(), topic); err != nil {
			t.Fatal(err)
		}
		x.streams[topic].Config.MaxAge = age
		if err := x.group(t.Context(), driver.Reading{Topic: topic, Group: "group", Lease: longLease}); err != nil {
			t.Fatal(err)
		}
		expect(t, finding(t, x.found, "lag", "group "+sub(topic).Group+" of topic "+topic), level, "1 waiting")
	}
	for part, level := range map[float64]driver.Level{0.79: driver.Good, 0.81: driver.Warning, 0.96: driver.Danger, 2: driver.Danger} {
		x := &inspection{}
		x.age("group g", "stream", driver.Lag{Waiting: 3, Oldest: time.Now().Add(-time.Duration(part * float64(time.Hour)))}, time.Hour)
		f := finding(t, x.found, "lag", "group g")
		expect(t, f, level, "3 waiting")
		if level != driver.Good {
			expect(t, f, level, "1h0m0s", "retention.age")
		}
	}
	x := &inspection{}
	x.age("group g", "stream", driver.Lag{Waiting: 3, Oldest: time.Now().Add(-time.Hour)}, 0)
	expect(t, finding(t, x.found, "lag", "group g"), driver.Good) // kept for ever
}

// freeAddress is one that nobody listens on.
func freeAddress(tb testing.TB) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func TestInspectReadsHowTheServerSyncs(t *testing.T) {
	t.Parallel()
	const check = "sync_interval"
	monitoring := freeAddress(t)
	server := brokertest.NATS(t, fmt.Sprintf("http: %q", monitoring))
	d, _ := open(t, server.URL, func(o *Options) { o.Monitoring = "http://" + monitoring })
	expect(t, finding(t, inspect(t, d, driver.Use{}), check, "server"), driver.Good, "always")

	other, _ := open(t, brokertest.SharedNATS(t).URL, func(o *Options) { o.Monitoring = "http://" + monitoring })
	expect(t, finding(t, inspect(t, other, driver.Use{}), check, "server"), driver.Unknown, "another server")
	away, _ := open(t, server.URL, func(o *Options) { o.Monitoring = "http://" + freeAddress(t) })
	expect(t, finding(t, inspect(t, away, driver.Use{}), check, "server"), driver.Unknown, "monitoring", "sync_interval")
	silent, _ := open(t, server.URL, nil)
	expect(t, finding(t, inspect(t, silent, driver.Use{}), check, "server"), driver.Unknown, "sync_interval", "-m 8222")
}

// A later jetstream block of the configuration takes the place of brokertest's.
func TestInspectALazyServer(t *testing.T) {
	t.Parallel()
	monitoring := freeAddress(t)
	server := brokertest.NATS(t, fmt.Sprintf("http: %q\njetstream { store_dir: %q }", monitoring, t.TempDir()))
	d, _ := open(t, server.URL, func(o *Options) { o.Monitoring = "http://" + monitoring })
	topic := unique(t)
	publish(t, d, topic, "one")
	expect(t, finding(t, inspect(t, d, driver.Use{Writes: []string{topic}}), "sync_interval", "server"),
		driver.Danger, "2m0s", "loss of power", "sync_interval: always")
}

func TestInspectRights(t *testing.T) {
	t.Parallel()
	server := brokertest.NATS(t, `
accounts {
  APP {
    jetstream { max_file: 10GB, max_mem: 1GB, max_streams: 2 }
    users [
      { user: all, password: pw }
      { user: reader, password: pw, permissions: {
          publish: { allow: ["$JS.API.INFO", "$JS.API.STREAM.INFO.open", "$JS.API.CONSUMER.>", "$SYS.REQ.USER.INFO"] }
          subscribe: { allow: "_INBOX.>" } } }
      { user: mute, password: pw, permissions: { publish: { allow: ["$JS.API.INFO", "$JS.API.STREAM.>"] } } }
    ]
  }
}`)
	as := func(user string) *Driver {
		d, _ := open(t, server.URL, func(o *Options) {
			o.User = user
			_ = o.Password.UnmarshalText([]byte("pw"))
		})
		return d
	}
	all := as("all")
	if _, err := all.EnsureTopic(t.Context(), driver.Topic{Name: "open"}); err != nil {
		t.Fatal(err)
	}
	use := driver.Use{Writes: []string{"open", "closed"}, Reads: []driver.Reading{{Topic: "open", Group: "g", Lease: longLease}}}
	found := inspect(t, all, use)
	expect(t, finding(t, found, "rights", "server"), driver.Good, "APP")
	expect(t, finding(t, found, "account streams", "server"), driver.Good, "2 of 2")
	use.Writes = append(use.Writes, "third")
	expect(t, finding(t, inspect(t, all, use), "account streams", "server"), driver.Danger, "3 of 2")

	use.Reads = append(use.Reads, use.Reads[0])
	found = inspect(t, as("reader"), use)
	if n := countOf(found, "rights", "topic open"); n != 2 { // to publish, and to acknowledge
		t.Errorf("%d rights to topic open are missing, want each once: %+v", n, found)
	}
	expect(t, finding(t, found, "rights", "topic open"), driver.Danger, "publish to open")
	expect(t, finding(t, found, "stream", "topic closed"), driver.Unknown, "STREAM.INFO.closed")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := as("mute").Inspect(ctx, use); err != nil {
		t.Errorf("a user who may not ask for its rights: %v", err)
	}
}

func countOf(found []driver.Finding, check, subject string) int {
	n := 0
	for _, f := range found {
		if f.Check == check && f.Subject == subject {
			n++
		}
	}
	return n
}

func TestPermissions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, subject string
		want             bool
	}{
		{"a.b", "a.b", true},
		{"a.*", "a.b", true},
		{"a.>", "a.b.c", true},
		{">", "a", true},
		{"a.>", "a", false},
		{"a.*", "a.b.c", false},
		{"a.*", "a.>", false},
		{"a.>", "a.>", true},
		{"a.b", "a.*", false},
		{"a", "b", false},
	} {
		if got := covers(c.pattern, c.subject); got != c.want {
			t.Errorf("covers(%q, %q) = %v", c.pattern, c.subject, got)
		}
	}
	p := &permission{Allow: []string{"a.> workers"}, Deny: []string{"a.x"}}
	if !p.allows("a.b") || p.allows("a.x") || p.allows("b") || !(*permission)(nil).allows("b") || !(&permission{}).allows("b") {
		t.Error("allow and deny are not weighed as a server does")
	}
}
