package kafkadriver

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/anywire/anywire/transport/driver"
)

// mostWave is how many messages of a call are on their way at once.
const mostWave = 2048

// call is one Publish. Its messages go in waves: the next one is handed to the
// client when everything of the last one is confirmed, so that a message whose
// key failed is not handed over.
type call struct {
	d      *Driver
	topic  *topic
	msgs   []*driver.Message
	next   int // of msgs, the first that was not looked at
	failed driver.BatchError
	keys   map[string]bool // that failed

	records []kgo.Record // of the wave; the client's until it finished them
	index   []int        // of a record, in msgs
	weight  int          // of the wave, in bytes
	done    chan struct{}

	mu     sync.Mutex
	left   int // records of the wave that are unfinished
	stored []*kgo.Record
	broken []broken
}

// broken is a record that the client gave up.
type broken struct {
	record *kgo.Record
	err    error
}

// wave hands over the next messages and waits for them. It is false when nothing
// more of the call should be tried.
func (c *call) wave(ctx context.Context, timeout <-chan time.Time) bool {
	c.collect(ctx)
	if len(c.records) == 0 {
		return true
	}
	if err := c.d.pub.room.take(ctx, c.weight, timeout); err != nil {
		c.giveUp(c.late(ctx, err))
		return false
	}
	c.hand() //nolint:contextcheck // what a record does with a context: see there
	select {
	case <-c.done:
		c.note(nil)
		return true
	case <-ctx.Done():
		c.giveUp(ended(ctx))
	case <-timeout:
		c.giveUp(c.late(ctx, nil))
	}
	return false
}

// late is what messages fail with that were not confirmed in time.
func (c *call) late(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ended(ctx)
	}
	if err == nil {
		err = errUnconfirmed
	}
	return fmt.Errorf("%w: publish_timeout is %v", err, c.d.o.PublishTimeout)
}

// collect fills records with what is to go next. What is too large, and what
// follows a failure of its key, is not.
func (c *call) collect(ctx context.Context) {
	rest := c.msgs[c.next:]
	rest = rest[:min(len(rest), mostWave)]
	c.records = make([]kgo.Record, 0, len(rest))
	c.index, c.weight = make([]int, 0, len(rest)), 0
	c.stored, c.broken = nil, nil
	w := newWriter(rest...)
	for i, m := range rest {
		at := c.next + i
		if c.keys[m.Key] {
			c.fail(at, errHeldBack)
			continue
		}
		if err := c.d.tooLarge(c.topic, m); err != nil {
			c.fail(at, err)
			continue
		}
		weight := encodedSize(m)
		if c.weight > 0 && c.weight+weight > int(c.d.o.MaxPending)/2 {
			c.next = at
			return
		}
		c.records = append(c.records, kgo.Record{})
		r := &c.records[len(c.records)-1]
		if err := c.place(ctx, r, m, &w); err != nil {
			c.records = c.records[:len(c.records)-1]
			c.fail(at, err)
			continue
		}
		c.index = append(c.index, at)
		c.weight += weight
	}
	c.next += len(rest)
}

// place writes m into r, for its topic or for the ladder.
func (c *call) place(ctx context.Context, r *kgo.Record, m *driver.Message, w *writer) error {
	if m.DeliverAt.IsZero() || !m.DeliverAt.After(time.Now()) {
		w.fill(r, c.topic.name, m)
		return nil
	}
	var plain kgo.Record
	w.fill(&plain, c.topic.name, m)
	return c.d.ladder.place(ctx, r, delayCopy{record: &plain, to: c.topic.name, at: m.DeliverAt})
}

// fail notes one message; later ones of its key are held back.
func (c *call) fail(i int, err error) {
	if c.failed == nil {
		c.failed = driver.BatchError{}
	}
	c.failed[i] = err
	if key := c.msgs[i].Key; key != "" {
		if c.keys == nil {
			c.keys = map[string]bool{}
		}
		c.keys[key] = true
	}
}

// hand gives the wave to the client, with a context that does not end: the client
// looks at that of a batch's first record only, and would fail its neighbours,
// which are other callers' messages.
//
// While several messages are handed over no answer of a broker is looked at: a
// failure fails all that the client holds of a partition, and a message that came
// just after it would be stored, though an earlier one of its key was not.
func (c *call) hand() {
	n := len(c.records)
	c.mu.Lock()
	c.left, c.stored, c.broken = n, make([]*kgo.Record, 0, n), nil
	c.mu.Unlock()
	if n > 1 {
		c.d.pub.gate.RLock()
		defer c.d.pub.gate.RUnlock()
	}
	finished := c.finished
	for i := range c.records {
		c.d.client.Produce(context.Background(), &c.records[i], finished)
	}
}

// finished is called by the client for each record.
func (c *call) finished(r *kgo.Record, err error) {
	c.mu.Lock()
	if err == nil {
		c.stored = append(c.stored, r)
	} else {
		c.broken = append(c.broken, broken{r, err})
	}
	c.left--
	last := c.left == 0
	c.mu.Unlock()
	if last {
		c.d.pub.room.give(c.weight)
		c.done <- struct{}{}
	}
}

// note takes over what is known of the wave; the rest fails with unknown, if set.
func (c *call) note(unknown error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.stored) == len(c.records) {
		return
	}
	at := make(map[*kgo.Record]int, len(c.records))
	for i := range c.records {
		at[&c.records[i]] = c.index[i]
	}
	for _, r := range c.stored {
		delete(at, r)
	}
	for _, b := range c.broken {
		if b.record.Topic == c.topic.name {
			c.d.gone(c.topic, b.err)
		} else {
			c.d.gone(c.d.topics.get(b.record.Topic), b.err)
		}
		c.fail(at[b.record], b.err)
		delete(at, b.record)
	}
	if unknown != nil {
		for _, i := range at {
			c.fail(i, unknown)
		}
	}
}

// giveUp fails all that is unconfirmed or was not tried.
func (c *call) giveUp(err error) {
	c.note(err)
	for i := c.next; i < len(c.msgs); i++ {
		c.fail(i, err)
	}
	c.next = len(c.msgs)
}
