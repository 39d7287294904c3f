package kafkadriver

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/transport/driver"
)

const (
	retentionAge   = "retention.ms"
	retentionBytes = "retention.bytes"
	minInSync      = "min.insync.replicas"
)

// settings are a resource's, by name; nil where they could not be read.
type settings map[string]string

func settingsOf(c kadm.ResourceConfig) settings {
	s := settings{}
	for _, kv := range c.Configs {
		s[kv.Key] = kv.MaybeValue()
	}
	return s
}

// number is 0 for what is not there.
func (s settings) number(key string) int {
	n, err := strconv.ParseInt(s[key], 10, 64)
	if err != nil {
		return 0
	}
	return int(n)
}

// settings of a topic.
func (d *Driver) settings(ctx context.Context, name string) (settings, error) {
	configs, err := d.adm.DescribeTopicConfigs(ctx, name)
	if err != nil {
		return nil, err
	}
	c, err := configs.On(name, nil)
	if err == nil {
		err = c.Err
	}
	if err != nil {
		return nil, err
	}
	return settingsOf(c), nil
}

// create asks for a topic, with more settings by their names; that somebody else
// made it meanwhile is no error.
func (d *Driver) create(ctx context.Context, spec driver.Topic, more settings) error {
	replicas := max(spec.Replicas, 0)
	if replicas == 0 {
		replicas = d.o.Replicas
	}
	shards := max(1, spec.Shards)
	configs := map[string]*string{}
	set := func(key string, n int64) {
		text := strconv.FormatInt(n, 10)
		configs[key] = &text
	}
	switch {
	case spec.RetentionAge < 0:
		set(retentionAge, -1)
	case spec.RetentionAge > 0:
		set(retentionAge, spec.RetentionAge.Milliseconds())
	}
	if spec.RetentionBytes > 0 {
		set(retentionBytes, partOf(spec.RetentionBytes, shards))
	}
	if replicas >= 3 {
		set(minInSync, 2)
	}
	for key, text := range more {
		configs[key] = &text
	}
	factor := int16(-1) // the broker's default
	if replicas > 0 {
		factor = int16(replicas)
	}
	made, err := d.adm.CreateTopics(ctx, int32(shards), factor, configs, spec.Name)
	if err != nil {
		return err
	}
	answer := made[spec.Name]
	if answer.Err == nil || errors.Is(answer.Err, kerr.TopicAlreadyExists) {
		return nil
	}
	return refusal(answer)
}

// refusal adds what the broker says, and to names that clash, what that is.
func refusal(answer kadm.CreateTopicResponse) error {
	if strings.Contains(answer.ErrMessage, "collide") {
		return fmt.Errorf("no two topics on Kafka have names that differ in \".\" and \"_\" only: %s: %w", answer.ErrMessage, answer.Err)
	}
	if answer.ErrMessage != "" && !errors.Is(answer.Err, kerr.TopicAuthorizationFailed) {
		return fmt.Errorf("create: %w: %s", answer.Err, answer.ErrMessage)
	}
	return fmt.Errorf("create: %w", answer.Err)
}

// partOf is a partition's part of a topic's bytes.
func partOf(bytes int64, shards int) int64 { return (bytes + int64(shards) - 1) / int64(shards) }

// describe says what the broker has.
func describe(detail kadm.TopicDetail, s settings) driver.Topic {
	t := driver.Topic{Name: detail.Topic, Shards: len(detail.Partitions), Replicas: detail.Partitions.NumReplicas()}
	switch age := s.number(retentionAge); {
	case age < 0:
		t.RetentionAge = -1
	case age > int(mostAge/time.Millisecond):
		t.RetentionAge = mostAge
	default:
		t.RetentionAge = time.Duration(age) * time.Millisecond
	}
	if per := s.number(retentionBytes); per > 0 {
		t.RetentionBytes = int64(per) * int64(t.Shards)
	}
	return t
}

// mostAge is the longest that a time.Duration holds, in whole days.
const mostAge = 106_751 * 24 * time.Hour

// compare is the error of settings that differ from what is asked for.
func compare(spec, have driver.Topic) error {
	differs := func(what string, have, want any, way string) error {
		return fmt.Errorf("topic %q: %s is %v on the broker and %v here: %s", spec.Name, what, have, want, way)
	}
	const byHand = "change the one or the other (kafka-configs.sh --alter)"
	switch {
	case spec.Shards != 0 && spec.Shards != have.Shards:
		return differs("the number of partitions", have.Shards, spec.Shards,
			"a key would move to another one: use the broker's number, or a new topic")
	case spec.Replicas != 0 && spec.Replicas != have.Replicas:
		return differs("the number of replicas", have.Replicas, spec.Replicas, "use the broker's number, or kafka-reassign-partitions.sh")
	case spec.RetentionAge != 0 && shown(spec.RetentionAge) != shown(have.RetentionAge):
		return differs("retention age", shown(have.RetentionAge), shown(spec.RetentionAge), byHand)
	case spec.RetentionBytes > 0 && partOf(spec.RetentionBytes, have.Shards)*int64(have.Shards) != have.RetentionBytes:
		return differs("retention bytes", have.RetentionBytes, spec.RetentionBytes, byHand)
	}
	return nil
}

func shown(age time.Duration) string {
	if age < 0 {
		return "without bound"
	}
	return value.Duration(age.Truncate(time.Millisecond)).String()
}
