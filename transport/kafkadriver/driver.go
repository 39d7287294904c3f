package kafkadriver

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/anywire/anywire/transport/driver"
)

// Driver carries topics on one Kafka cluster. It may be used by many goroutines
// at once.
type Driver struct {
	o      Options // after defaults
	err    error   // of the options or the client: every call returns it
	client *kgo.Client
	adm    *kadm.Client
	given  *kgo.Client // by the caller, who closes it; nil: none
	shared []kgo.Opt   // of every client of this driver
	log    *slog.Logger

	mu     sync.Mutex
	closed bool
}

var (
	_ driver.Driver = (*Driver)(nil)
	_ driver.Native = (*Driver)(nil)
)

// Capabilities is what every driver of these options can do; [Driver] answers
// the same.
func Capabilities(o Options) driver.Capabilities {
	return driver.Capabilities{
		Durable:        true,
		Order:          true,
		OwnsShards:     true,
		OrderedPublish: true,
		DelayedNack:    true,
		DelaysByCopy:   true,
		DelayedPublish: true,
		Browse:         true,
		Lag:            true,
		StartTime:      true,
		MaxBody:        int(o.withDefaults().MaxBody),
		Headers:        driver.HeaderStyle{Prefix: attributePrefix, ContentType: contentTypeHeader},
	}
}

// Capabilities says what the driver does natively.
func (d *Driver) Capabilities() driver.Capabilities { return Capabilities(d.o) }

// New makes a driver on a client of the caller.
func New(client *kgo.Client, o *Options) *Driver {
	var options Options
	if o != nil {
		options = *o
	}
	d := newDriver(options.withDefaults())
	d.given = client
	if d.err == nil {
		d.err = d.connect(client.Opts())
	}
	return d
}

// Open connects.
func Open(ctx context.Context, o Options) (*Driver, error) {
	d := newDriver(o.withDefaults())
	if d.err != nil {
		return nil, d.usable()
	}
	opts, err := d.o.connection()
	if err != nil {
		return nil, err
	}
	if err := d.connect(opts); err != nil {
		return nil, err
	}
	return d, d.Ping(ctx)
}

func newDriver(o Options) *Driver {
	return &Driver{o: o, err: o.validate(), log: o.Logger}
}

func (d *Driver) connect(shared []kgo.Opt) error {
	d.shared = shared
	client, err := kgo.NewClient(append(d.clientOptions(), d.producerOptions()...)...)
	if err != nil {
		return fmt.Errorf("client options: %w", err)
	}
	d.client, d.adm = client, kadm.NewClient(client)
	return nil
}

// clientOptions are those of every client of this driver: who groups or reads
// appends its own.
func (d *Driver) clientOptions() []kgo.Opt {
	return append([]kgo.Opt(nil), d.shared...)
}

// Native is the *kgo.Client: the one that [New] was given, else the driver's own.
func (d *Driver) Native() any {
	if d.given != nil {
		return d.given
	}
	return d.client
}

// Ping asks for metadata.
func (d *Driver) Ping(ctx context.Context) error {
	if err := d.usable(); err != nil {
		return err
	}
	return wrap(d.client.Ping(ctx))
}

// Close frees the driver's clients.
func (d *Driver) Close(context.Context) error {
	d.mu.Lock()
	again := d.closed
	d.closed = true
	d.mu.Unlock()
	if again || d.client == nil {
		return nil
	}
	d.client.Close()
	return nil
}

// usable is the error of a driver that can do nothing.
func (d *Driver) usable() error {
	if d.err != nil {
		return fmt.Errorf("options of a Kafka transport: %w", d.err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return fmt.Errorf("driver of Kafka: %w", driver.ErrClosed)
	}
	return nil
}
