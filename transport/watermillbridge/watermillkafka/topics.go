package watermillkafka

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/IBM/sarama"

	"github.com/anywire/anywire/transport/driver"
)

// know makes sure that a topic exists, once.
func (d *Driver) know(ctx context.Context, topic string) error {
	if d.isClosed() {
		return driver.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, known := d.topics.Load(topic); known {
		return nil
	}
	asked, _ := d.specs.Load(topic)
	spec, _ := asked.(driver.Topic)
	spec.Name = topic
	_, err := d.EnsureTopic(ctx, spec)
	return err
}

// EnsureTopic implements [driver.Admin]: shards are partitions.
func (d *Driver) EnsureTopic(ctx context.Context, t driver.Topic) (driver.Topic, error) {
	var has driver.Topic
	err := within(ctx, func() error {
		var err error
		has, err = d.ensure(t)
		return err
	})
	if err != nil {
		return driver.Topic{Name: t.Name}, wrap(err)
	}
	d.topics.Store(t.Name, struct{}{})
	d.specs.Store(t.Name, t)
	return has, nil
}

func (d *Driver) ensure(t driver.Topic) (driver.Topic, error) {
	has, err := d.describe(t.Name)
	if errors.Is(err, driver.ErrNotFound) && !t.Require && !d.o.Require {
		if err := d.create(t); err != nil {
			return has, err
		}
		has, err = d.settled(t.Name)
	}
	if err != nil {
		return has, err
	}
	if t.Shards > 0 && t.Shards != has.Shards {
		return has, fmt.Errorf("topic %q has %d partitions, the configuration says %d: change one of them", t.Name, has.Shards, t.Shards)
	}
	if t.Replicas > 0 && t.Replicas != has.Replicas {
		return has, fmt.Errorf("topic %q has %d replicas, the configuration says %d: change one of them", t.Name, has.Replicas, t.Replicas)
	}
	return has, nil
}

// describe asks the brokers.
func (d *Driver) describe(name string) (driver.Topic, error) {
	m, err := d.metadata(name)
	if err != nil {
		return driver.Topic{Name: name}, err
	}
	return topicOf(m), nil
}

func (d *Driver) metadata(name string) (*sarama.TopicMetadata, error) {
	all, err := d.admin.DescribeTopics([]string{name})
	if err != nil {
		_, _ = d.client.RefreshController() // the client keeps a connection that broke
		return nil, err
	}
	for _, m := range all {
		if m.Name != name || errors.Is(m.Err, sarama.ErrUnknownTopicOrPartition) {
			continue
		}
		if !errors.Is(m.Err, sarama.ErrNoError) {
			return nil, fmt.Errorf("topic %q: %w", name, m.Err)
		}
		return m, nil
	}
	return nil, fmt.Errorf("topic %q: %w", name, driver.ErrNotFound)
}

func topicOf(m *sarama.TopicMetadata) driver.Topic {
	t := driver.Topic{Name: m.Name, Shards: len(m.Partitions)}
	if t.Shards > 0 {
		t.Replicas = len(m.Partitions[0].Replicas)
	}
	return t
}

// settled waits until a topic that was just created can be used.
func (d *Driver) settled(name string) (driver.Topic, error) {
	const times, between = 100, 20 * time.Millisecond
	var has driver.Topic
	var err error
	for range times {
		has, err = d.describe(name)
		for p := 0; err == nil && p < has.Shards; p++ {
			_, err = d.client.Leader(name, int32(p))
		}
		if err == nil {
			return has, nil
		}
		_ = d.client.RefreshMetadata(name)
		<-time.After(between)
	}
	return has, err
}

func (d *Driver) create(t driver.Topic) error {
	replicas := max(t.Replicas, d.o.Replicas)
	if replicas == 0 {
		replicas = -1 // the brokers' default
	}
	detail := &sarama.TopicDetail{
		NumPartitions: int32(max(1, t.Shards)), ReplicationFactor: int16(min(replicas, math.MaxInt16)),
		ConfigEntries: map[string]*string{},
	}
	switch {
	case t.RetentionAge < 0:
		detail.ConfigEntries["retention.ms"] = text(-1)
	case t.RetentionAge > 0:
		detail.ConfigEntries["retention.ms"] = text(t.RetentionAge.Milliseconds())
	}
	if t.RetentionBytes != 0 {
		detail.ConfigEntries["retention.bytes"] = text(t.RetentionBytes)
	}
	err := d.admin.CreateTopic(t.Name, detail, false)
	if errors.Is(err, sarama.ErrTopicAlreadyExists) {
		return nil
	}
	return err
}

func text(n int64) *string {
	s := strconv.FormatInt(n, 10)
	return &s
}

// Topics implements [driver.Admin].
func (d *Driver) Topics(ctx context.Context) ([]driver.Topic, error) {
	var topics []driver.Topic
	err := within(ctx, func() error {
		all, err := d.admin.ListTopics()
		for name, detail := range all {
			if strings.HasPrefix(name, "__") { // the brokers' own
				continue
			}
			topics = append(topics, driver.Topic{
				Name: name, Shards: int(detail.NumPartitions), Replicas: int(detail.ReplicationFactor),
			})
		}
		return wrap(err)
	})
	if err != nil {
		return nil, err
	}
	return topics, nil
}
