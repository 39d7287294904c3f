package watermillkafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/IBM/sarama"

	"github.com/anywire/anywire/transport/driver"
)

var _ driver.Inspector = (*Driver)(nil)

// Inspect looks at what decides whether messages survive in the topics of use. A
// native transport of kind kafka on the same brokers looks at more.
func (d *Driver) Inspect(ctx context.Context, use driver.Use) ([]driver.Finding, error) {
	if err := d.Ping(ctx); err != nil {
		return nil, err
	}
	var found []driver.Finding
	err := within(ctx, func() error {
		for _, topic := range topicsOf(use) {
			found = append(found, d.inspect(topic)...)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

func topicsOf(use driver.Use) []string {
	names := slices.Clone(use.Writes)
	for _, r := range use.Reads {
		names = append(names, r.Topic)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (d *Driver) inspect(topic string) []driver.Finding {
	f := driver.Finding{Check: "topic", Subject: "topic " + topic}
	has, err := d.describe(topic)
	switch {
	case errors.Is(err, driver.ErrNotFound) && d.o.Require:
		f.Level, f.Found, f.Fix = driver.Danger, "missing", "create it"
		f.Why = "what needs it does not start, since topics are required"
	case errors.Is(err, driver.ErrNotFound):
		f.Found = "missing: created when it is used first"
	case err != nil:
		f.Level, f.Found, f.Why = driver.Unknown, "not readable", err.Error()
	default:
		f.Found = fmt.Sprintf("%d partitions, %d replicas", has.Shards, has.Replicas)
		return []driver.Finding{f, d.inSync(has)}
	}
	return []driver.Finding{f}
}

// inSync looks at how many brokers keep a confirmed message.
func (d *Driver) inSync(t driver.Topic) driver.Finding {
	const name = "min.insync.replicas"
	f := driver.Finding{Check: name, Subject: "topic " + t.Name}
	all, err := d.admin.DescribeConfigs([]*sarama.ConfigResource{
		{Type: sarama.TopicResource, Name: t.Name, ConfigNames: []string{name}},
	}, sarama.DescribeConfigsOptions{})
	if err != nil || len(all) != 1 || len(all[0].Configs) != 1 {
		f.Level, f.Found, f.Why = driver.Unknown, "not readable", fmt.Sprintf("the brokers do not tell: %v", err)
		return f
	}
	least, _ := strconv.Atoi(all[0].Configs[0].Value)
	f.Found = fmt.Sprintf("%d, with %d replicas", least, t.Replicas)
	switch {
	case least > t.Replicas:
		f.Level, f.Why = driver.Danger, "nothing can be published: there are never that many replicas"
		f.Fix = fmt.Sprintf("set %s=%d on it", name, max(1, t.Replicas-1))
	case t.Replicas == 1:
		f.Level, f.Why = driver.Warning, "one broker has every message: its disk is the only copy"
		f.Fix = "use 3 replicas and " + name + "=2, where there are as many brokers"
	case least < 2:
		f.Level, f.Why = driver.Danger, "a message counts as stored when one broker has it: its loss loses confirmed messages"
		f.Fix = "set " + name + "=2 on it"
	}
	return f
}
