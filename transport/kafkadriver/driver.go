package kafkadriver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/anywire/anywire/transport/driver"
)

// Driver carries topics on one Kafka cluster. It may be used by many goroutines
// at once.
type Driver struct {
	o      Options     // after defaults
	err    error       // of the options or the client: every call returns it
	client *kgo.Client // that publishes and administers; it consumes nothing
	adm    *kadm.Client
	given  *kgo.Client // by the caller, who closes it; nil: none
	shared []kgo.Opt   // of every client of this driver
	log    *slog.Logger

	topics topicCache
	pub    publisher
	ladder ladder
	groups groups

	mu     sync.Mutex
	closed bool
}

var (
	_ driver.Driver = (*Driver)(nil)
	_ driver.Pinger = (*Driver)(nil)
	_ driver.Native = (*Driver)(nil)
)

// New makes a driver for the cluster of a client of the caller, who closes it
// after the driver. The driver makes clients of its own, one to publish and one
// for each group, with that client's options (brokers, login, TLS, dialer, hooks,
// logger) and what the driver itself needs on top: acks of all replicas,
// idempotence, partitions by key as the Java client places them. The client must
// be no member of a group, consume no topics and have no transactional id.
//
// Nil options are the defaults; wrong ones are the error of every call.
func New(client *kgo.Client, o *Options) *Driver {
	var options Options
	if o != nil {
		options = *o
	}
	d := newDriver(options.withDefaults())
	d.given = client
	if d.err == nil {
		d.err = refuse(client)
	}
	if d.err == nil {
		d.err = d.connect(append(slices.Clone(client.Opts()), kgo.MetadataMinAge(freshMetadata)))
	}
	return d
}

// refuse is the error of a client whose options would make ours consume, or
// publish within transactions.
func refuse(client *kgo.Client) error {
	set := func(option any) bool {
		switch v := client.OptValue(option).(type) {
		case string:
			return v != ""
		case *string:
			return v != nil
		case []string:
			return len(v) > 0
		}
		return false
	}
	switch {
	case set(kgo.ConsumerGroup), set(kgo.ShareGroup):
		return errors.New("the client is a member of a group: pass one that only publishes")
	case set(kgo.ConsumeTopics):
		return errors.New("the client consumes topics: pass one that only publishes")
	case set(kgo.TransactionalID):
		return errors.New("the client has a transactional id: pass one without")
	}
	return nil
}

// Open connects and makes a driver that owns its connections. It tries for
// Options.ConnectTimeout; afterwards, connections are tried again for ever. A
// wrong password or certificate is an error at once.
func Open(ctx context.Context, o Options) (*Driver, error) {
	d := newDriver(o.withDefaults())
	if d.err != nil {
		return nil, d.usable()
	}
	where := strings.Join(d.o.Brokers, ",")
	opts, err := d.o.connection()
	if err == nil {
		err = d.connect(opts)
	}
	if err != nil {
		return nil, fmt.Errorf("client for Kafka at %s: %w", where, err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, d.o.ConnectTimeout.Std(),
		fmt.Errorf("no answer within connect_timeout %v", d.o.ConnectTimeout))
	defer cancel()
	if err := d.await(ctx); err != nil {
		d.client.Close()
		return nil, fmt.Errorf("connect to Kafka at %s: %w", where, err)
	}
	return d, nil
}

func newDriver(o Options) *Driver {
	d := &Driver{o: o, err: o.validate(), log: o.Logger}
	d.pub.init(o)
	d.ladder.init(d)
	return d
}

func (d *Driver) connect(shared []kgo.Opt) error {
	d.shared = shared
	client, err := kgo.NewClient(append(d.clientOptions(), d.producerOptions()...)...)
	if err != nil {
		return err
	}
	d.client, d.adm = client, kadm.NewClient(client)
	return nil
}

// clientOptions are those of every client of this driver: who groups or reads
// appends its own.
func (d *Driver) clientOptions() []kgo.Opt { return slices.Clone(d.shared) }

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

// Capabilities says what Kafka does natively, and the driver by its ladder.
func (d *Driver) Capabilities() driver.Capabilities { return Capabilities(d.o) }

// Native is the *kgo.Client that [New] was given, else the one that publishes.
func (d *Driver) Native() any {
	if d.given != nil {
		return d.given
	}
	return d.client
}

// Ping asks a broker for metadata.
func (d *Driver) Ping(ctx context.Context) error {
	if err := d.usable(); err != nil {
		return err
	}
	return wrap(d.client.Ping(ctx))
}

// Close stops forwarding delayed messages, which other processes of the system
// take over, and frees the driver's clients. What is being published fails.
func (d *Driver) Close(context.Context) error {
	d.mu.Lock()
	again := d.closed
	d.closed = true
	d.mu.Unlock()
	if again || d.client == nil {
		return nil
	}
	d.ladder.close()
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
