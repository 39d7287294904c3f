package watermillbridge

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
)

// PublisherOptions configure a [Publisher]. The zero value, and nil, are the
// defaults.
type PublisherOptions struct {
	// Type is the wire type of plain messages: those whose metadata is no
	// CloudEvent; default [DefaultType].
	Type string
	// Key gives a plain message its key, which orders and partitions. Nil: no
	// message has one.
	Key func(topic string, m *message.Message) string
	// Timeout bounds one call of Publish; default 30 s.
	Timeout time.Duration
}

// Publisher is a transport as Watermill's message.Publisher. It is safe for
// concurrent use.
type Publisher struct {
	t          *transport.Transport
	o          PublisherOptions
	converters converters
	closed     atomic.Bool
}

var _ message.Publisher = (*Publisher)(nil)

// NewPublisher makes a publisher over t, which stays the caller's to close.
func NewPublisher(t *transport.Transport, o *PublisherOptions) *Publisher {
	p := &Publisher{t: t}
	if o != nil {
		p.o = *o
	}
	if p.o.Timeout <= 0 {
		p.o.Timeout = 30 * time.Second
	}
	p.converters.wireType = p.o.Type
	return p
}

// Publish sends messages in their order and returns when the broker has confirmed
// all of them. The context of a message bounds it; where messages have several
// contexts, each run of one context is sent by itself. An error of several
// messages is a [driver.BatchError], whose indexes are those of messages.
func (p *Publisher) Publish(topic string, messages ...*message.Message) error {
	if p.closed.Load() {
		return fmt.Errorf("publish to %q: publisher is %w", topic, driver.ErrClosed)
	}
	envelopes, err := p.envelopes(topic, messages)
	if err != nil {
		return fmt.Errorf("publish to %q: %w", topic, err)
	}
	for from := 0; from < len(messages); {
		to := from + 1
		for to < len(messages) && messages[to].Context() == messages[from].Context() {
			to++
		}
		if err := p.send(messages[from].Context(), topic, envelopes[from:to]); err != nil {
			return shifted(err, from, len(messages))
		}
		from = to
	}
	return nil
}

// Close refuses further messages. The transport stays open.
func (p *Publisher) Close() error {
	p.closed.Store(true)
	return nil
}

func (p *Publisher) envelopes(topic string, messages []*message.Message) ([]*envelope.Envelope, error) {
	c, err := p.converters.of(topic)
	if err != nil {
		return nil, err
	}
	envelopes := make([]*envelope.Envelope, len(messages))
	for i, m := range messages {
		if envelopes[i], err = c.fromMessage(m); err != nil {
			return nil, err
		}
		if p.o.Key != nil && c.isPlain(envelopes[i]) {
			envelopes[i].Key = p.o.Key(topic, m)
		}
	}
	return envelopes, nil
}

func (p *Publisher) send(ctx context.Context, topic string, envelopes []*envelope.Envelope) error {
	ctx, cancel := context.WithTimeout(ctx, p.o.Timeout)
	defer cancel()
	return p.t.Publish(ctx, topic, envelopes...)
}

// shifted names the failures of a run by their indexes in the call, and those that
// were not reached.
func shifted(err error, from, all int) error {
	var some driver.BatchError
	if from == 0 && (all == 1 || errors.As(err, &some)) {
		return err
	}
	failed := driver.BatchError{}
	if errors.As(err, &some) {
		for i, err := range some {
			failed[from+i] = err
		}
		return failed
	}
	failed[from] = err
	return failed
}

// converters keeps one for each topic.
type converters struct {
	wireType string
	byTopic  sync.Map // of *converter
}

func (c *converters) of(topic string) (*converter, error) {
	if known, ok := c.byTopic.Load(topic); ok {
		return known.(*converter), nil //nolint:forcetypeassert // the map holds nothing else
	}
	made, err := newConverter(topic, c.wireType)
	if err != nil {
		return nil, err
	}
	c.byTopic.Store(topic, made)
	return made, nil
}
