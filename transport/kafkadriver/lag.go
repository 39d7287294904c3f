package kafkadriver

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/anywire/anywire/transport/driver"
)

// lookTime bounds the read for the age of the oldest message.
const lookTime = 3 * time.Second

var _ driver.Lagger = (*Driver)(nil)

// backlog is what a group has before it in a partition.
type backlog struct {
	from    int64
	waiting int64
	done    []byte // above from
}

// Lag counts what the group has not settled on the topic. The broker knows what is
// committed, not what is delivered: all of it counts as waiting. One read at the
// oldest unsettled offset tells its age.
func (d *Driver) Lag(ctx context.Context, topic, group string) (driver.Lag, error) {
	if err := d.usable(); err != nil {
		return driver.Lag{}, err
	}
	// A topic that is missing is said to be so here: a request for its offsets would
	// be repeated for as long as its partitions are unknown.
	_, err := d.metadata(ctx, topic)
	var behind map[int32]backlog
	if err == nil {
		behind, err = d.backlogs(ctx, topic, group)
	}
	if err != nil {
		return driver.Lag{}, fmt.Errorf("lag of group %q on topic %q: %w", group, topic, wrap(err))
	}
	var lag driver.Lag
	for _, b := range behind {
		lag.Waiting += b.waiting
	}
	if len(behind) > 0 {
		lag.Oldest, err = d.oldest(ctx, topic, behind)
	}
	return lag, err
}

// backlogs are those partitions that have something unsettled.
func (d *Driver) backlogs(ctx context.Context, topic, group string) (map[int32]backlog, error) {
	committed, err := d.committed(ctx, group, topic)
	if err != nil {
		return nil, err
	}
	starts, err := d.adm.ListStartOffsets(ctx, topic)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return nil, err
	}
	ends, err := d.adm.ListCommittedOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return nil, err
	}
	behind := map[int32]backlog{}
	ends.Each(func(end kadm.ListedOffset) {
		start, _ := starts.Lookup(topic, end.Partition)
		b := backlog{from: start.Offset}
		if c, known := committed.Lookup(topic, end.Partition); known && c.At >= start.Offset {
			b.from, b.done = c.At, decodeDone(c.Metadata)
		}
		if b.waiting = end.Offset - b.from - countDone(b.done); b.waiting > 0 {
			behind[end.Partition] = b
		}
	})
	return behind, nil
}

// oldest reads the time of the oldest unsettled message; zero, where there turns
// out to be none.
func (d *Driver) oldest(ctx context.Context, topic string, behind map[int32]backlog) (time.Time, error) {
	at := map[int32]kgo.Offset{}
	for n, b := range behind {
		at[n] = kgo.NewOffset().At(b.from)
	}
	client, err := kgo.NewClient(append(d.clientOptions(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: at}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxBytes(1<<20), kgo.FetchMaxPartitionBytes(64<<10),
		kgo.FetchMaxWait(100*time.Millisecond), kgo.DisableClientMetrics())...)
	if err != nil {
		return time.Time{}, fmt.Errorf("client: %w", err)
	}
	defer client.Close()
	look, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	var oldest time.Time
	for len(behind) > 0 {
		fetches := client.PollFetches(look)
		if err := fetches.Err0(); err != nil {
			if ctx.Err() == nil && look.Err() != nil {
				return oldest, nil // nothing but ends of transactions, or slow: not known
			}
			return oldest, wrap(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			b, wanted := behind[r.Partition]
			if !wanted || isDone(b.done, r.Offset-b.from) {
				return
			}
			delete(behind, r.Partition)
			if oldest.IsZero() || r.Timestamp.Before(oldest) {
				oldest = r.Timestamp
			}
		})
	}
	return oldest, nil
}
