package watermillkafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"

	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/watermillbridge"
)

// Driver is a bridge to watermill-kafka. It may be used by many goroutines at
// once. [Open] makes one.
type Driver struct {
	*watermillbridge.Driver

	client sarama.Client
	admin  sarama.ClusterAdmin
	o      Options
	log    watermill.LoggerAdapter

	topics  sync.Map // of those that are known to exist
	specs   sync.Map // as they were asked for, for those that somebody deletes
	closing sync.Once
	freed   chan struct{}
}

var (
	_ driver.Driver = (*Driver)(nil)
	_ driver.Pinger = (*Driver)(nil)
	_ driver.Admin  = (*Driver)(nil)
)

// Capabilities of a driver with these options.
func Capabilities(o Options) driver.Capabilities { return o.withDefaults().bridge().Capabilities() }

func (o Options) bridge() *watermillbridge.Options {
	return &watermillbridge.Options{
		Durable: true, StartTime: true, OwnsShards: true,
		InFlight: o.InFlight, MaxBody: int(o.MaxBody),
		Headers:  driver.HeaderStyle{Prefix: prefix, ContentType: contentType},
		Verbatim: true, Wrap: wrap, OwnsPublisher: true, Logger: o.Logger,
	}
}

// Open connects, trying for Options.ConnectTimeout; afterwards connections are
// tried again for ever.
func Open(ctx context.Context, o Options) (*Driver, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("options of a watermill-kafka transport: %w", err)
	}
	d := &Driver{o: o.withDefaults(), freed: make(chan struct{})}
	d.log = watermillbridge.Logger(d.o.Logger)
	if err := d.connect(ctx); err != nil {
		return nil, fmt.Errorf("connect to Kafka at %v: %w", d.o.Brokers, wrap(err))
	}
	c, err := d.o.producer()
	if err == nil {
		var pub *kafka.Publisher
		pub, err = kafka.NewPublisher(kafka.PublisherConfig{Brokers: d.o.Brokers, Marshaler: codec{}, OverwriteSaramaConfig: c}, d.log)
		d.Driver = watermillbridge.NewDriver(pub, d.members, d.o.bridge())
	}
	if err != nil {
		_ = d.admin.Close()
		return nil, fmt.Errorf("publisher for Kafka at %v: %w", d.o.Brokers, wrap(err))
	}
	return d, nil
}

// connect makes the client that creates topics and looks at groups.
func (d *Driver) connect(ctx context.Context) error {
	c, err := d.o.base()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, d.o.ConnectTimeout.Std(),
		fmt.Errorf("no answer within connect_timeout %v", d.o.ConnectTimeout))
	defer cancel()
	const between = 100 * time.Millisecond
	for {
		if d.client, err = sarama.NewClient(d.o.Brokers, c); err == nil {
			if d.admin, err = sarama.NewClusterAdminFromClient(d.client); err == nil {
				return nil
			}
			_ = d.client.Close()
			return err
		}
		if errors.Is(err, sarama.ErrSASLAuthenticationFailed) {
			return err
		}
		timer := time.NewTimer(between)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
}

// Publish creates the topic where it is missing, unless Options.Require is set.
func (d *Driver) Publish(ctx context.Context, topic string, msgs []*driver.Message) error {
	if err := d.know(ctx, topic); err != nil && len(msgs) > 0 {
		return fmt.Errorf("publish to %q: %w", topic, err)
	}
	err := d.Driver.Publish(ctx, topic, msgs)
	if errors.Is(err, driver.ErrNotFound) {
		d.topics.Delete(topic)
	}
	return err
}

// Subscribe creates the topic where it is missing, unless Options.Require is set.
func (d *Driver) Subscribe(ctx context.Context, sub driver.Subscription) (driver.Source, error) {
	if err := d.know(ctx, sub.Topic); err != nil {
		return nil, fmt.Errorf("subscribe to %q as group %q: %w", sub.Topic, sub.Group, err)
	}
	return d.Driver.Subscribe(ctx, sub)
}

// Ping asks a broker for what it knows about the cluster.
func (d *Driver) Ping(ctx context.Context) error {
	if d.isClosed() {
		return fmt.Errorf("driver: %w", driver.ErrClosed)
	}
	return within(ctx, func() error {
		_, _, err := d.admin.DescribeCluster()
		return wrap(err)
	})
}

// Close closes the publisher and the clients.
func (d *Driver) Close(ctx context.Context) error {
	err := d.Driver.Close(ctx)
	d.closing.Do(func() {
		go func() { // a client waits for what is on its way
			defer close(d.freed)
			_ = d.admin.Close()
		}()
	})
	select {
	case <-d.freed:
		return err
	case <-ctx.Done():
		return errors.Join(err, ctx.Err())
	}
}

func (d *Driver) isClosed() bool {
	select {
	case <-d.freed:
		return true
	default:
		return false
	}
}

// within runs a call that watches no context, and stops waiting for it when ctx
// ends.
func within(ctx context.Context, call func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- call() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
