package kafkadriver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/anywire/anywire/transport/driver"
)

var (
	errHeldBack = errors.New("not attempted: an earlier message of its key failed")
	errVictim   = errors.New("not stored: it shared a batch with a message that is larger than the topic takes: try again")
)

// Publish stores msgs and waits until all in-sync replicas have confirmed each. It
// waits as long as ctx and publish_timeout allow; what is unconfirmed then counts
// as failed, though the brokers may have it, or get it yet. While more than
// max_pending bytes are on their way, it blocks.
func (d *Driver) Publish(ctx context.Context, name string, msgs []*driver.Message) error {
	if err := d.usable(); err != nil || len(msgs) == 0 {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	t, err := d.topicFor(ctx, name)
	if err != nil {
		return err
	}
	c := &call{d: d, topic: t, msgs: msgs, done: make(chan struct{}, 1)}
	timeout := time.NewTimer(d.o.PublishTimeout.Std())
	defer timeout.Stop()
	for c.next < len(msgs) && c.wave(ctx, timeout.C) {
	}
	return c.result(ctx)
}

// result explains what failed.
func (c *call) result(ctx context.Context) error {
	if len(c.failed) == 0 {
		return nil
	}
	relearned := false
	for i, err := range c.failed {
		switch {
		case errors.Is(err, kerr.MessageTooLarge):
			if !relearned {
				c.d.relearn(ctx, c.topic)
				relearned = true
			}
			c.failed[i] = c.d.blame(c.topic.name, c.msgs[i], err)
		case errors.Is(err, kerr.UnknownTopicOrPartition), errors.Is(err, kerr.UnknownTopicID):
			c.failed[i] = topicError(c.topic.name, err)
		case errors.Is(err, kgo.ErrRecordTimeout):
			c.failed[i] = fmt.Errorf("%w: publish_timeout is %v", err, c.d.o.PublishTimeout)
		default:
			c.failed[i] = topicError(c.topic.name, err)
		}
	}
	return c.failed.Err()
}

// gone forgets a topic that somebody deleted: the next publish finds or makes it
// anew. The client has to forget it as well, since it goes on to ask for the one
// that was deleted.
func (d *Driver) gone(t *topic, err error) {
	unknown := errors.Is(err, kerr.UnknownTopicOrPartition) || errors.Is(err, kerr.UnknownTopicID)
	if unknown && t != nil && d.topics.lost(t) {
		d.client.PurgeTopicsFromProducing(t.name)
	}
}

// relearn reads again what a topic takes, after a broker refused a batch that
// should have fitted. The client keeps what it knew of the topic, so it has to
// forget it as a whole; what is on its way then fails and may be tried again.
func (d *Driver) relearn(ctx context.Context, known *topic) {
	d.topics.forget(known.name)
	now, err := d.topicFor(ctx, known.name)
	if err == nil && now.limit != known.limit {
		d.client.PurgeTopicsFromProducing(known.name)
	}
}

// blame tells a message that is too large from its neighbours in a batch, which
// the client fails with it.
func (d *Driver) blame(name string, m *driver.Message, err error) error {
	t := d.topics.get(name)
	if n := encodedSize(m); t != nil && t.limit > 0 && n > t.limit {
		return tooLargeFor(t, n)
	}
	return fmt.Errorf("%w (%v)", errVictim, err) //nolint:errorlint // it is not too large itself
}

// tooLarge is the error of a message that the topic does not take; nil: it does.
func (d *Driver) tooLarge(t *topic, m *driver.Message) error {
	if n := bodySize(m); n > int(d.o.MaxBody) {
		return fmt.Errorf("%w: %d bytes with headers: max_body is %v", driver.ErrTooLarge, n, d.o.MaxBody)
	}
	if n := encodedSize(m); n > d.batchBytes(t) {
		return tooLargeFor(t, n)
	}
	return nil
}

func tooLargeFor(t *topic, size int) error {
	return fmt.Errorf("%w: %d bytes as a record: max.message.bytes of topic %q is %d", driver.ErrTooLarge, size, t.name, t.limit)
}

// encodedSize is the most that m takes as a batch of its own.
func encodedSize(m *driver.Message) int { return batchSize(len(m.Headers), len(m.Key)+bodySize(m)) }

// headroom is what a batch may be larger than max_body.
const headroom = 48 << 10

// batchBytes is the largest batch for a topic.
func (d *Driver) batchBytes(t *topic) int {
	most := int(d.o.MaxBody) + headroom
	if t != nil && t.limit > 0 {
		most = min(most, t.limit)
	}
	return max(most, leastBody)
}

// ended is why ctx did; it wraps ctx.Err() in any case.
func ended(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}
