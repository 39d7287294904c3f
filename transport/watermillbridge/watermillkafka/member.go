package watermillkafka

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/watermillbridge"
)

// member is one member of a group: a subscriber of the adapter, and what is seen
// of its partitions.
type member struct {
	*kafka.Subscriber

	d     *Driver
	sub   driver.Subscription
	watch *watch

	tell    func(error)
	closing chan struct{}
	close   sync.Once
	looking sync.WaitGroup
}

var (
	_ message.Subscriber           = (*member)(nil)
	_ watermillbridge.Acknowledger = (*member)(nil)
	_ watermillbridge.Starter      = (*member)(nil)
)

// members makes the one member of a source: partitions are all that can be handled
// at once, and one member may have them all.
func (d *Driver) members(_ context.Context, sub driver.Subscription, _ int) ([]message.Subscriber, error) {
	const spare = 5 * time.Second
	c, err := d.o.consumer(sub.Drain + spare)
	if err != nil {
		return nil, err
	}
	w := newWatch(d, sub)
	s, err := kafka.NewSubscriber(kafka.SubscriberConfig{
		Brokers: d.o.Brokers, Unmarshaler: codec{}, OverwriteSaramaConfig: c, ConsumerGroup: sub.Group,
		NackResendSleep: kafka.NoSleep, ReconnectRetrySleep: 250 * time.Millisecond, Tracer: w,
	}, d.log)
	if err != nil {
		return nil, err
	}
	return []message.Subscriber{&member{
		Subscriber: s, d: d, sub: sub, watch: w, tell: func(error) {}, closing: make(chan struct{}),
	}}, nil
}

// Started implements [watermillbridge.Starter]. A group that begins at the oldest
// message misses nothing, whenever it gets its partitions, which may take as long
// as other members work.
func (m *member) Started(ctx context.Context) error {
	if m.sub.Start.At == driver.StartOldest {
		return nil
	}
	select {
	case <-m.watch.joined:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Ack implements [watermillbridge.Acknowledger].
func (m *member) Ack(w *message.Message) (confirmed func(ctx context.Context) error) {
	c, offset, ok := m.watch.of(w)
	if !ok {
		return func(context.Context) error { return driver.ErrStale }
	}
	a := c.expect(offset)
	w.Ack()
	return func(ctx context.Context) error { return c.confirm(ctx, a, offset) }
}

// Leave implements [watermillbridge.Acknowledger]. The adapter is told that the
// record is acknowledged; its position is not marked.
func (m *member) Leave(w *message.Message) {
	if c, offset, ok := m.watch.of(w); ok {
		c.leave(offset)
		w.Ack()
	}
}

// Describe implements [watermillbridge.Acknowledger].
func (m *member) Describe(w *message.Message, d *driver.Message) {
	c, offset, ok := m.watch.of(w)
	if !ok {
		return
	}
	d.Shard, d.Seq = int(c.partition), uint64(offset)+1
	d.Position = fmt.Sprintf("%d/%d", c.partition, offset)
	d.Revoked = c.revoked
	if at, ok := kafka.MessageTimestampFromCtx(w.Context()); ok {
		d.Published = at
	}
	if key, ok := kafka.MessageKeyFromCtx(w.Context()); ok && len(key) > 0 {
		d.Key = string(key)
	}
}

// Close leaves the group. An ephemeral one is removed; where that cannot be done,
// the brokers forget it after a while.
func (m *member) Close() error {
	m.close.Do(func() { close(m.closing) })
	err := m.Subscriber.Close()
	m.looking.Wait()
	m.watch.wait()
	if m.sub.Ephemeral && err == nil {
		err = wrap(m.d.admin.DeleteConsumerGroup(m.sub.Group))
	}
	return err
}
