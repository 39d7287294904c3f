package kafkadriver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/anywire/anywire/transport/driver"
)

const (
	longestName = 249 // of a topic, as Kafka has it
	mostShards  = 10_000
	// leaderPause is how long to wait before asking again whether a topic that
	// was created can be written to.
	leaderPause = 20 * time.Millisecond
)

var _ driver.Admin = (*Driver)(nil)

// topic is what the driver knows of a topic that it found or made.
type topic struct {
	name  string
	limit int // max.message.bytes: the largest batch; 0: could not be read
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

// lost forgets a topic unless that happened already, and reports whether it did.
func (c *topicCache) lost(t *topic) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known[t.name] != t {
		return false
	}
	delete(c.known, t.name)
	return true
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
	if err := d.ensure(ctx, name); err != nil {
		return nil, err
	}
	return d.topics.get(name), nil
}

// ensure makes sure that a topic is there now: it is created as it was asked for,
// or ErrNotFound where it is required.
func (d *Driver) ensure(ctx context.Context, name string) error {
	_, err := d.ensureTopic(ctx, d.topics.specOf(name))
	return err
}

// EnsureTopic makes a topic if it is missing. What exists is compared with what is
// asked for, and never changed. RetentionBytes is the topic's, of which each
// partition gets its part. Topics that are made with three replicas and more get
// min.insync.replicas=2, so that a confirmed message is on two brokers. It returns
// when every partition has a leader.
func (d *Driver) EnsureTopic(ctx context.Context, spec driver.Topic) (driver.Topic, error) {
	if err := d.usable(); err != nil {
		return driver.Topic{}, err
	}
	if spec.Shards < 0 || spec.Shards > mostShards {
		return driver.Topic{}, fmt.Errorf("topic %q: %d shards: use 1 to %d", spec.Name, spec.Shards, mostShards)
	}
	have, err := d.ensureTopic(ctx, spec)
	if err != nil {
		return driver.Topic{}, err
	}
	d.topics.remember(spec)
	return have, nil
}

func (d *Driver) ensureTopic(ctx context.Context, spec driver.Topic) (driver.Topic, error) {
	if err := validName(spec.Name); err != nil {
		return driver.Topic{}, err
	}
	detail, err := d.metadata(ctx, spec.Name)
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		if spec.Require || d.o.Require {
			return driver.Topic{}, fmt.Errorf("topic %q: %w: it is required: create it, or let it be created", spec.Name, driver.ErrNotFound)
		}
		if err = d.create(ctx, spec, nil); err == nil {
			detail, err = d.awaitLeaders(ctx, spec.Name)
		}
	}
	if err != nil {
		return driver.Topic{}, topicError(spec.Name, err)
	}
	settings, err := d.settings(ctx, spec.Name)
	if err != nil && (spec.RetentionAge != 0 || spec.RetentionBytes != 0) {
		return driver.Topic{}, fmt.Errorf("topic %q: retention is asked for and cannot be compared: %w", spec.Name, wrap(err))
	}
	have := describe(detail, settings)
	if err := compare(spec, have); err != nil {
		return driver.Topic{}, err
	}
	d.topics.put(&topic{name: spec.Name, limit: settings.number("max.message.bytes")})
	return have, nil
}

// metadata describes a topic; the error is a kerr where the broker has one.
func (d *Driver) metadata(ctx context.Context, name string) (kadm.TopicDetail, error) {
	all, err := d.adm.ListTopicsWithInternal(ctx, name)
	if err != nil {
		return kadm.TopicDetail{}, err
	}
	return all[name], all[name].Err
}

// awaitLeaders waits until a topic that was just created can be written to.
func (d *Driver) awaitLeaders(ctx context.Context, name string) (kadm.TopicDetail, error) {
	for {
		detail, err := d.metadata(ctx, name)
		if err == nil && hasLeaders(detail) {
			return detail, nil
		}
		if err != nil && !kerr.IsRetriable(err) { // a topic is unknown for a moment on other brokers
			return detail, err
		}
		select {
		case <-ctx.Done():
			return detail, fmt.Errorf("it was created and has no leader yet: %w", context.Cause(ctx))
		case <-time.After(leaderPause):
		}
	}
}

func hasLeaders(t kadm.TopicDetail) bool {
	for _, p := range t.Partitions {
		if p.Err != nil || p.Leader < 0 {
			return false
		}
	}
	return len(t.Partitions) > 0
}

// topicError names the topic and what a missing right is about.
func topicError(name string, err error) error {
	return fmt.Errorf("topic %q: %w", name, wrap(err))
}

// Topics lists the cluster's topics, without Kafka's internal ones.
func (d *Driver) Topics(ctx context.Context) ([]driver.Topic, error) {
	if err := d.usable(); err != nil {
		return nil, err
	}
	all, err := d.adm.ListTopics(ctx)
	if err != nil {
		return nil, fmt.Errorf("list topics: %w", wrap(err))
	}
	names := slices.Sorted(maps.Keys(all))
	if len(names) == 0 {
		return nil, nil
	}
	configs, err := d.adm.DescribeTopicConfigs(ctx, names...)
	if err != nil && !errors.Is(wrap(err), driver.ErrDenied) {
		return nil, fmt.Errorf("settings of topics: %w", wrap(err))
	}
	byName := map[string]settings{}
	for _, c := range configs {
		byName[c.Name] = settingsOf(c)
	}
	var topics []driver.Topic
	for _, name := range names {
		if all[name].Err == nil {
			topics = append(topics, describe(all[name], byName[name]))
		}
	}
	return topics, nil
}

// validName is the error of a topic's name that Kafka does not take.
func validName(name string) error {
	const rule = "use 1 to 249 letters, digits, \".\", \"_\" and \"-\""
	switch {
	case name == "":
		return fmt.Errorf("%w: topic \"\": the name is empty: %s", driver.ErrName, rule)
	case len(name) > longestName:
		return fmt.Errorf("%w: topic %.40q… has %d characters, and Kafka takes %d: shorten it, or the prefix",
			driver.ErrName, name, len(name), longestName)
	case name == "." || name == "..":
		return fmt.Errorf("%w: topic %q: Kafka takes no such name: %s", driver.ErrName, name, rule)
	}
	for _, c := range name {
		legal := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("._-", c)
		if !legal {
			return fmt.Errorf("%w: topic %q: %q cannot stand in a topic's name on Kafka: %s", driver.ErrName, name, c, rule)
		}
	}
	return nil
}

// validGroup is the error of a group's name that Kafka does not take, or whose inbox
// it could not have.
func validGroup(sub driver.Subscription) error {
	if sub.Group == "" {
		return fmt.Errorf("%w: the group has none, and Kafka needs one", driver.ErrName)
	}
	inbox := inboxOf(sub)
	if inbox == "" {
		return nil
	}
	if err := validName(inbox); err != nil {
		return fmt.Errorf("messages that wait for a retry come back by the topic %q, so rename the group or its agent: %w", inbox, err)
	}
	return nil
}
