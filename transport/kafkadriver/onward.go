package kafkadriver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/anywire/anywire/transport/driver"
)

// trimEvery is how often what was forwarded is deleted.
const trimEvery = 5 * time.Minute

// destination is what a copy in the ladder says about itself.
func destination(m *driver.Message) (at time.Time, to string, err error) {
	for _, h := range m.Headers {
		switch h.Name {
		case deliverToHeader:
			to = h.Value
		case deliverAtHeader:
			if at, err = time.Parse(time.RFC3339Nano, h.Value); err != nil {
				return at, to, fmt.Errorf("header %s: %w", h.Name, err)
			}
		}
	}
	if to == "" || at.IsZero() {
		return at, to, fmt.Errorf("headers %s and %s are missing", deliverToHeader, deliverAtHeader)
	}
	return at, to, nil
}

// onward writes the record that a copy goes on as.
func (f *forwarder) onward(ctx context.Context, r *kgo.Record, h *held, now time.Time) error {
	if h.to == "" {
		return f.park(ctx, r, h.m)
	}
	if h.at.After(now) {
		return f.l.place(ctx, r, copyOf(h))
	}
	if until, sick := f.sick[h.to]; sick && now.Before(until) {
		return errSick
	}
	t, err := f.d.topicFor(ctx, h.to)
	if err != nil {
		return err
	}
	m := *h.m
	m.Headers = make([]driver.Header, 0, len(h.m.Headers))
	for _, header := range h.m.Headers {
		if header.Name != deliverAtHeader && header.Name != deliverToHeader {
			m.Headers = append(m.Headers, header)
		}
	}
	if n := encodedSize(&m); n > f.d.batchBytes(t) {
		return fmt.Errorf("%w: %d bytes as a record: max.message.bytes of topic %q is %d", driver.ErrTooLarge, n, t.name, t.limit)
	}
	w := newWriter(&m)
	w.fill(r, h.to, &m)
	return nil
}

var errSick = errors.New("the topic refused a message a moment ago")

// copyOf is a held message as it came.
func copyOf(h *held) delayCopy {
	w := newWriter(h.m)
	r := new(kgo.Record)
	w.fill(r, "", h.m)
	return delayCopy{record: r, to: h.to, at: h.at}
}

// detour writes the record of a copy whose topic refuses it: it comes back later,
// the later the longer that lasts.
func (f *forwarder) detour(ctx context.Context, r *kgo.Record, h *held, now time.Time) error {
	if h.to == "" {
		return f.park(ctx, r, h.m)
	}
	return f.l.placeOn(ctx, r, copyOf(h), rungFor(min(max(now.Sub(h.at), 4*time.Second), 16*time.Minute)))
}

// park writes a copy that cannot be read, as it is, to where an operator finds it.
func (f *forwarder) park(ctx context.Context, r *kgo.Record, m *driver.Message) error {
	name := f.d.o.System + ladderName(parked)
	if _, err := f.l.ensure(ctx, name); err != nil {
		return err
	}
	w := newWriter(m)
	w.fill(r, name, m)
	return nil
}

// refused notes that a topic takes nothing, and says so when that is new.
func (f *forwarder) refused(h *held, now time.Time, err error) {
	if errors.Is(err, errSick) || h.to == "" || h.at.After(now) {
		return
	}
	if _, known := f.sick[h.to]; !known {
		f.d.log.Error("delayed messages cannot be delivered to a topic: they are kept and tried again for ever",
			"topic", h.to, "position", h.m.Position, "in", f.topic, "error", err)
	}
	f.sick[h.to] = now.Add(sickFor)
}

// well notes that a topic took a message again.
func (f *forwarder) well(h *held, topic string) {
	if _, sick := f.sick[h.to]; sick && topic == h.to {
		delete(f.sick, h.to)
		f.d.log.Info("delayed messages are delivered again", "topic", h.to)
	}
}

// trimmer deletes what was forwarded, since the ladder's topics have no age limit.
type trimmer struct {
	moved  int // since the last time
	last   time.Time
	denied bool
}

func (t *trimmer) maybe(ctx context.Context, f *forwarder) {
	if t.moved == 0 || time.Since(t.last) < trimEvery || t.denied {
		return
	}
	t.moved, t.last = 0, time.Now()
	if err := f.trimNow(ctx); err != nil && ctx.Err() == nil {
		t.denied = errors.Is(wrap(err), driver.ErrDenied)
		f.d.log.Warn("what was forwarded cannot be deleted: the topic grows until somebody does, or gives it a retention",
			"topic", f.topic, "error", err)
	}
}

// trimNow deletes up to what the group has committed.
func (f *forwarder) trimNow(ctx context.Context) error {
	committed, err := f.d.adm.FetchOffsetsForTopics(ctx, f.l.group(), f.topic)
	if err != nil {
		return err
	}
	before := kadm.Offsets{}
	committed.Each(func(o kadm.OffsetResponse) {
		if o.Err == nil && o.At > 0 && o.Topic == f.topic {
			before.AddOffset(o.Topic, o.Partition, o.At, -1)
		}
	})
	if len(before) == 0 {
		return nil
	}
	answers, err := f.d.adm.DeleteRecords(ctx, before)
	if err != nil {
		return err
	}
	return answers.Error()
}
