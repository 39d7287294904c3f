package natsdriver

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/anywire/anywire/transport/driver"
)

// Publish stores msgs and waits for the server to confirm each. It waits for a
// connection, and for room among max_pending, as long as ctx and publish_timeout
// allow. A confirmation that gets lost with the connection is a failure, though
// the server may have the message. A topic that is full blocks until what every
// group has settled makes room, or ctx ends.
func (d *Driver) Publish(ctx context.Context, name string, msgs []*driver.Message) error {
	if len(msgs) == 0 {
		return nil
	}
	if err := d.ready(ctx); err != nil {
		return err
	}
	t, err := d.topicFor(ctx, name)
	if err != nil {
		return err
	}
	c := d.pub.call(t, msgs)
	defer d.pub.recycle(c)
	ctx, cancel := d.timeout(ctx)
	defer cancel()
	d.pub.send(ctx, c)
	for again := (backoff{}); c.unstored() && d.retry(ctx, c, &again); {
		d.pub.send(ctx, c)
	}
	return c.result(ctx)
}

// timeout bounds a publish whose caller set no earlier end.
func (d *Driver) timeout(ctx context.Context) (context.Context, context.CancelFunc) {
	limit := d.o.PublishTimeout.Std()
	if end, ok := ctx.Deadline(); ok && time.Until(end) <= limit {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, limit, d.late)
}

// retry is asked when the server said that it did not store some messages,
// though it may later: JetStream is not there, or the topic is full. False leaves
// them as failures.
func (d *Driver) retry(ctx context.Context, c *call, again *backoff) bool {
	if c.full != nil {
		return d.makeRoom(ctx, c.topic, c.full) && !driver.MayOverflow(ctx) && again.wait(ctx)
	}
	_, err := d.js.Stream(ctx, c.topic.stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		d.topics.forget(c.topic.name)
		c.failUnstored(notFound(c.topic.name))
		return false
	}
	return again.wait(ctx)
}

// makeRoom frees what every group has settled of a topic that is ours and has a
// limit of its own. It is false where waiting cannot help.
func (d *Driver) makeRoom(ctx context.Context, t *topic, full error) bool {
	if !t.ours || apiCode(full) != codeStoreFailed {
		return false
	}
	stream, err := d.js.Stream(ctx, t.stream)
	if err != nil {
		return false
	}
	floor, groups := uint64(0), 0
	consumers := stream.ListConsumers(ctx)
	for info := range consumers.Info() {
		if at := settledUpTo(info, stream.CachedInfo()); groups == 0 || at < floor {
			floor = at
		}
		groups++
	}
	if consumers.Err() == nil && groups > 0 && floor >= stream.CachedInfo().State.FirstSeq {
		_ = stream.Purge(ctx, jetstream.WithPurgeSequence(floor+1)) // if it fails, the next try says so
	}
	return true
}

// settledUpTo is the last position up to which a group has nothing to do.
func settledUpTo(c *jetstream.ConsumerInfo, s *jetstream.StreamInfo) uint64 {
	if c.NumPending == 0 && c.NumAckPending == 0 {
		return s.State.LastSeq
	}
	return c.AckFloor.Stream
}

// backoff grows from 50 ms to 1 s.
type backoff struct{ last time.Duration }

// wait reports whether ctx still lives.
func (b *backoff) wait(ctx context.Context) bool {
	b.last = min(max(2*b.last, 50*time.Millisecond), time.Second)
	timer := time.NewTimer(b.last)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
