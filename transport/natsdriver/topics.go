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
	mu    sync.RWMutex
	known map[string]*topic
	specs map[string]driver.Topic
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

// create makes a stream; one that was made at the same moment is fine.
func (d *Driver) create(ctx context.Context, stream string, spec driver.Topic) (jetstream.Stream, error) {
	shards := max(spec.Shards, 1)
	cfg := jetstream.StreamConfig{
		Name: stream, Subjects: subjectsOf(spec.Name, shards),
		Retention: jetstream.LimitsPolicy, Storage: d.o.storage(), Replicas: d.o.Replicas,
		MaxAge: defaultAge, MaxBytes: -1, MaxMsgs: -1, Duplicates: dedupWindow,
		// A full topic refuses what is new, as dropping what is old would lose
		// messages in silence.
		Discard:     jetstream.DiscardNew,
		AllowDirect: true,
		Metadata:    map[string]string{metaTopic: spec.Name, metaShards: strconv.Itoa(shards)},
	}
	if spec.RetentionAge != 0 {
		cfg.MaxAge = max(spec.RetentionAge, 0)
	}
	if cfg.MaxAge > 0 {
		cfg.Duplicates = min(cfg.Duplicates, cfg.MaxAge)
	}
	if spec.RetentionBytes > 0 {
		cfg.MaxBytes = spec.RetentionBytes
	}
	if spec.Replicas > 0 {
		cfg.Replicas = spec.Replicas
	}
	made, err := d.js.CreateStream(ctx, cfg)
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		return d.js.Stream(ctx, stream)
	}
	return made, err
}

// explain names the stream that is in the way.
func (d *Driver) explain(ctx context.Context, spec driver.Topic, err error) error {
	if apiCode(err) != codeSubjectOverlap {
		return wrap(err)
	}
	for _, subject := range subjectsOf(spec.Name, max(spec.Shards, 1)) {
		other, lookup := d.js.StreamNameBySubject(ctx, subject)
		if lookup != nil {
			continue
		}
		if topic, ok := topicOf(other); ok {
			other += fmt.Sprintf(" (topic %q)", topic)
		}
		return fmt.Errorf("subject %s belongs to stream %s already, and a subject has one stream: rename the topic, or that one: %w",
			subject, other, err)
	}
	return err
}

// shardsOf is the number of shards of a stream: from its metadata, or, of a
// foreign one, from its subjects.
func shardsOf(topic string, cfg *jetstream.StreamConfig) int {
	if n, err := strconv.Atoi(cfg.Metadata[metaShards]); err == nil && n > 0 {
		return n
	}
	if len(cfg.Subjects) == 1 && cfg.Subjects[0] == subjectOf(topic) {
		return 1
	}
	return max(len(cfg.Subjects), 1)
}

// check compares a stream with what is asked for, and refuses settings that
// would lose or withhold messages.
func check(spec driver.Topic, cfg *jetstream.StreamConfig) error {
	shards := shardsOf(spec.Name, cfg)
	if spec.Shards > 0 && spec.Shards != shards {
		return fmt.Errorf("has %d shards, and %d are asked for: the number is fixed when a topic is made", shards, spec.Shards)
	}
	if want := subjectsOf(spec.Name, shards); !sameSet(cfg.Subjects, want) {
		return fmt.Errorf("has the subjects %v, and the topic needs %v: it belongs to somebody else; rename the topic",
			cfg.Subjects, subjectsOf(spec.Name, max(spec.Shards, 1)))
	}
	if spec.RetentionAge != 0 && max(spec.RetentionAge, 0) != cfg.MaxAge {
		return fmt.Errorf("keeps messages for %v, and %v is asked for: change one of them", ageText(cfg.MaxAge), ageText(spec.RetentionAge))
	}
	if spec.RetentionBytes > 0 && spec.RetentionBytes != cfg.MaxBytes {
		return fmt.Errorf("keeps %d bytes, and %d are asked for: change one of them", cfg.MaxBytes, spec.RetentionBytes)
	}
	if spec.Replicas > 0 && spec.Replicas != cfg.Replicas {
		return fmt.Errorf("has %d replicas, and %d are asked for: change one of them", cfg.Replicas, spec.Replicas)
	}
	return checkHarmless(cfg)
}

func checkHarmless(cfg *jetstream.StreamConfig) error {
	switch {
	case cfg.Retention != jetstream.LimitsPolicy:
		return fmt.Errorf("has retention %v, and several groups need %v: with it a message goes when one group, or nobody, is there",
			cfg.Retention, jetstream.LimitsPolicy)
	case cfg.NoAck:
		return errors.New("has no_ack true, and false is needed: it confirms nothing")
	case cfg.MaxMsgsPerSubject > 0:
		return fmt.Errorf("has max_msgs_per_subject %d, and -1 is needed: it drops what nobody has read", cfg.MaxMsgsPerSubject)
	case cfg.Mirror != nil || len(cfg.Sources) > 0:
		return errors.New("mirrors or sources other streams, and a topic is published to directly")
	case cfg.SubjectTransform != nil:
		return errors.New("transforms subjects, and a topic keeps them")
	case cfg.Sealed:
		return errors.New("is sealed, and a topic takes messages")
	}
	return nil
}

func ageText(age time.Duration) string {
	if age <= 0 {
		return "ever"
	}
	return age.String()
}

func sameSet(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
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
