package natsdriver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/transport/driver"
)

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
		return fmt.Errorf("subject %s belongs to stream %s already, and a subject has one stream: rename the topic, or that one: %w",
			subject, streamText(other), err)
	}
	return err
}

// streamText names a stream, and the topic that it would be.
func streamText(stream string) string {
	if topic, ok := topicOf(stream); ok && topic != stream {
		return fmt.Sprintf("%s (topic %q)", stream, topic)
	}
	return stream
}

// warn tells, once, of a stream that may lose messages which nobody has read. Its
// settings are its owner's: they are neither changed nor refused.
func (d *Driver) warn(topic string, cfg *jetstream.StreamConfig) {
	log := d.o.Logger.With("topic", topic, "stream", cfg.Name)
	bounded := cfg.MaxBytes > 0 || cfg.MaxMsgs > 0
	if bounded && cfg.Discard == jetstream.DiscardOld && d.topics.warnsOf(topic, "discard") {
		log.Error("this stream drops its oldest messages, read or not, when it is full",
			"max_msgs", cfg.MaxMsgs, "max_bytes", cfg.MaxBytes, "fix", "nats stream edit --discard=new, or remove the bounds")
	}
	if cfg.Storage == jetstream.MemoryStorage && d.o.Storage != "memory" && d.topics.warnsOf(topic, "storage") {
		log.Warn("this stream is in the memory of its server and ends with it", "fix", "make it anew with file storage")
	}
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
		return fmt.Errorf("has retention %v, which deletes messages that another group has not read: use %v, or rename the topic",
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
	return value.Duration(age).String()
}

func sameSet(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}
