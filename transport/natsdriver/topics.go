package natsdriver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/anywire/anywire/transport/driver"
)

const (
	defaultAge  = 7 * 24 * time.Hour
	dedupWindow = 2 * time.Minute
	// mostShards keeps a stream's list of subjects reasonable.
	mostShards = 4096

	metaTopic  = "anywire.topic"
	metaShards = "anywire.shards"
)

// topic is what the driver knows of a stream that it found or made.
type topic struct {
	name, stream string
	subjects     []string // by shard
	created      time.Time
	ours         bool
	ackPrefix    []byte // how a confirmation of this stream begins
	next         atomic.Uint32
}

// shardOf places a message; without a key they go round.
func (t *topic) shardOf(key string) int {
	if len(t.subjects) == 1 {
		return 0
	}
	if key == "" {
		return int(t.next.Add(1)) % len(t.subjects)
	}
	return driver.ShardOf(key, len(t.subjects))
}

// shardAt is the shard of a subject.
func (t *topic) shardAt(subject string) int {
	if len(t.subjects) == 1 {
		return 0
	}
	shard, err := strconv.Atoi(subject[strings.LastIndexByte(subject, '.')+1:])
	if err != nil {
		return 0
	}
	return shard
}

// topicCache holds what was found or made, and what was asked for.
type topicCache struct {
	mu     sync.RWMutex
	known  map[string]*topic
	specs  map[string]driver.Topic
	warned map[string]bool // of what, by topic
}

// warnsOf reports whether nobody has been warned of something about a topic yet.
func (c *topicCache) warnsOf(topic, what string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.warned == nil {
		c.warned = map[string]bool{}
	}
	seen := c.warned[topic+" "+what]
	c.warned[topic+" "+what] = true
	return !seen
}

func (c *topicCache) get(name string) *topic {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.known[name]
}

func (c *topicCache) put(t *topic) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil {
		c.known = map[string]*topic{}
	}
	c.known[t.name] = t
}

// forget makes the next use look again.
func (c *topicCache) forget(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.known, name)
}

func (c *topicCache) specOf(name string) driver.Topic {
	c.mu.RLock()
	defer c.mu.RUnlock()
	spec := c.specs[name]
	spec.Name = name
	return spec
}

func (c *topicCache) remember(spec driver.Topic) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.specs == nil {
		c.specs = map[string]driver.Topic{}
	}
	c.specs[spec.Name] = spec
}

// topicFor finds a topic, or makes it as it was asked for.
func (d *Driver) topicFor(ctx context.Context, name string) (*topic, error) {
	if t := d.topics.get(name); t != nil {
		return t, nil
	}
	t, _, err := d.ensure(ctx, d.topics.specOf(name))
	return t, err
}

// EnsureTopic makes the stream of a topic if it is missing. What exists is
// compared with what is asked for, and never changed.
func (d *Driver) EnsureTopic(ctx context.Context, spec driver.Topic) (driver.Topic, error) {
	if err := d.ready(ctx); err != nil {
		return driver.Topic{}, err
	}
	_, info, err := d.ensure(ctx, spec)
	if err != nil {
		return driver.Topic{}, err
	}
	d.topics.remember(spec)
	return describe(spec.Name, &info.Config), nil
}

func (d *Driver) ensure(ctx context.Context, spec driver.Topic) (*topic, *jetstream.StreamInfo, error) {
	stream, err := streamName(spec.Name)
	if err != nil {
		return nil, nil, err
	}
	if spec.Shards < 0 || spec.Shards > mostShards {
		return nil, nil, fmt.Errorf("topic %q: %d shards: use 1 to %d", spec.Name, spec.Shards, mostShards)
	}
	found, err := d.js.Stream(ctx, stream)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound) && (spec.Require || d.o.Require):
		return nil, nil, notFound(spec.Name)
	case errors.Is(err, jetstream.ErrStreamNotFound):
		found, err = d.create(ctx, stream, spec)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("topic %q: stream %q: %w", spec.Name, stream, d.explain(ctx, spec, err))
	}
	info := found.CachedInfo()
	if err := check(spec, &info.Config); err != nil {
		return nil, nil, fmt.Errorf("topic %q: stream %q %w", spec.Name, stream, err)
	}
	d.warn(spec.Name, &info.Config)
	t := newTopic(spec.Name, info)
	d.topics.put(t)
	return t, info, nil
}

func newTopic(name string, info *jetstream.StreamInfo) *topic {
	return &topic{
		name: name, stream: info.Config.Name, created: info.Created,
		subjects:  subjectsOf(name, shardsOf(name, &info.Config)),
		ours:      info.Config.Metadata[metaTopic] != "",
		ackPrefix: []byte(`{"stream":"` + info.Config.Name + `"`),
	}
}

// describe says what a stream is as a topic.
func describe(name string, cfg *jetstream.StreamConfig) driver.Topic {
	t := driver.Topic{
		Name: name, Shards: shardsOf(name, cfg), Replicas: cfg.Replicas,
		RetentionAge: cfg.MaxAge, RetentionBytes: max(cfg.MaxBytes, 0),
	}
	if cfg.MaxAge == 0 {
		t.RetentionAge = -1
	}
	return t
}

// Topics lists the streams that this driver, or another process with it, made.
func (d *Driver) Topics(ctx context.Context) ([]driver.Topic, error) {
	if err := d.ready(ctx); err != nil {
		return nil, err
	}
	var topics []driver.Topic
	streams := d.js.ListStreams(ctx)
	for info := range streams.Info() {
		name := info.Config.Metadata[metaTopic]
		if name == "" || escapeName(name) != info.Config.Name {
			continue
		}
		topics = append(topics, describe(name, &info.Config))
	}
	slices.SortFunc(topics, func(a, b driver.Topic) int { return strings.Compare(a.Name, b.Name) })
	return topics, wrap(streams.Err())
}
