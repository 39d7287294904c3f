package memory

import (
	"context"
	"slices"
	"time"

	"github.com/anywire/anywire/transport/driver"
)

// browser is a reader without a group: messages stay until it has seen them. One
// that follows never blocks a publisher: in each shard, the oldest of more than
// RingSize messages before it are passed over.
type browser struct {
	topic   *topic
	cursors []cursor // one per shard
	wake    chan struct{}
}

// Browse implements [driver.Browser]. The topic must exist. What was there at the
// call is seen, whatever groups do meanwhile; following, a browser that falls
// behind by more than [RingSize] messages in a shard misses the oldest of them.
// It returns ctx's error when ctx ends.
func (b *Broker) Browse(
	ctx context.Context, topic string, start driver.Start, follow bool, fn func(*driver.Message) bool,
) error {
	t, err := b.existing(topic)
	if err != nil {
		return err
	}
	r, err := t.browse(start, follow)
	if err != nil {
		return err
	}
	defer r.leave()
	for {
		batch, err := r.next(ctx)
		if err != nil || len(batch) == 0 && !follow {
			return err
		}
		for i := range batch {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if !fn(&batch[i]) {
				return nil
			}
		}
		if len(batch) == 0 {
			if err := r.wait(ctx); err != nil {
				return err
			}
		}
	}
}

// browse takes mu.
func (t *topic) browse(start driver.Start, follow bool) (*browser, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, errClosed()
	}
	t.trim(time.Now().UnixNano())
	b := &browser{topic: t, cursors: make([]cursor, len(t.shards)), wake: make(chan struct{}, 1)}
	for i := range t.shards {
		b.cursors[i] = attach(&t.shards[i], start)
	}
	if follow {
		t.browsers = append(t.browsers, b)
	}
	return b, nil
}

// arrived counts a new message of a shard.
func (b *browser) arrived(s *shard) {
	c := &b.cursors[s.index]
	c.waiting++
	if c.waiting > RingSize {
		b.topic.release(c.take(s))
	}
	wake(b.wake)
}

// next copies what comes next in a shard, and takes mu. It returns nothing when
// all has been seen.
func (b *browser) next(ctx context.Context) ([]driver.Message, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	t := b.topic
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, errClosed()
	}
	i := slices.IndexFunc(b.cursors, func(c cursor) bool { return c.waiting > 0 })
	if i < 0 {
		return nil, nil
	}
	batch := b.copy(&t.shards[i], &b.cursors[i])
	t.wakePublisher()
	return batch, nil
}

func (b *browser) copy(s *shard, c *cursor) []driver.Message {
	batch := make([]driver.Message, min(c.waiting, chunkSize))
	for i := range batch {
		at, j := c.take(s)
		e := &at.entries[j]
		m := &batch[i]
		m.Key, m.Local = e.key, e.local
		m.Shard, m.Seq = s.index, at.seq(j)
		m.Published = time.Unix(0, e.published)
		if e.wire != nil {
			e.wire.fill(m, b.topic.broker.paranoia.on)
		}
		b.topic.release(at, j)
	}
	return batch
}

func (b *browser) wait(ctx context.Context) error {
	select {
	case <-b.wake:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// leave takes mu.
func (b *browser) leave() {
	t := b.topic
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	t.browsers = slices.DeleteFunc(t.browsers, func(other *browser) bool { return other == b })
	for i := range t.shards {
		t.detach(&t.shards[i], &b.cursors[i])
	}
	t.wakePublisher()
}
