package watermillbridge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
)

// Defaults of [SubscriberOptions].
const (
	DefaultNackDelay    = 100 * time.Millisecond
	DefaultCloseTimeout = 5 * time.Second
)

// SubscriberOptions configure a [Subscriber]. The zero value, and nil, are the
// defaults.
type SubscriberOptions struct {
	// Group consumes each topic; default: the topic's name, so that all who say
	// nothing share the messages.
	Group string
	// Window is how many messages of one Subscribe are not acknowledged at once;
	// default 1, which keeps the broker's order while one subscriber of the group
	// is at work.
	Window int
	// Order says which messages wait for each other where Window is more than 1;
	// default: none do.
	Order transport.Order
	// Ephemeral groups vanish with their only subscription; Group is unique then.
	Ephemeral bool
	// Start is where a new group begins; default: the oldest message.
	Start driver.Start
	// NackDelay is how long a refused message waits for its next delivery; default
	// 100 ms. Negative: not at all.
	NackDelay time.Duration
	// Lease is how long a message outlives this process without an
	// acknowledgement; default: the transport's.
	Lease time.Duration
	// CloseTimeout is how long Close and the end of a Subscribe's context wait for
	// messages that a handler has, before they go back to the broker; default 5 s.
	// Negative: not at all.
	CloseTimeout time.Duration
	// Type is the wire type of plain messages, as in [PublisherOptions].
	Type string
	// Logger gets why a subscription ended; nil discards.
	Logger *slog.Logger
}

func (o *SubscriberOptions) withDefaults() SubscriberOptions {
	var options SubscriberOptions
	if o != nil {
		options = *o
	}
	options.Window = max(1, options.Window)
	options.NackDelay = orDefault(options.NackDelay, DefaultNackDelay)
	options.CloseTimeout = orDefault(options.CloseTimeout, DefaultCloseTimeout)
	options.Logger = cmp.Or(options.Logger, slog.New(slog.DiscardHandler))
	return options
}

// orDefault reads a duration whose zero value is the default.
func orDefault(d, zero time.Duration) time.Duration {
	if d == 0 {
		return zero
	}
	return max(0, d)
}

// Subscriber is a transport as Watermill's message.Subscriber. It is safe for
// concurrent use.
//
// Delivery is at least once and without end: a message that is refused comes
// again, however often; Watermill's own middleware decides when that is enough. A
// message that cannot be read comes as it is, under an id of its own.
type Subscriber struct {
	t          *transport.Transport
	o          SubscriberOptions
	converters converters

	mu      sync.Mutex
	closed  bool
	closing chan struct{}
	running sync.WaitGroup
}

var (
	_ message.Subscriber           = (*Subscriber)(nil)
	_ message.SubscribeInitializer = (*Subscriber)(nil)
)

// NewSubscriber makes a subscriber over t, which stays the caller's to close. It
// starts nothing.
func NewSubscriber(t *transport.Transport, o *SubscriberOptions) *Subscriber {
	s := &Subscriber{t: t, o: o.withDefaults(), closing: make(chan struct{})}
	s.converters.wireType = s.o.Type
	return s
}

// SubscribeInitialize creates the topic if it is missing.
func (s *Subscriber) SubscribeInitialize(topic string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	_, err := s.t.EnsureTopic(ctx, driver.Topic{Name: topic})
	return err
}

// Subscribe consumes topic until ctx ends or Close is called, and then closes the
// channel. It returns when the subscription runs, with its error if it cannot;
// where the broker does not answer, it returns after some seconds, and goes on
// trying behind the channel.
func (s *Subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	c, err := s.converters.of(topic)
	if err != nil {
		return nil, fmt.Errorf("subscribe to %q: %w", topic, err)
	}
	if !s.begin() {
		return nil, fmt.Errorf("subscribe to %q: subscriber is %w", topic, driver.ErrClosed)
	}
	one := &subscription{s: s, topic: topic, converter: c, out: make(chan *message.Message), ended: make(chan struct{})}
	one.stop, one.cancel = context.WithCancel(ctx)
	go one.run()
	return one.out, one.started(ctx)
}

func (s *Subscriber) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.running.Add(1)
	return true
}

// Close ends every subscription and waits until their channels are closed. The
// transport stays open.
func (s *Subscriber) Close() error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.closing)
	}
	s.mu.Unlock()
	s.running.Wait()
	return nil
}

// subscription is one call of Subscribe.
type subscription struct {
	s         *Subscriber
	topic     string
	converter *converter
	out       chan *message.Message
	ended     chan struct{}
	err       error           // once ended is closed
	stop      context.Context //nolint:containedctx // this object is one call
	cancel    context.CancelFunc
}

func (one *subscription) run() {
	s := one.s
	defer s.running.Done()
	defer close(one.out)
	defer one.cancel()
	closing := make(chan struct{})
	go func() {
		defer close(closing)
		select {
		case <-s.closing:
			one.cancel()
		case <-one.stop.Done():
		}
	}()
	err := s.t.Subscribe(one.stop, one.topic, one.handle, &transport.SubscribeOptions{
		Group: s.o.Group, Start: s.o.Start, Lease: s.o.Lease, Order: s.o.Order, Ephemeral: s.o.Ephemeral,
		Window: s.o.Window, Concurrency: s.o.Window, LaneLimit: s.o.Window,
		DrainTimeout: s.o.CloseTimeout + time.Second, Inbox: inbox(one.group()),
	})
	one.cancel()
	<-closing
	if err != nil && !errors.Is(err, transport.ErrForced) {
		one.err = err
		s.o.Logger.Error("subscription ended", "topic", one.topic, "group", s.o.Group, "error", err)
	}
	close(one.ended)
}

func (one *subscription) group() string { return cmp.Or(one.s.o.Group, one.topic) }

// inbox is a topic that brokers with strict names can have, whatever the group is
// called. Nothing is ever sent there: refused messages wait here.
func inbox(group string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r) {
			return r
		}
		return '-'
	}, group) + ".inbox"
}

// started waits until the subscription runs, or cannot.
func (one *subscription) started(ctx context.Context) error {
	const patience, look = 5 * time.Second, 2 * time.Millisecond
	late := time.NewTimer(patience)
	defer late.Stop()
	tick := time.NewTicker(look)
	defer tick.Stop()
	for !one.runs() {
		select {
		case <-one.ended:
			return one.err
		case <-ctx.Done():
			return nil // the channel is closed soon
		case <-late.C:
			return nil
		case <-tick.C:
		}
	}
	return nil
}

func (one *subscription) runs() bool {
	group := one.group()
	for _, h := range one.s.t.Health() {
		if h.Topic == one.topic && h.Group == group && h.State != transport.Starting {
			return true
		}
	}
	return false
}

// handle delivers one message until it is acknowledged.
func (one *subscription) handle(ctx context.Context, d *transport.Delivery) transport.Outcome {
	w := one.message(d)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w.SetContext(ctx)
	select {
	case one.out <- w:
	case <-one.stop.Done():
		return transport.HandBack()
	case <-ctx.Done():
		return transport.HandBack()
	}
	return one.outcome(ctx, w)
}

// outcome waits for the handler's word, and for some time longer once the
// subscription ends.
func (one *subscription) outcome(ctx context.Context, w *message.Message) transport.Outcome {
	late := time.NewTimer(one.s.o.CloseTimeout)
	late.Stop()
	defer late.Stop()
	stop := one.stop.Done()
	for {
		select {
		case <-w.Acked():
			return transport.Done()
		case <-w.Nacked():
			return transport.WaitInLane(one.s.o.NackDelay)
		case <-stop:
			stop = nil
			late.Reset(one.s.o.CloseTimeout)
		case <-late.C:
			return one.lastWord(w)
		case <-ctx.Done():
			return one.lastWord(w)
		}
	}
}

// lastWord prefers an acknowledgement that came at the same moment.
func (*subscription) lastWord(w *message.Message) transport.Outcome {
	select {
	case <-w.Acked():
		return transport.Done()
	default:
		return transport.HandBack()
	}
}

// message is the delivery for Watermill. Where the transport cannot read it, it
// may be plain, or else stays raw.
func (one *subscription) message(d *transport.Delivery) *message.Message {
	if d.Envelope != nil {
		return one.converter.toMessage(d.Envelope)
	}
	return rawMessage(d.Raw.Headers, d.Raw.Body)
}
