package kafkadriver

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
)

// validName is the error of a topic's name that Kafka does not take.
func validName(name string) error {
	if name == "" {
		return fmt.Errorf("topic %q: empty", name)
	}
	return nil
}

// partitions is how many a topic has; it is not created.
func (d *Driver) partitions(ctx context.Context, topic string) (int, error) {
	all, err := d.adm.ListTopics(ctx, topic)
	if err == nil {
		err = all[topic].Err
	}
	if err != nil {
		return 0, fmt.Errorf("topic %q: %w", topic, wrap(err))
	}
	return len(all[topic].Partitions), nil
}

// ensure makes sure that a topic is there: it is created as it was asked for, or
// ErrNotFound where it is required.
func (d *Driver) ensure(ctx context.Context, topic string) error {
	if _, err := d.partitions(ctx, topic); err == nil {
		return nil
	}
	r, err := d.adm.CreateTopics(ctx, 1, -1, nil, topic)
	if err == nil {
		err = r[topic].Err
	}
	if err != nil && err != kerr.TopicAlreadyExists { //nolint:errorlint // placeholder
		return wrap(err)
	}
	return nil
}
