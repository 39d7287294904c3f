package watermillredis

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/watermillbridge"
)

// member is one consumer of a group: a subscriber of the adapter, and the client
// that it works with.
type member struct {
	*redisstream.Subscriber

	d   *Driver
	tap *tap
	sub driver.Subscription
}

var (
	_ message.Subscriber           = (*member)(nil)
	_ watermillbridge.Acknowledger = (*member)(nil)
	_ watermillbridge.Fetcher      = (*member)(nil)
	_ watermillbridge.Reporter     = (*member)(nil)
)

// members makes the consumers of one source, each with a name of its own: what one
// leaves behind is claimed by the others.
func (d *Driver) members(_ context.Context, sub driver.Subscription, n int) ([]message.Subscriber, error) {
	crowd := newCrowd()
	all := make([]message.Subscriber, n)
	for i := range all {
		name := d.o.Name + "-" + envelope.NewID()
		t := newTap(d.client, name, crowd, d.o.Logger)
		s, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{
			Client: t, Unmarshaller: codec{},
			Consumer: name, ConsumerGroup: sub.Group, OldestId: startID(sub.Start),
			NackResendSleep: redisstream.NoSleep,
			BlockTime:       d.o.BlockTime.Std(), DisableIndefiniteInitialBlock: true,
			ClaimInterval: d.o.ClaimInterval.Std(), MaxIdleTime: d.o.MaxIdle.Std(),
		}, d.log)
		if err != nil {
			return nil, err
		}
		all[i] = &member{Subscriber: s, d: d, tap: t, sub: sub}
	}
	return all, nil
}

// startID is the entry before the first one that a new group reads.
func startID(s driver.Start) string {
	switch s.At {
	case driver.StartNow:
		return "$"
	case driver.StartTime:
		if ms := s.Time.UnixMilli(); ms > 0 {
			return fmt.Sprintf("%d-%d", ms-1, uint64(math.MaxUint64))
		}
	case driver.StartOldest:
	}
	return "0"
}

// Want implements [watermillbridge.Fetcher].
func (m *member) Want(wanted bool) { m.tap.want(wanted) }

// Taken implements [watermillbridge.Fetcher].
func (m *member) Taken(w *message.Message) { m.tap.taken(w.Metadata[idField]) }

// Report implements [watermillbridge.Reporter].
func (m *member) Report(tell func(error)) { m.tap.tell = tell }

// Ack implements [watermillbridge.Acknowledger].
func (m *member) Ack(w *message.Message) (confirmed func(ctx context.Context) error) {
	e := m.tap.entryOf(w.Metadata[idField])
	if e == nil {
		return func(context.Context) error { return driver.ErrStale }
	}
	w.Ack()
	return func(ctx context.Context) error {
		select {
		case <-e.done:
			return e.result
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Leave implements [watermillbridge.Acknowledger]. The adapter is told that the
// entry is acknowledged; the tap knows better.
func (m *member) Leave(w *message.Message) {
	if m.tap.leave(w.Metadata[idField]) {
		w.Ack()
	}
}

// Describe implements [watermillbridge.Acknowledger].
func (m *member) Describe(w *message.Message, d *driver.Message) {
	d.Headers = slices.DeleteFunc(d.Headers, func(h driver.Header) bool { return h.Name == idField })
	d.Position = w.Metadata[idField]
	ms, _, _ := strings.Cut(d.Position, "-")
	if n, err := strconv.ParseInt(ms, 10, 64); err == nil {
		d.Published = time.UnixMilli(n)
	}
}

// Close leaves the group: no further read begins, the adapter ends, and what this
// consumer still has is free for the others at once. It takes as long as a read,
// and a lost server makes it end with an error: then the others wait for max_idle.
func (m *member) Close() error {
	m.tap.stop()
	err := m.Subscriber.Close()
	ctx, cancel := context.WithTimeout(context.Background(), answerWithin)
	defer cancel()
	return errors.Join(err, m.giveBack(ctx))
}

func (m *member) giveBack(ctx context.Context) error {
	if m.sub.Ephemeral {
		return m.d.client.XGroupDestroy(ctx, m.sub.Topic, m.sub.Group).Err()
	}
	const old = 365 * 24 * time.Hour // more than anybody's max_idle
	err := leaveScript().Run(ctx, m.d.client, []string{m.sub.Topic}, m.sub.Group, m.tap.consumer, old.Milliseconds()).Err()
	if strings.HasPrefix(answerOf(err), "NOGROUP") {
		return nil // it is gone, with everything in it
	}
	return err
}
