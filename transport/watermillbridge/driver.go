package watermillbridge

import (
	"context"
	"fmt"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/anywire/anywire/transport/driver"
)

// Driver carries topics on a Watermill Pub/Sub. It may be used by many
// goroutines at once. [NewDriver] makes one.
type Driver struct {
	pub       message.Publisher
	subscribe SubscriberFunc
	o         Options

	mu      sync.Mutex
	closed  bool
	calls   sync.WaitGroup // of the publisher; none begins once closed is set
	freed   chan struct{}  // the publisher is closed, or was not ours
	freeErr error
	freeing sync.Once
}

var _ driver.Driver = (*Driver)(nil)

// NewDriver makes a driver of a publisher and of subscribers. Nil options are the
// defaults; they have to say what the Pub/Sub can do.
func NewDriver(pub message.Publisher, subscribe SubscriberFunc, o *Options) *Driver {
	return &Driver{pub: pub, subscribe: subscribe, o: o.withDefaults(), freed: make(chan struct{})}
}

// Capabilities are those of [Options.Capabilities].
func (d *Driver) Capabilities() driver.Capabilities { return d.o.Capabilities() }

// Subscribe opens the subscriptions of one source: as many as Options.Consumers
// says, and no more than the window.
func (d *Driver) Subscribe(ctx context.Context, sub driver.Subscription) (driver.Source, error) {
	if d.isClosed() {
		return nil, fmt.Errorf("subscribe to %q: %w", sub.Topic, driver.ErrClosed)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s := newSource(d, sub)
	consumers, inFlight := d.o.Consumers, d.o.InFlight
	if sub.Window > 0 {
		consumers = min(consumers, sub.Window)
		inFlight = min(inFlight, sub.Window/consumers)
	}
	if err := s.open(ctx, consumers, inFlight); err != nil {
		s.abandon(ctx)
		return nil, fmt.Errorf("subscribe to %q as group %q: %w", sub.Topic, sub.Group, d.o.Wrap(err))
	}
	return s, nil
}

// Close waits for running publishes until ctx ends, and closes the publisher if
// the driver owns it. Sources must be closed before.
func (d *Driver) Close(ctx context.Context) error {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.freeing.Do(func() {
		go func() { // a Pub/Sub may take as long as it likes to close
			defer close(d.freed)
			d.calls.Wait()
			if d.o.OwnsPublisher {
				d.freeErr = d.pub.Close()
			}
		}()
	})
	select {
	case <-d.freed:
		return d.freeErr
	case <-ctx.Done():
		return fmt.Errorf("the publisher still works: %w", ctx.Err())
	}
}

func (d *Driver) isClosed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.closed
}

// begin counts a call of the publisher, unless the driver is closed.
func (d *Driver) begin() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return false
	}
	d.calls.Add(1)
	return true
}
