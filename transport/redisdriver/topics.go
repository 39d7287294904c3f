package redisdriver

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/anywire/anywire/internal/redisconn"
	"github.com/anywire/anywire/transport/driver"
)

const (
	defaultAge = 7 * 24 * time.Hour
	// mostShards keeps the number of keys, and of commands that look at each,
	// reasonable.
	mostShards = 4096

	recordShards = "shards"
	recordAge    = "retention_age"
	recordBytes  = "retention_bytes"
	// foreverAge stands for no bound in a record.
	foreverAge = "none"

	typeNone   = "none"
	typeStream = "stream"
)

// topicMeta is what is recorded of a topic.
type topicMeta struct {
	shards         int
	retentionAge   time.Duration // negative: without bound
	retentionBytes int64         // 0: without bound
}

// topic is what the driver knows of one that it found or made.
type topic struct {
	name    string
	meta    topicMeta
	streams []string // by shard
	next    atomic.Uint32
	trimmed atomic.Int64 // when this process last looked, in nanoseconds
}

func newTopic(name string, meta topicMeta) *topic {
	return &topic{name: name, meta: meta, streams: streamsOf(name, meta.shards)}
}

// streamFor places a message; without a key they go round.
func (t *topic) streamFor(key string) *string {
	switch {
	case len(t.streams) == 1:
		return &t.streams[0]
	case key == "":
		return &t.streams[int(t.next.Add(1)%uint32(len(t.streams)))]
	}
	return &t.streams[driver.ShardOf(key, len(t.streams))]
}

// describe finds a topic; one that is missing is ErrNotFound. What it says is
// at most freshFor old.
func (d *Driver) describe(ctx context.Context, name string) (topicMeta, error) {
	if t := d.topics.get(name); t != nil {
		return t.meta, nil
	}
	meta, found, err := d.find(ctx, name)
	if err != nil {
		return topicMeta{}, err
	}
	if !found {
		return topicMeta{}, notFound(name)
	}
	d.topics.put(newTopic(name, meta))
	return meta, nil
}

// ensure finds a topic, or makes it as it was asked for.
func (d *Driver) ensure(ctx context.Context, name string) (topicMeta, error) {
	t, err := d.topicFor(ctx, name)
	if err != nil {
		return topicMeta{}, err
	}
	return t.meta, nil
}

// topicFor is ensure for those who publish. When what is known gets old, one
// caller looks again while the others go on with it.
func (d *Driver) topicFor(ctx context.Context, name string) (*topic, error) {
	known, refresh := d.topics.use(name)
	if known != nil && !refresh {
		return known, nil
	}
	spec := d.topics.specOf(name)
	meta, err := d.make(ctx, spec)
	if err == nil && known == nil {
		err = d.checkShards(ctx, name, meta.shards)
	}
	if err != nil && known != nil && !errors.Is(err, driver.ErrNotFound) {
		return known, nil // whatever is wrong now, what comes next will say it
	}
	if err != nil {
		d.topics.forget(name)
		return nil, err
	}
	t := d.topics.put(newTopic(name, meta))
	if known != nil {
		d.trimBeside(t)
	}
	return t, nil
}

// EnsureTopic records a topic if it is missing; its streams appear with the first
// message or group. What exists is compared with what is asked for, and never
// changed. A stream that somebody else made is a topic with one shard.
func (d *Driver) EnsureTopic(ctx context.Context, spec driver.Topic) (driver.Topic, error) {
	if err := d.usable(); err != nil {
		return driver.Topic{}, err
	}
	meta, err := d.make(ctx, spec)
	if err == nil {
		err = d.checkShards(ctx, spec.Name, meta.shards)
	}
	if err != nil {
		return driver.Topic{}, err
	}
	d.topics.remember(spec)
	d.topics.put(newTopic(spec.Name, meta))
	return meta.topic(spec.Name), nil
}

func (m topicMeta) topic(name string) driver.Topic {
	return driver.Topic{Name: name, Shards: m.shards, RetentionAge: m.retentionAge, RetentionBytes: m.retentionBytes}
}

// make finds the topic, or records it as asked for, and compares.
func (d *Driver) make(ctx context.Context, spec driver.Topic) (topicMeta, error) {
	if err := checkSpec(spec); err != nil {
		return topicMeta{}, err
	}
	meta, found, err := d.find(ctx, spec.Name)
	if err != nil {
		return topicMeta{}, err
	}
	if !found {
		if meta, err = d.create(ctx, spec); err != nil {
			return topicMeta{}, err
		}
	}
	return meta, meta.compare(spec)
}

func checkSpec(spec driver.Topic) error {
	if err := checkName("topic", spec.Name); err != nil {
		return err
	}
	switch {
	case spec.Shards < 0 || spec.Shards > mostShards:
		return fmt.Errorf("topic %q: %d shards: use 1 to %d", spec.Name, spec.Shards, mostShards)
	case spec.RetentionBytes < 0:
		return fmt.Errorf("topic %q: retention of %d bytes: use 0 for no bound", spec.Name, spec.RetentionBytes)
	case spec.Replicas > 1:
		return fmt.Errorf("topic %q: %d replicas: Redis replicates whole servers, not topics: leave replicas out", spec.Name, spec.Replicas)
	}
	return nil
}

// compare names what differs from a request.
func (m topicMeta) compare(spec driver.Topic) error {
	var errs []error
	differs := func(field, has, wants string) {
		errs = append(errs, fmt.Errorf(
			"topic %q has %s %s on this server, and %s is asked for: ask for what it has, or change it with HSET '%s' %s",
			spec.Name, field, has, wants, recordOf(spec.Name), field))
	}
	if spec.Shards != 0 && spec.Shards != m.shards {
		errs = append(errs, fmt.Errorf(
			"topic %q has %d shards on this server, and %d are asked for: messages would get out of order: ask for %d, or use a new topic",
			spec.Name, m.shards, spec.Shards, m.shards))
	}
	if age := spec.RetentionAge; age != 0 && max(age, -1) != max(m.retentionAge, -1) {
		differs(recordAge, ageText(m.retentionAge), ageText(age))
	}
	if spec.RetentionBytes != 0 && spec.RetentionBytes != m.retentionBytes {
		differs(recordBytes, strconv.FormatInt(m.retentionBytes, 10), strconv.FormatInt(spec.RetentionBytes, 10))
	}
	return errors.Join(errs...)
}

func ageText(age time.Duration) string {
	if age < 0 {
		return foreverAge
	}
	return age.String()
}

// find reads a topic's record, or sees that a stranger made the stream.
func (d *Driver) find(ctx context.Context, name string) (meta topicMeta, found bool, err error) {
	if err := checkName("topic", name); err != nil {
		return topicMeta{}, false, err
	}
	pipe := d.client.Pipeline()
	record := pipe.HMGet(ctx, recordOf(name), recordShards, recordAge, recordBytes)
	kind := pipe.Type(ctx, name)
	_, _ = pipe.Exec(ctx) // each has its own error
	if err := errors.Join(record.Err(), kind.Err()); err != nil {
		return topicMeta{}, false, fmt.Errorf("topic %q: %w", name, wrap(err))
	}
	meta, found, err = parseRecord(record.Val())
	if err != nil {
		return topicMeta{}, false, &topicError{fmt.Sprintf("topic %q: hash %q: %v", name, recordOf(name), err)}
	}
	switch {
	case found && meta.shards > 1: // the key of the name is nothing of ours
		return meta, true, nil
	case kind.Val() != typeNone && kind.Val() != typeStream:
		return topicMeta{}, false, wrongType(name, name, kind.Val())
	}
	return meta, found || kind.Val() == typeStream, nil
}

// topicError is one that no other connection would cure.
type topicError struct{ text string }

func (e *topicError) Error() string { return e.text }

func wrongType(name, key, kind string) error {
	return &topicError{fmt.Sprintf(
		"topic %q: key %q is a %s, and a topic needs a stream: rename the topic, or delete the key", name, key, kind)}
}

// checkShards names the shards of a topic with several whose key is something else:
// nothing could be stored there, nor read.
func (d *Driver) checkShards(ctx context.Context, name string, shards int) error {
	if shards <= 1 {
		return nil // find has looked
	}
	streams := streamsOf(name, shards)
	kinds, err := d.kindsOf(ctx, streams)
	if err != nil {
		return fmt.Errorf("topic %q: %w", name, wrap(err))
	}
	var errs []error
	for i, kind := range kinds {
		if kind != typeNone && kind != typeStream {
			errs = append(errs, wrongType(name, streams[i], kind))
		}
	}
	return errors.Join(errs...)
}

// kindsOf are the types of keys; of those that this user may not look at, none.
func (d *Driver) kindsOf(ctx context.Context, keys []string) ([]string, error) {
	pipe := d.client.Pipeline()
	asked := make([]*redis.StatusCmd, len(keys))
	for i, key := range keys {
		asked[i] = pipe.Type(ctx, key)
	}
	_, _ = pipe.Exec(ctx) // each has its own error
	kinds := make([]string, len(keys))
	for i, one := range asked {
		kind, err := one.Result()
		switch {
		case redisconn.IsAnswer(err, "NOPERM"):
			kind = typeNone
		case err != nil:
			return nil, err
		}
		kinds[i] = kind
	}
	return kinds, nil
}

// parseRecord reads the fields of a record; those that are missing have their
// defaults.
func parseRecord(values []any) (meta topicMeta, found bool, err error) {
	meta = topicMeta{shards: 1, retentionAge: defaultAge}
	text := func(i int) string {
		if i >= len(values) {
			return ""
		}
		s, ok := values[i].(string)
		found = found || ok
		return s
	}
	if s := text(0); s != "" {
		if meta.shards, err = strconv.Atoi(s); err != nil || meta.shards < 1 || meta.shards > mostShards {
			return topicMeta{}, false, fmt.Errorf("%s is %q: use 1 to %d", recordShards, s, mostShards)
		}
	}
	switch s := text(1); s {
	case "":
	case foreverAge:
		meta.retentionAge = -1
	default:
		if meta.retentionAge, err = time.ParseDuration(s); err != nil || meta.retentionAge <= 0 {
			return topicMeta{}, false, fmt.Errorf("%s is %q: use a duration such as 168h, or %s", recordAge, s, foreverAge)
		}
	}
	if s := text(2); s != "" {
		if meta.retentionBytes, err = strconv.ParseInt(s, 10, 64); err != nil || meta.retentionBytes < 0 {
			return topicMeta{}, false, fmt.Errorf("%s is %q: use a number of bytes, or 0", recordBytes, s)
		}
	}
	return meta, found, nil
}

// createScript records a topic unless somebody else just did, or made a stream.
// It returns the type of the key and the record.
//
//nolint:gochecknoglobals // a constant
var createScript = embedded("create")

// create records a topic that was missing a moment ago.
func (d *Driver) create(ctx context.Context, spec driver.Topic) (topicMeta, error) {
	if spec.Require || d.o.Require {
		return topicMeta{}, notFound(spec.Name)
	}
	meta := topicMeta{shards: max(spec.Shards, 1), retentionAge: spec.RetentionAge, retentionBytes: spec.RetentionBytes}
	if meta.retentionAge == 0 {
		meta.retentionAge = defaultAge
	}
	if err := d.overlaps(ctx, spec.Name, meta.shards); err != nil {
		return topicMeta{}, err
	}
	answer, err := d.eval(ctx, createScript, []string{recordOf(spec.Name), spec.Name},
		meta.shards, ageText(meta.retentionAge), meta.retentionBytes).StringSlice()
	if err != nil {
		return topicMeta{}, fmt.Errorf("create topic %q: %w", spec.Name, wrap(err))
	}
	if kind := answer[0]; kind != typeNone && kind != typeStream {
		return topicMeta{}, wrongType(spec.Name, spec.Name, kind)
	}
	record := make([]any, 0, len(answer))
	for _, field := range answer[1:] {
		record = append(record, field)
	}
	meta, _, err = parseRecord(record)
	return meta, err
}

// overlaps refuses a topic whose streams would be those of another: shard 1 of
// topic a is the stream of a topic that is called a:1.
func (d *Driver) overlaps(ctx context.Context, name string, shards int) error {
	if base, shard, ok := shardNamed(name); ok {
		meta, found, err := d.find(ctx, base)
		if err == nil && found && meta.shards > max(shard, 1) {
			return fmt.Errorf("topic %q: its stream is that of shard %d of topic %q: use another name", name, shard, base)
		}
	}
	pipe := d.client.Pipeline()
	var owned []*redis.IntCmd
	var kinds []*redis.StatusCmd
	for shard := range max(shards+1, 2) { // one more than there should be
		stream := streamOf(name, shard, mostShards)
		owned = append(owned, pipe.Exists(ctx, recordOf(stream)))
		kinds = append(kinds, pipe.Type(ctx, stream))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("create topic %q: %w", name, wrap(err))
	}
	foreign := 0
	for shard := range owned {
		stream, kind := streamOf(name, shard, mostShards), kinds[shard].Val()
		switch within := shards > 1 && shard < shards; {
		case within && owned[shard].Val() > 0:
			return fmt.Errorf("topic %q: the stream of its shard %d is that of topic %q: use another name", name, shard, stream)
		case within && kind != typeNone && kind != typeStream:
			return wrongType(name, stream, kind)
		case !within && owned[shard].Val() == 0 && kind == typeStream:
			foreign++
		}
	}
	if foreign > 1 || foreign > 0 && shards > 1 {
		return fmt.Errorf("topic %q: there are streams of more shards than the %d asked for, such as %q, and the hash %q that "+
			"says how many is missing: HSET '%s' shards with their number", name, shards, streamOf(name, shards, mostShards),
			recordOf(name), recordOf(name))
	}
	return nil
}
