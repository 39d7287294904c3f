package transport

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/transport/driver"
)

// Causes with which the contexts of handlers end, and with which Subscribe may
// return.
var (
	// ErrDraining: the drain timeout passed before the handler returned.
	ErrDraining = errors.New("draining: the drain timeout passed")
	// ErrAborted: the transport was told to stop at once.
	ErrAborted = errors.New("aborted")
	// ErrForced: a subscription ended while handlers still ran.
	ErrForced = errors.New("stopped by force: handlers were still running")
)

// Transport publishes and subscribes on one broker. It is safe for concurrent
// use.
type Transport struct {
	driver   driver.Driver
	caps     driver.Capabilities
	binding  *envelope.Binding
	plain    map[string]*envelope.Plain // by topic
	refused  error                      // why the options cannot be used
	options  Options
	limits   envelope.Limits
	mostBody int // of a message that is received
	log      *slog.Logger
	waits    scheduler
	batches  sync.Pool // of *batch
	closing  atomic.Bool

	mu    sync.Mutex
	subs  map[*subscription]struct{}
	ended *sync.Cond // a subscription is gone from subs
	freed bool       // the driver is closed, or somebody closes it
}

// New returns a transport over d. It starts nothing. The driver stays the
// caller's, unless o.OwnsDriver.
func New(d driver.Driver, o *Options) *Transport {
	t := &Transport{driver: d, caps: d.Capabilities(), subs: map[*subscription]struct{}{}}
	if o != nil {
		t.options = *o
	}
	setDefault(&t.options.Name, "transport")
	if t.options.Limits != nil {
		t.limits = *t.options.Limits
	}
	t.log = cmp.Or(t.options.Logger, slog.New(slog.DiscardHandler))
	// A structured message holds attributes and, at the most, a body in base64.
	t.mostBody = cmp.Or(t.limits.Body, envelope.DefaultBodyLimit)*4/3 +
		2*cmp.Or(t.limits.AttributeBytes, envelope.DefaultAttributeBytesLimit)
	style := t.caps.Headers
	t.binding = envelope.NewBinding(style.Prefix, style.ContentType, style.Percent)
	t.plain, t.refused = plainTopics(t.binding, t.options.Plain, style.Fields)
	t.batches.New = func() any { return new(batch) }
	t.ended = sync.NewCond(&t.mu)
	return t
}

// Name is the name of the options.
func (t *Transport) Name() string { return t.options.Name }

// Driver is the layer below.
func (t *Transport) Driver() driver.Driver { return t.driver }

// Capabilities are the driver's.
func (t *Transport) Capabilities() driver.Capabilities { return t.caps }

// Health has a snapshot of every running subscription, by topic and group.
func (t *Transport) Health() []Health {
	t.mu.Lock()
	all := make([]Health, 0, len(t.subs))
	for s := range t.subs {
		all = append(all, s.snapshot())
	}
	t.mu.Unlock()
	slices.SortFunc(all, func(a, b Health) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Group, b.Group))
	})
	return all
}

// EnsureTopic creates a topic as described if it is missing, and returns what
// the broker has. A driver without such a notion answers with the request.
func (t *Transport) EnsureTopic(ctx context.Context, spec driver.Topic) (driver.Topic, error) {
	admin, ok := t.driver.(driver.Admin)
	if !ok {
		return spec, nil
	}
	name := spec.Name
	spec.Name = t.options.Prefix + name
	has, err := admin.EnsureTopic(ctx, spec)
	has.Name = name
	switch {
	case err == nil:
		return has, nil
	case strings.HasPrefix(err.Error(), fmt.Sprintf("topic %q", spec.Name)): // the driver names it already
		return has, fmt.Errorf("transport %q: %w", t.Name(), err)
	}
	return has, fmt.Errorf("topic %q on transport %q: %w", name, t.Name(), err)
}

// Browse shows the messages of a topic to fn without a group and without
// settling, until fn returns false, ctx ends or, unless follow is set, what was
// there at the call has been seen. Limits do not apply: dead letters hold what
// broke them.
func (t *Transport) Browse(
	ctx context.Context, topic string, start driver.Start, follow bool, fn func(*Delivery) bool,
) error {
	browser, ok := t.driver.(driver.Browser)
	if !ok {
		return t.unsupported("browse topics")
	}
	err := browser.Browse(ctx, t.options.Prefix+topic, start, follow, func(m *driver.Message) bool {
		d := Delivery{Raw: m, Topic: topic}
		var e envelope.Envelope
		if d.DecodeErr = t.read(m, topic, &e); d.DecodeErr == nil {
			d.Envelope = &e
		}
		return fn(&d)
	})
	if err != nil {
		return fmt.Errorf("browse topic %q on transport %q: %w", topic, t.Name(), err)
	}
	return nil
}

// Remove takes messages out of a topic, as [Transport.Browse] gave them. One that
// is gone already is no error. A [driver.BatchError] names those that failed. Where
// the broker keeps a log, that is [envelope.Unsupported].
func (t *Transport) Remove(ctx context.Context, topic string, ds ...*Delivery) error {
	if len(ds) == 0 {
		return nil
	}
	remover, ok := t.driver.(driver.Remover)
	if !ok {
		return t.unsupported("remove single messages")
	}
	msgs := make([]*driver.Message, len(ds))
	for i, d := range ds {
		msgs[i] = d.Raw
	}
	if err := remover.Remove(ctx, t.options.Prefix+topic, msgs); err != nil {
		return fmt.Errorf("remove from topic %q on transport %q: %w", topic, t.Name(), err)
	}
	return nil
}

// PublishRaw sends messages as they are, without an envelope: what was read and
// could not be decoded goes on as it came. Limits do not apply. Inside one process,
// too, their headers and bodies are what is carried. Errors are as those of the
// driver's Publish.
func (t *Transport) PublishRaw(ctx context.Context, topic string, msgs ...*driver.Message) error {
	if t.closing.Load() {
		return fmt.Errorf("publish to %q on transport %q: %w", topic, t.Name(), driver.ErrClosed)
	}
	if err := t.driver.Publish(ctx, t.options.Prefix+topic, msgs); err != nil {
		return fmt.Errorf("publish to %q on transport %q: %w", topic, t.Name(), err)
	}
	return nil
}

// Lag counts what a group has before it.
func (t *Transport) Lag(ctx context.Context, topic, group string) (driver.Lag, error) {
	lagger, ok := t.driver.(driver.Lagger)
	if !ok {
		return driver.Lag{}, t.unsupported("count the lag")
	}
	lag, err := lagger.Lag(ctx, t.options.Prefix+topic, t.options.Prefix+group)
	if err != nil {
		return lag, fmt.Errorf("lag of group %q on topic %q: %w", group, topic, err)
	}
	return lag, nil
}

// Ping checks that the broker answers. A driver that cannot tell is taken to.
func (t *Transport) Ping(ctx context.Context) error {
	pinger, ok := t.driver.(driver.Pinger)
	if !ok {
		return nil
	}
	if err := pinger.Ping(ctx); err != nil {
		return fmt.Errorf("transport %q: %w", t.Name(), err)
	}
	return nil
}

func (t *Transport) unsupported(what string) error {
	return &envelope.Error{
		Code: envelope.Unsupported, Message: fmt.Sprintf("transport %q cannot %s", t.Name(), what),
	}
}

// Abort stops every subscription at once: handlers are cancelled with
// [ErrAborted], and what is in flight goes back to the broker. It does not wait.
func (t *Transport) Abort() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for s := range t.subs {
		s.abort(ErrAborted)
	}
}

// Close aborts what still runs, waits for it until ctx ends, and closes the
// driver if the transport owns it. Publish and Subscribe fail afterwards.
// Closing twice is harmless.
func (t *Transport) Close(ctx context.Context) error {
	t.closing.Store(true)
	t.Abort()
	stop := context.AfterFunc(ctx, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.ended.Broadcast()
	})
	defer stop()
	t.mu.Lock()
	for len(t.subs) > 0 && ctx.Err() == nil {
		t.ended.Wait()
	}
	left := len(t.subs)
	free := left == 0 && t.options.OwnsDriver && !t.freed
	t.freed = t.freed || free
	t.mu.Unlock()
	if left > 0 {
		return fmt.Errorf("transport %q: %d subscriptions still end: %w", t.Name(), left, context.Cause(ctx))
	}
	if !free {
		return nil
	}
	if err := t.driver.Close(ctx); err != nil {
		return fmt.Errorf("transport %q: %w", t.Name(), err)
	}
	return nil
}

func (t *Transport) add(s *subscription) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closing.Load() {
		return fmt.Errorf("transport %q: %w", t.Name(), driver.ErrClosed)
	}
	t.subs[s] = struct{}{}
	return nil
}

func (t *Transport) remove(s *subscription) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.subs, s)
	t.ended.Broadcast()
}

func (t *Transport) observe(e Event) {
	if t.options.Observe != nil {
		t.options.Observe(e)
	}
}

// decode reads what the broker carried, unless that is larger than any message
// within the limits.
func (t *Transport) decode(m *driver.Message, topic string, into *envelope.Envelope) error {
	if len(m.Body) > t.mostBody {
		return &envelope.Error{Code: envelope.TooLarge, Message: fmt.Sprintf(
			"body has %d bytes, more than limits.body allows in any form", len(m.Body))}
	}
	return t.read(m, topic, into)
}

func (t *Transport) read(m *driver.Message, topic string, into *envelope.Envelope) error {
	if local, ok := m.Local.(*envelope.Envelope); ok {
		*into = *local
	} else if p := t.plain[topic]; p != nil {
		if err := readPlain(p, m, into); err != nil {
			return err
		}
	} else if err := t.binding.Decode(m.Headers, m.Body, into); err != nil {
		return err
	}
	into.Topic = topic
	into.DeliverAt, into.Attempt = time.Time{}, 0
	if t.Capabilities().DelaysByCopy {
		takeAttempts(into)
	}
	return nil
}

// takeAttempts moves what a delayed copy carries for itself alone out of the
// attributes.
func takeAttempts(e *envelope.Envelope) {
	if n, err := strconv.Atoi(e.Reserved(envelope.AttrAttempt)); err == nil && n > 0 {
		e.Attempt = n
	}
	for _, name := range [...]string{envelope.AttrAttempt, envelope.AttrDeliverAt, envelope.AttrDeliverTo} {
		delete(e.Extensions, name)
	}
}
