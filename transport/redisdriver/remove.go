package redisdriver

import (
	"context"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/anywire/anywire/transport/driver"
)

var _ driver.Remover = (*Driver)(nil)

// Remove deletes entries by their ids. Groups that have one pending may still
// acknowledge it.
func (d *Driver) Remove(ctx context.Context, name string, msgs []*driver.Message) error {
	if err := d.usable(); err != nil {
		return err
	}
	meta, err := d.describe(ctx, name)
	if err != nil {
		return err
	}
	ids := make([][]string, meta.shards)
	for _, m := range msgs {
		if m.Shard < 0 || m.Shard >= meta.shards {
			return fmt.Errorf("topic %q has no shard %d: it has %d, counted from 0", name, m.Shard, meta.shards)
		}
		id := m.Position[strings.IndexByte(m.Position, '/')+1:]
		ids[m.Shard] = append(ids[m.Shard], id)
	}
	_, err = d.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for shard, list := range ids {
			if len(list) > 0 {
				pipe.XDel(ctx, streamOf(name, shard, meta.shards), list...)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("remove from topic %q: %w", name, browseErr(ctx, err))
	}
	return nil
}
