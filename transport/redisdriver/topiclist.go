package redisdriver

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/anywire/anywire/transport/driver"
)

// scanCount is how many keys the server looks at before it lets others in.
const scanCount = 1000

// Topics lists the topics that this driver, or another process with it, made or
// read. It scans the keys of each master: a list on the side would need a key
// that every user may write, and would go out of step with what is deleted. On a
// server with millions of keys that takes seconds, in small steps.
func (d *Driver) Topics(ctx context.Context) ([]driver.Topic, error) {
	if err := d.usable(); err != nil {
		return nil, err
	}
	names, err := d.recorded(ctx)
	if err != nil {
		return nil, fmt.Errorf("list topics: %w", wrap(err))
	}
	slices.Sort(names)
	names = slices.Compact(names) // a scan may see a key twice
	pipe := d.client.Pipeline()
	records := make([]*redis.SliceCmd, len(names))
	for i, name := range names {
		records[i] = pipe.HMGet(ctx, recordOf(name), recordShards, recordAge, recordBytes)
	}
	_, _ = pipe.Exec(ctx) // each has its own error
	topics := make([]driver.Topic, 0, len(names))
	for i, name := range names {
		values, err := records[i].Result()
		if err != nil {
			return nil, fmt.Errorf("list topics: %q: %w", name, wrap(err))
		}
		meta, found, err := parseRecord(values)
		switch {
		case err != nil: // it must not hide the others
			d.log.Warn("a topic's record cannot be read", "topic", name, "key", recordOf(name), "error", err)
		case found:
			topics = append(topics, meta.topic(name))
		}
	}
	return topics, nil
}

// recorded are the names of the topics that have a record.
func (d *Driver) recorded(ctx context.Context) ([]string, error) {
	var mu sync.Mutex
	var names []string
	scan := func(ctx context.Context, node redis.Cmdable) error {
		keys := node.ScanType(ctx, 0, "{*}:topic", scanCount, "hash").Iterator()
		for keys.Next(ctx) {
			if name, ok := topicOfRecord(keys.Val()); ok {
				mu.Lock()
				names = append(names, strings.Clone(name))
				mu.Unlock()
			}
		}
		return keys.Err()
	}
	cluster, ok := d.client.(*redis.ClusterClient)
	var err error
	if ok {
		err = cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error { return scan(ctx, node) })
	} else {
		err = scan(ctx, d.client)
	}
	return names, err
}
