package redisdriver

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/anywire/anywire/internal/redisconn"
	"github.com/anywire/anywire/transport/driver"
)

// countPage is how many entries the server counts before it lets others in.
const countPage = 1000

// countScript counts the entries after an id, a page at a time, without sending
// them.
//
//nolint:gochecknoglobals // a constant
var countScript = embedded("count")

// Lag adds up what the group has before it in each shard. The server counts what
// waits, and is asked to count it one by one where entries were deleted from the
// middle of a stream.
func (d *Driver) Lag(ctx context.Context, name, group string) (driver.Lag, error) {
	if err := d.usable(); err != nil {
		return driver.Lag{}, err
	}
	meta, err := d.describe(ctx, name)
	if err != nil {
		return driver.Lag{}, err
	}
	streams := streamsOf(name, meta.shards)
	groups, err := d.groupOn(ctx, streams, group)
	if err != nil {
		return driver.Lag{}, fmt.Errorf("lag of group %q on topic %q: %w", group, name, wrap(err))
	}
	var lag driver.Lag
	found := false
	for i, g := range groups {
		if g == nil {
			continue
		}
		found = true
		if err := d.addLag(ctx, &lag, streams[i], g); err != nil {
			return driver.Lag{}, fmt.Errorf("lag of group %q on topic %q: %w", group, name, wrap(err))
		}
	}
	if !found {
		return driver.Lag{}, fmt.Errorf("group %q of topic %q: %w", group, name, driver.ErrNotFound)
	}
	return lag, nil
}

// groupOn finds a group on each stream; nil where it is not.
func (d *Driver) groupOn(ctx context.Context, streams []string, group string) ([]*redis.XInfoGroup, error) {
	pipe := d.client.Pipeline()
	infos := make([]*redis.XInfoGroupsCmd, len(streams))
	for i, stream := range streams {
		infos[i] = pipe.XInfoGroups(ctx, stream)
	}
	_, _ = pipe.Exec(ctx) // each has its own error
	groups := make([]*redis.XInfoGroup, len(streams))
	for i, info := range infos {
		list, err := info.Result()
		if err != nil && !redisconn.IsAnswer(err, "ERR no such key") {
			return nil, err
		}
		for at := range list {
			if list[at].Name == group {
				groups[i] = &list[at]
			}
		}
	}
	return groups, nil
}

func (d *Driver) addLag(ctx context.Context, lag *driver.Lag, stream string, g *redis.XInfoGroup) error {
	waiting := g.Lag
	if waiting < 0 || d.askedServer(ctx).LacksLag() {
		var err error
		if waiting, err = d.count(ctx, stream, g.LastDeliveredID); err != nil {
			return err
		}
	}
	lag.Waiting += waiting
	lag.Pending += g.Pending
	pipe := d.client.Pipeline()
	pending := pipe.XPending(ctx, stream, g.Name)
	next := pipe.XRangeN(ctx, stream, "("+g.LastDeliveredID, newestID, 1)
	if _, err := pipe.Exec(ctx); err != nil {
		return err
	}
	if p := pending.Val(); p != nil && p.Count > 0 {
		lag.Oldest = older(lag.Oldest, publishedAt(p.Lower))
	}
	if waits := next.Val(); len(waits) > 0 {
		lag.Oldest = older(lag.Oldest, publishedAt(waits[0].ID))
	}
	return nil
}

func older(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// count counts the entries after an id.
func (d *Driver) count(ctx context.Context, stream, after string) (int64, error) {
	total := int64(0)
	for {
		reply, err := d.eval(ctx, countScript, []string{stream}, "("+after, countPage).Slice()
		if err != nil {
			return 0, err
		}
		n, isNumber := reply[0].(int64)
		last, isText := reply[1].(string)
		if !isNumber || !isText {
			return 0, errReply
		}
		total += n
		if n < countPage {
			return total, nil
		}
		after = last
	}
}
