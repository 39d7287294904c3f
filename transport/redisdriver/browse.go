package redisdriver

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/anywire/anywire/transport/driver"
)

const (
	browsePage = 100
	// browsePause is how long a browse that follows waits between two looks.
	browsePause = 200 * time.Millisecond

	oldestID = "-"
	newestID = "+"
)

// Browse pages through the shards of a topic in turn, by XRANGE: no group takes
// notice. It follows by looking again after a pause.
func (d *Driver) Browse(ctx context.Context, name string, start driver.Start, follow bool, fn func(*driver.Message) bool) error {
	if err := d.usable(); err != nil {
		return err
	}
	meta, err := d.describe(ctx, name)
	if err != nil {
		return err
	}
	shards, err := d.browsed(ctx, name, meta.shards, start, follow)
	if err != nil {
		return fmt.Errorf("browse topic %q: %w", name, browseErr(ctx, err))
	}
	for {
		seen := false
		for i := range shards {
			more, some, err := d.browsePages(ctx, &shards[i], fn)
			if err != nil {
				return fmt.Errorf("browse topic %q: %w", name, browseErr(ctx, err))
			}
			if !more {
				return nil
			}
			seen = seen || some
		}
		if !follow {
			return nil
		}
		if !seen && !pause(ctx, browsePause) {
			return ended(ctx)
		}
	}
}

func browseErr(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ended(ctx)
	}
	return wrap(err)
}

// browsedShard is where a browse stands in one stream.
type browsedShard struct {
	stream        string
	shard, shards int
	from, to      string // bounds as XRANGE takes them; no to: none is left
}

// browsed says where a browse begins and ends in each shard.
func (d *Driver) browsed(ctx context.Context, name string, shards int, start driver.Start, follow bool) ([]browsedShard, error) {
	pipe := d.client.Pipeline()
	newest := make([]*redis.XMessageSliceCmd, shards)
	for i := range newest {
		newest[i] = pipe.XRevRangeN(ctx, streamOf(name, i, shards), newestID, oldestID, 1)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, err
	}
	list := make([]browsedShard, shards)
	for i := range list {
		b := browsedShard{stream: streamOf(name, i, shards), shard: i, shards: shards, from: oldestID, to: newestID}
		last := ""
		if found := newest[i].Val(); len(found) > 0 {
			last = found[0].ID
		}
		switch {
		case start.At == driver.StartTime:
			b.from = strconv.FormatInt(max(start.Time.UnixMilli(), 0), 10)
		case start.At == driver.StartNow && last != "":
			b.from = "(" + last
		}
		if !follow {
			b.to = last
		}
		list[i] = b
	}
	return list, nil
}

// browsePages calls fn for all that is there of one shard. more is false once fn
// was.
func (d *Driver) browsePages(ctx context.Context, b *browsedShard, fn func(*driver.Message) bool) (more, some bool, err error) {
	for b.to != "" {
		page, err := d.page(ctx, b)
		if err != nil {
			return false, some, err
		}
		for _, m := range page {
			some = true
			if !fn(m) {
				return false, some, nil
			}
		}
		if len(page) < browsePage {
			break
		}
	}
	return true, some, nil
}

// page reads the next messages of a shard.
func (d *Driver) page(ctx context.Context, b *browsedShard) ([]*driver.Message, error) {
	reply, err := d.reader().Do(ctx, "xrange", b.stream, b.from, b.to, "count", browsePage).Slice()
	if err != nil {
		return nil, err
	}
	page := make([]*driver.Message, 0, len(reply))
	for _, each := range reply {
		id, fields, ok := entryOf(each)
		if !ok {
			return nil, fmt.Errorf("stream %q: %w", b.stream, errReply)
		}
		m := decodeEntry(fields)
		m.Shard, m.Seq, m.Published = b.shard, seqOf(id), publishedAt(id)
		m.Position = position(id, b.shard, b.shards)
		page = append(page, m)
		b.from = "(" + id
	}
	return page, nil
}

// entryOf takes [id, [name, value, …]] apart.
func entryOf(reply any) (id string, fields []string, ok bool) {
	parts, _ := reply.([]any)
	if len(parts) < 2 {
		return "", nil, false
	}
	id, ok = parts[0].(string)
	list, _ := parts[1].([]any)
	fields = make([]string, 0, len(list))
	for _, f := range list {
		text, isText := f.(string)
		fields = append(fields, text)
		ok = ok && isText
	}
	return id, fields, ok
}
