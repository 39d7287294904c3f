package redisdriver

import (
	"context"
	"time"
)

// trimBeside drops what is older than a topic's retention, and groups of dead
// processes, for topics that are written and that nobody reads: where there are
// readers, one of them does it.
func (d *Driver) trimBeside(t *topic) {
	now, last := time.Now().UnixNano(), t.trimmed.Load()
	if now-last < int64(trimEvery) || !t.trimmed.CompareAndSwap(last, now) {
		return
	}
	d.pub.beside(func(ctx context.Context) {
		for shard := range t.streams {
			st := newStream(t.name, "", shard, t.meta.shards)
			mine, err := d.client.SetNX(ctx, companion(st.name, "trim"), "a publisher", trimEvery-time.Second).Result()
			if err == nil && mine {
				err = d.trimStream(ctx, st, t.meta)
			}
			if err != nil && ctx.Err() == nil {
				d.log.Warn("the topic was not trimmed", "topic", t.name, "stream", st.name, "error", wrap(err))
			}
		}
	})
}
