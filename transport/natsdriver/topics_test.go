package natsdriver

import (
	"errors"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/transport/driver"
)

func TestTopicAsItIsMade(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedNATS(t).URL, nil)
	name := unique(t)
	got, err := d.EnsureTopic(t.Context(), driver.Topic{Name: name, Shards: 3, RetentionBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	want := driver.Topic{Name: name, Shards: 3, RetentionAge: 7 * 24 * time.Hour, RetentionBytes: 1 << 20, Replicas: 1}
	if got != want {
		t.Errorf("topic is %+v, want %+v", got, want)
	}
	cfg := streamConfig(t, d, escapeName(name))
	if cfg.Discard != jetstream.DiscardNew || cfg.Storage != jetstream.FileStorage || cfg.Duplicates != 2*time.Minute {
		t.Errorf("stream is %+v", cfg)
	}
	if forever, err := d.EnsureTopic(t.Context(), driver.Topic{Name: name + ".dead", RetentionAge: -1}); err != nil || forever.RetentionAge != -1 {
		t.Errorf("topic without an age limit is %+v, %v", forever, err)
	}
}

func streamConfig(t *testing.T, d *Driver, stream string) jetstream.StreamConfig {
	t.Helper()
	s, err := d.js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().Config
}

// TestForeignStreams: what would lose or withhold messages is refused with both
// values, and nothing is changed.
func TestForeignStreams(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedNATS(t).URL, nil)
	for want, c := range map[string]struct {
		change func(topic string, cfg *jetstream.StreamConfig)
		spec   driver.Topic
	}{
		"subjects":             {change: func(topic string, cfg *jetstream.StreamConfig) { cfg.Subjects = []string{topic + ".>"} }},
		"retention WorkQueue":  {change: func(_ string, cfg *jetstream.StreamConfig) { cfg.Retention = jetstream.WorkQueuePolicy }},
		"retention Interest":   {change: func(_ string, cfg *jetstream.StreamConfig) { cfg.Retention = jetstream.InterestPolicy }},
		"no_ack true":          {change: func(_ string, cfg *jetstream.StreamConfig) { cfg.NoAck = true }},
		"max_msgs_per_subject": {change: func(_ string, cfg *jetstream.StreamConfig) { cfg.MaxMsgsPerSubject = 1 }},
		"1 shards, and 4":      {spec: driver.Topic{Shards: 4}},
		"1h, and 1d":           {change: func(_ string, cfg *jetstream.StreamConfig) { cfg.MaxAge = time.Hour }, spec: driver.Topic{RetentionAge: 24 * time.Hour}},
		"-1 bytes, and 77":     {spec: driver.Topic{RetentionBytes: 77}},
		"1 replicas, and 3":    {spec: driver.Topic{Replicas: 3}},
	} {
		topic := unique(t)
		cfg := jetstream.StreamConfig{Name: escapeName(topic), Subjects: []string{topic}}
		if c.change != nil {
			c.change(topic, &cfg)
		}
		if _, err := d.js.CreateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		before := streamConfig(t, d, cfg.Name)
		c.spec.Name = topic
		_, err := d.EnsureTopic(t.Context(), c.spec)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), cfg.Name) {
			t.Errorf("error %v, want one that says %q and names the stream", err, want)
		}
		if after := streamConfig(t, d, cfg.Name); !reflect.DeepEqual(before, after) {
			t.Errorf("%s: the stream was changed from %+v to %+v", want, before, after)
		}
	}
}

// A stream that may lose messages is used as it is, and told of once.
func TestForeignStreamsThatLoseMessagesAreToldOf(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*jetstream.StreamConfig){
		"drops its oldest messages": func(c *jetstream.StreamConfig) { c.MaxMsgs = 10 },
		"memory of its server":      func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage },
		"":                          func(c *jetstream.StreamConfig) { c.MaxMsgs, c.Discard = 10, jetstream.DiscardNew },
	} {
		var log strings.Builder
		d, _ := open(t, brokertest.SharedNATS(t).URL, func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		topic := unique(t)
		cfg := jetstream.StreamConfig{Name: escapeName(topic), Subjects: []string{topic}}
		change(&cfg)
		if _, err := d.js.CreateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := d.EnsureTopic(t.Context(), driver.Topic{Name: topic}); err != nil {
				t.Fatal(err)
			}
		}
		lines := strings.Count(log.String(), topic)
		if want == "" && lines > 0 || want != "" && (lines != 1 || !strings.Contains(log.String(), want)) {
			t.Errorf("log %q, want one line with %q", log.String(), want)
		}
	}
}

func TestForeignStreamThatFits(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedNATS(t).URL, nil)
	topic := unique(t)
	cfg := jetstream.StreamConfig{Name: escapeName(topic), Subjects: subjectsOf(topic, 2), MaxAge: time.Hour}
	if _, err := d.js.CreateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	before := streamConfig(t, d, cfg.Name)
	publish(t, d, topic, "1")
	take(t, subscribe(t, d, sub(topic)), 1)
	if after := streamConfig(t, d, cfg.Name); !reflect.DeepEqual(before, after) {
		t.Errorf("the stream was changed from %+v to %+v", before, after)
	}
	topics, err := d.Topics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, listed := range topics {
		if listed.Name == topic {
			t.Error("Topics lists a stream that is not of this system")
		}
	}
}

// TestPlainSubjects: a stranger publishes to the subject that is the topic's name.
func TestPlainSubjects(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedNATS(t).URL, nil)
	topic := unique(t)
	src := subscribe(t, d, sub(topic))
	if _, err := d.js.Publish(t.Context(), topic, []byte("plain")); err != nil {
		t.Fatal(err)
	}
	want(t, take(t, src, 1), "plain")
}

// TestOverlappingSubjects: topic a with shards has the subject a.0.
func TestOverlappingSubjects(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedNATS(t).URL, nil)
	topic := unique(t)
	if _, err := d.EnsureTopic(t.Context(), driver.Topic{Name: topic, Shards: 2}); err != nil {
		t.Fatal(err)
	}
	err := d.Publish(t.Context(), topic+".1", texts("x"))
	if err == nil || !strings.Contains(err.Error(), escapeName(topic)) || !strings.Contains(err.Error(), "rename") {
		t.Errorf("error %v, want one that names the stream in the way and what to do", err)
	}
	if err := d.Publish(t.Context(), topic+".2", texts("x")); err != nil {
		t.Errorf("topic beside the shards of another: %v", err)
	}
}

func TestRequiredTopics(t *testing.T) {
	t.Parallel()
	server := brokertest.SharedNATS(t)
	d, _ := open(t, server.URL, nil)
	strict, _ := open(t, server.URL, func(o *Options) { o.Require = true })
	topic := unique(t)
	if _, err := d.EnsureTopic(t.Context(), driver.Topic{Name: topic, Require: true}); !errors.Is(err, driver.ErrNotFound) {
		t.Errorf("EnsureTopic that requires a missing topic: %v, want ErrNotFound", err)
	}
	if err := strict.Publish(t.Context(), topic, texts("1")); !errors.Is(err, driver.ErrNotFound) {
		t.Errorf("Publish with require: %v, want ErrNotFound", err)
	}
	if _, err := strict.Subscribe(t.Context(), sub(topic)); !errors.Is(err, driver.ErrNotFound) {
		t.Errorf("Subscribe with require: %v, want ErrNotFound", err)
	}
	publish(t, d, topic, "1")
	publish(t, strict, topic, "2")
}

// TestForeignConsumers: a consumer of the group's name that would withhold or
// lose messages is refused.
func TestForeignConsumers(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedNATS(t).URL, nil)
	for want, cfg := range map[string]jetstream.ConsumerConfig{
		"max_deliver 5":    {MaxDeliver: 5},
		"ack policy":       {AckPolicy: jetstream.AckNonePolicy},
		"filters":          {FilterSubject: "other"},
		"backoff":          {BackOff: []time.Duration{time.Second}, MaxDeliver: -1},
		"headers only":     {HeadersOnly: true},
		"by somebody else": {},
	} {
		topic := unique(t)
		publish(t, d, topic, "1")
		cfg.Durable = "group"
		if want == "filters" {
			cfg.FilterSubject = topic
		}
		if _, err := d.js.CreateConsumer(t.Context(), escapeName(topic), cfg); err != nil {
			t.Fatal(want, err)
		}
		_, err := d.Subscribe(t.Context(), sub(topic))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), `"group"`) {
			t.Errorf("error %v, want one that says %q and names the consumer", err, want)
		}
	}
}

// TestLeaseOfTheGroup: a longer lease holds at once, a shorter one when nobody
// counts on the longer.
func TestLeaseOfTheGroup(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedNATS(t).URL, nil)
	topic := unique(t)
	lease := func(wanted time.Duration) time.Duration {
		s := sub(topic)
		s.Lease = wanted
		src, err := d.Subscribe(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		if wanted == longLease {
			publish(t, d, topic, "held")
			take(t, src, 1)
			t.Cleanup(func() { closeSource(t, src) })
		} else {
			closeSource(t, src)
		}
		c, err := d.js.Consumer(t.Context(), escapeName(topic), "group")
		if err != nil {
			t.Fatal(err)
		}
		return c.CachedInfo().Config.AckWait
	}
	for _, step := range []struct{ wanted, is time.Duration }{
		{time.Minute, time.Minute},
		{30 * time.Second, 30 * time.Second},
		{longLease, longLease},
		{time.Minute, longLease},
	} {
		if got := lease(step.wanted); got != step.is {
			t.Errorf("after a member with lease %v the group has %v, want %v", step.wanted, got, step.is)
		}
	}
}
