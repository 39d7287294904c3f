package kafkadriver

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/anywire/anywire/transport/driver"
)

const (
	browseBatch = 256 // messages that are taken from the client at once
	// browseWait is how long a fetch waits at the broker for news, and browsePoll
	// how long to wait for one before looking whether there is any.
	browseWait = 100 * time.Millisecond
	browsePoll = 250 * time.Millisecond
	// emptyFetches is how many answers without a record say that there is none.
	emptyFetches = 4
)

var _ driver.Browser = (*Driver)(nil)

// Browse reads with a client of its own that joins no group. It ends at what each
// partition held at the call, also where the end of that was compacted meanwhile
// or belongs to a transaction that was aborted. Messages of open transactions are
// not seen.
func (d *Driver) Browse(ctx context.Context, name string, start driver.Start, follow bool, fn func(*driver.Message) bool) error {
	err := d.usable()
	if err == nil {
		err = validName(name)
	}
	if err != nil {
		return err
	}
	b := &browse{name: name, follow: follow, fn: fn, left: map[int32]int64{}, leader: map[int32]int32{}, empty: map[int32]int{}}
	from, err := d.span(ctx, b, start)
	if err != nil {
		return fmt.Errorf("browse topic %q: %w", name, wrap(err))
	}
	if len(b.left) == 0 && !follow {
		return nil
	}
	client, err := kgo.NewClient(append(d.clientOptions(), kgo.WithHooks(b),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{name: from}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxWait(browseWait),
		kgo.KeepControlRecords(), // they say how far a partition was read
	)...)
	if err != nil {
		return fmt.Errorf("browse topic %q: %w", name, err)
	}
	defer client.Close()
	return b.run(ctx, client)
}

// browse is one call of Browse.
type browse struct {
	name   string
	follow bool
	fn     func(*driver.Message) bool
	left   map[int32]int64 // by partition, the offset to end at
	leader map[int32]int32

	mu    sync.Mutex
	empty map[int32]int // answers of brokers since the last record
}

var _ kgo.HookBrokerE2E = (*browse)(nil)

// span finds where to begin, and what there is to see.
func (d *Driver) span(ctx context.Context, b *browse, start driver.Start) (map[int32]kgo.Offset, error) {
	detail, err := d.metadata(ctx, b.name)
	if err != nil {
		return nil, err
	}
	ends, err := d.adm.ListCommittedOffsets(ctx, b.name)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return nil, err
	}
	begin := ends
	switch start.At {
	case driver.StartOldest:
		begin, err = d.adm.ListStartOffsets(ctx, b.name)
	case driver.StartTime:
		begin, err = d.adm.ListOffsetsAfterMilli(ctx, start.Time.UnixMilli(), b.name)
	case driver.StartNow:
	}
	if err == nil {
		err = begin.Error()
	}
	from := map[int32]kgo.Offset{}
	begin.Each(func(l kadm.ListedOffset) {
		from[l.Partition] = kgo.NewOffset().At(l.Offset)
		if end, ok := ends.Lookup(b.name, l.Partition); ok && l.Offset < end.Offset {
			b.left[l.Partition] = end.Offset
			b.leader[l.Partition] = detail.Partitions[l.Partition].Leader
		}
	})
	return from, err
}

func (b *browse) run(ctx context.Context, client *kgo.Client) error {
	for b.follow || len(b.left) > 0 {
		over := b.over() // before the poll, which sees what those answers brought
		poll, cancel := context.WithTimeout(ctx, browsePoll)
		fetches := client.PollRecords(poll, browseBatch)
		cancel()
		if ctx.Err() != nil {
			return ended(ctx)
		}
		var broken error
		fetches.EachError(func(_ string, partition int32, err error) {
			if !errors.Is(err, context.DeadlineExceeded) && !kerr.IsRetriable(err) {
				broken = fmt.Errorf("partition %d: %w", partition, err)
			}
		})
		if broken != nil {
			return fmt.Errorf("browse topic %q: %w", b.name, wrap(broken))
		}
		records := fetches.Records()
		for _, r := range records {
			if !b.see(r) {
				return nil
			}
		}
		b.progress(len(records) > 0, over)
	}
	return nil
}

// see hands a record on; false: that is enough.
func (b *browse) see(r *kgo.Record) bool {
	end, some := b.left[r.Partition]
	if !b.follow && (!some || r.Offset >= end) {
		delete(b.left, r.Partition)
		return true
	}
	if !r.Attrs.IsControl() && !b.fn(toMessage(r)) {
		return false
	}
	if r.Offset+1 >= end {
		delete(b.left, r.Partition)
	}
	return true
}

// over are the partitions whose leader has answered several times without a record.
func (b *browse) over() (partitions []int32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for p := range b.left {
		if b.empty[b.leader[p]] >= emptyFetches {
			partitions = append(partitions, p)
		}
	}
	return partitions
}

// progress gives up what is over, if that did not change: a gap is all that
// remains.
func (b *browse) progress(some bool, over []int32) {
	if some {
		b.mu.Lock()
		defer b.mu.Unlock()
		clear(b.empty)
		return
	}
	for _, p := range over {
		delete(b.left, p)
	}
}

// OnBrokerE2E counts what brokers answer.
func (b *browse) OnBrokerE2E(meta kgo.BrokerMetadata, key int16, e2e kgo.BrokerE2E) {
	if key != int16(kmsg.Fetch) || e2e.Err() != nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.empty[meta.NodeID]++
}
