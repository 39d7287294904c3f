package anywire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/memory"
)

// openTimeout bounds what opens a transport without a caller's context, and what
// closes one.
const openTimeout = 30 * time.Second

// links are the transports of an app, opened as they are needed.
type links struct {
	app *App

	mu     sync.RWMutex
	byName map[string]*link
	topics map[string]string // where they live: those of the configuration, and others that were used; nil: not known yet
	closed bool
}

// link is one transport, or the place of one.
type link struct {
	turn chan struct{} // held while it is opened
	t    *transport.Transport
}

// route finds the transport of a topic, opening it if need be.
func (l *links) route(topic string) (*transport.Transport, error) {
	name, err := l.where(topic)
	if err != nil {
		return nil, err
	}
	if t := l.opened(name); t != nil {
		return t, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	return l.open(ctx, name)
}

func (l *links) where(topic string) (string, error) {
	l.mu.RLock()
	name, known := l.topics[topic]
	l.mu.RUnlock()
	if known {
		return name, nil
	}
	if err := config.CheckTopic(topic); err != nil {
		return "", &Error{Code: Invalid, Message: err.Error()}
	}
	name, err := l.app.config.Where(topic)
	if err != nil {
		return "", &Error{Code: Invalid, Message: err.Error()}
	}
	l.note(topic, name)
	return name, nil
}

// mostNoted bounds the topics that are known without the configuration's help: a
// program may make up a name for each conversation.
const mostNoted = 4096

// note keeps what where found.
func (l *links) note(topic, name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.topics != nil && len(l.topics) < mostNoted {
		l.topics[topic] = name
	}
}

// learn notes where the topics of the configuration live, for where.
func (l *links) learn(c *config.Config) {
	topics := map[string]string{}
	for _, topic := range topicsOf(c) {
		if name, err := c.Where(topic); err == nil && config.CheckTopic(topic) == nil {
			topics[topic] = name
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.topics = topics
}

func (l *links) isClosed() bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.closed
}

func (l *links) opened(name string) *transport.Transport {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if k := l.byName[name]; k != nil && !l.closed {
		return k.t
	}
	return nil
}

// open returns a transport and opens it if need be. Those who want the same one
// wait for each other.
func (l *links) open(ctx context.Context, name string) (*transport.Transport, error) {
	k, err := l.place(name)
	if err != nil {
		return nil, err
	}
	select {
	case k.turn <- struct{}{}:
		defer func() { <-k.turn }()
	case <-ctx.Done():
		return nil, fmt.Errorf("transport %q: %w", name, context.Cause(ctx))
	}
	if t := l.opened(name); t != nil {
		return t, nil
	}
	t, err := l.app.connect(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := l.app.ensureConfigured(ctx, t); err != nil {
		return nil, errors.Join(err, t.Close(ctx))
	}
	return t, l.keep(ctx, k, t)
}

func (l *links) place(name string) (*link, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, fmt.Errorf("transport %q: the app is closed: %w", name, driver.ErrClosed)
	}
	if l.byName == nil {
		l.byName = map[string]*link{}
	}
	if l.byName[name] == nil {
		l.byName[name] = &link{turn: make(chan struct{}, 1)}
	}
	return l.byName[name], nil
}

func (l *links) keep(ctx context.Context, k *link, t *transport.Transport) error {
	l.mu.Lock()
	closed := l.closed
	if !closed {
		k.t = t
	}
	l.mu.Unlock()
	if closed { // meanwhile
		return errors.Join(fmt.Errorf("transport %q: the app is closed: %w", t.Name(), driver.ErrClosed), t.Close(ctx))
	}
	return nil
}

// all are the open transports, by name.
func (l *links) all() []*transport.Transport {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var open []*transport.Transport
	for _, name := range slices.Sorted(maps.Keys(l.byName)) {
		if t := l.byName[name].t; t != nil {
			open = append(open, t)
		}
	}
	return open
}

func (l *links) abort() {
	for _, t := range l.all() {
		t.Abort()
	}
}

// close closes every transport, and what they opened, for good.
func (l *links) close(ctx context.Context) error {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	var errs []error
	for _, t := range l.all() {
		errs = append(errs, t.Close(ctx))
	}
	return errors.Join(errs...)
}

// connect makes the transport of a name from the driver that was handed in, or
// from the entry of the configuration.
func (a *App) connect(ctx context.Context, name string) (*transport.Transport, error) {
	options := &transport.Options{
		Name: name, Logger: a.options.Logger, Observe: a.options.Observe,
		Limits: a.limits(), Prefix: a.config.Transports[name].Prefix, Plain: a.plainTopics(name),
	}
	if d, given := a.options.Drivers[name]; given {
		if d == nil {
			return nil, &Error{Code: Invalid, Message: nilDriver(name)}
		}
		return transport.New(d, options), nil
	}
	kind, err := a.kind(name)
	if err != nil {
		return nil, err
	}
	kindOptions := kind.NewOptions()
	if err := a.config.Decode("transports."+name, kindOptions); err != nil {
		return nil, fmt.Errorf("transport %q: %w", name, err)
	}
	if o, ok := kindOptions.(interface{ SetLogger(log *slog.Logger) }); ok {
		o.SetLogger(a.options.Logger.With("transport", name))
	}
	if o, ok := kindOptions.(interface{ SetSystem(name string) }); ok {
		o.SetSystem(options.Prefix + a.config.System())
	}
	d, err := kind.Open(ctx, kindOptions)
	if err != nil {
		return nil, &entryError{a.config.Problem("transports."+name, err.Error(), ""), err}
	}
	options.OwnsDriver = true
	return transport.New(d, options), nil
}

// plainTopics are those of a transport that clients without CloudEvents use, with
// the type of what those write.
func (a *App) plainTopics(transport string) map[string]string {
	plain := map[string]string{}
	for topic, entry := range a.config.Topics {
		if on, err := a.config.Where(topic); err == nil && on == transport && entry.Plain != "" {
			plain[topic] = entry.Plain
		}
	}
	return plain
}

// entryError is what is wrong with a transport or a topic, with the place of its
// entry. It is no [config.Problems]: a broker may be away, or have something else,
// though the entry is valid.
type entryError struct {
	problem config.Problem
	err     error
}

func (e *entryError) Error() string { return e.problem.Error() }

func (e *entryError) Unwrap() error { return e.err }

func nilDriver(name string) string { return fmt.Sprintf("the driver of transport %q is nil", name) }

func (a *App) limits() *envelope.Limits {
	l := a.config.Limits
	return &envelope.Limits{Body: int(l.Body), Attributes: l.Attributes, AttributeBytes: int(l.AttributeBytes)}
}

// kind is that of a transport of the configuration.
func (a *App) kind(name string) (transport.Kind, error) {
	kindName, ok := a.config.Kind(name)
	if !ok {
		return nil, &Error{Code: Invalid, Message: fmt.Sprintf("there is no transport %q in the configuration", name)}
	}
	for _, k := range a.kinds() {
		if k.KindName() == kindName {
			return k, nil
		}
	}
	return nil, &Error{Code: Invalid, Message: fmt.Sprintf(
		"transport %q is of kind %q, which this program does not link: it links %s", name, kindName, a.kindNames())}
}

// kinds are those of transports, memory included.
func (a *App) kinds() []transport.Kind {
	var kinds []transport.Kind
	for _, k := range a.options.Kinds {
		if k, ok := k.(transport.Kind); ok {
			kinds = append(kinds, k)
		}
	}
	return append(kinds, memory.Kind())
}

func (a *App) kindNames() string {
	var names []string
	for _, k := range a.kinds() {
		names = append(names, k.KindName())
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ", ")
}

// topicsOf lists the topics that a configuration names.
func topicsOf(c *config.Config) []string {
	topics := slices.Collect(maps.Keys(c.Topics))
	for name := range c.Agents {
		agent, _ := c.Agent(name)
		topics = append(topics, agent.Consumes, agent.DeadLetter)
		if agent.Produces != "" && agent.Produces != config.None {
			topics = append(topics, agent.Produces)
		}
	}
	slices.Sort(topics)
	return slices.Compact(topics)
}

// ensureConfigured creates, or checks, the topics that have an entry of their
// own and live on t.
func (a *App) ensureConfigured(ctx context.Context, t *transport.Transport) error {
	var errs []error
	for _, topic := range slices.Sorted(maps.Keys(a.config.Topics)) {
		if on, err := a.config.Where(topic); err == nil && on == t.Name() {
			errs = append(errs, a.ensure(ctx, t, topic, 0))
		}
	}
	return errors.Join(errs...)
}

// ensure creates a topic, or checks the one that is there.
func (a *App) ensure(ctx context.Context, t *transport.Transport, topic string, age time.Duration) error {
	entry := a.config.Topics[topic]
	if entry.Retention.Age > 0 {
		age = entry.Retention.Age.Std()
	}
	_, err := t.EnsureTopic(ctx, driver.Topic{
		Name: topic, Shards: entry.Shards, Replicas: entry.Replicas, Require: entry.Require,
		RetentionAge: age, RetentionBytes: int64(entry.Retention.Bytes),
	})
	if err != nil {
		return &entryError{a.config.Problem(a.pathOf(topic), err.Error(), ""), err}
	}
	return nil
}

// pathOf is where a configuration speaks of a topic: its entry, else an agent's
// that reads or writes it.
func (a *App) pathOf(topic string) string {
	if _, ok := a.config.Topics[topic]; ok {
		return "topics." + topic
	}
	for _, name := range slices.Sorted(maps.Keys(a.config.Agents)) {
		switch agent, _ := a.config.Agent(name); topic {
		case agent.Consumes:
			return "agents." + name + ".consumes"
		case agent.Produces:
			return "agents." + name + ".produces"
		case agent.DeadLetter:
			return "agents." + name + ".dead_letter"
		}
	}
	return "topics." + topic
}
