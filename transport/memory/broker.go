package memory

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anywire/anywire/transport/driver"
)

var (
	_ driver.Driver  = (*Broker)(nil)
	_ driver.Leaser  = (*Broker)(nil)
	_ driver.Admin   = (*Broker)(nil)
	_ driver.Browser = (*Broker)(nil)
	_ driver.Lagger  = (*Broker)(nil)
	_ driver.Pinger  = (*Broker)(nil)
	_ driver.Source  = (*source)(nil)
)

// Broker is a broker in this process. All methods may be called by many
// goroutines at once. What concerns one topic does not wait for another.
type Broker struct {
	caps     driver.Capabilities
	capacity int
	paranoia paranoia
	onDrop   func(topic string)
	base     time.Time // of the monotonic times

	mu     sync.Mutex                        // to change topics
	topics atomic.Pointer[map[string]*topic] // never changed in place; nil once closed

	leases leaseTable
}

// New makes a broker; it starts nothing. Values of o that [Open] refuses are
// taken as the nearest legal ones.
func New(o *Options) *Broker {
	if o == nil {
		o = &Options{}
	}
	b := &Broker{
		caps:     Capabilities(*o),
		capacity: o.Capacity,
		paranoia: newParanoia(o.Paranoid),
		onDrop:   o.OnDrop,
		base:     time.Now(),
	}
	if b.capacity <= 0 {
		b.capacity = DefaultCapacity
	}
	b.topics.Store(&map[string]*topic{})
	return b
}

// Capabilities implements [driver.Driver].
func (b *Broker) Capabilities() driver.Capabilities { return b.caps }

// Publish stores msgs in topic, which is made if it is missing. It waits while
// the topic is full; see the package comment. When ctx ends first, the error
// wraps that of ctx, and is a [driver.BatchError] if some of msgs are stored:
// those before the first that it names.
func (b *Broker) Publish(ctx context.Context, topic string, msgs []*driver.Message) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("topic %q: %w", topic, err)
	}
	t, err := b.topic(topic)
	if err != nil {
		return err
	}
	if b.paranoia.on {
		if err := refuseLocal(topic, msgs); err != nil {
			return err
		}
	}
	return t.publish(ctx, msgs)
}

// Subscribe joins a group and never waits. Lease defaults to 30 s.
func (b *Broker) Subscribe(ctx context.Context, sub driver.Subscription) (driver.Source, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("topic %q: %w", sub.Topic, err)
	}
	if sub.Group == "" {
		return nil, fmt.Errorf("topic %q: the group has no name", sub.Topic)
	}
	t, err := b.topic(sub.Topic)
	if err != nil {
		return nil, err
	}
	return t.subscribe(sub)
}

// Ping reports whether the broker is open.
func (b *Broker) Ping(ctx context.Context) error {
	if b.topics.Load() == nil {
		return errClosed()
	}
	return ctx.Err()
}

// Close drops all messages. Sources that are open, and publishers that wait, get
// [driver.ErrClosed].
func (b *Broker) Close(context.Context) error {
	b.mu.Lock()
	topics := b.topics.Swap(nil)
	b.mu.Unlock()
	if topics == nil {
		return nil
	}
	for _, t := range *topics {
		t.close()
	}
	return nil
}

func errClosed() error { return fmt.Errorf("memory broker: %w", driver.ErrClosed) }

// topic returns the topic, and makes it if it is missing.
func (b *Broker) topic(name string) (*topic, error) {
	if topics := b.topics.Load(); topics != nil {
		if t := (*topics)[name]; t != nil {
			return t, nil
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.make(driver.Topic{Name: name})
}

// existing returns a topic that someone has made.
func (b *Broker) existing(name string) (*topic, error) {
	topics := b.topics.Load()
	if topics == nil {
		return nil, errClosed()
	}
	t := (*topics)[name]
	if t == nil {
		return nil, fmt.Errorf("topic %q: %w", name, driver.ErrNotFound)
	}
	return t, nil
}

// make returns the topic spec.Name, and makes it if it is missing. b.mu is held.
func (b *Broker) make(spec driver.Topic) (*topic, error) {
	t, err := b.existing(spec.Name)
	if !errors.Is(err, driver.ErrNotFound) {
		return t, err
	}
	if spec.Name == "" {
		return nil, errors.New("memory broker: the topic has no name")
	}
	t = newTopic(b, spec)
	topics := maps.Clone(*b.topics.Load())
	topics[spec.Name] = t
	b.topics.Store(&topics)
	return t, nil
}

// all returns the topics in the order of their names.
func (b *Broker) all() ([]*topic, error) {
	topics := b.topics.Load()
	if topics == nil {
		return nil, errClosed()
	}
	list := make([]*topic, 0, len(*topics))
	for _, name := range slices.Sorted(maps.Keys(*topics)) {
		list = append(list, (*topics)[name])
	}
	return list, nil
}

// monotonic is a time for leases and delays: it never jumps.
func (b *Broker) monotonic(now time.Time) int64 { return int64(now.Sub(b.base)) }
