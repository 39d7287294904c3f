package watermillredis

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/redis/go-redis/v9"

	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/watermillbridge"
)

// Driver is a bridge to watermill-redisstream. It may be used by many goroutines
// at once. [Open] makes one.
type Driver struct {
	*watermillbridge.Driver

	client redis.UniversalClient
	o      Options
	log    watermill.LoggerAdapter
}

var (
	_ driver.Driver = (*Driver)(nil)
	_ driver.Pinger = (*Driver)(nil)
	_ driver.Native = (*Driver)(nil)
)

// Capabilities of a driver with these options.
func Capabilities(o Options) driver.Capabilities { return o.withDefaults().bridge().Capabilities() }

func (o Options) bridge() *watermillbridge.Options {
	return &watermillbridge.Options{
		Durable: true, StartTime: true,
		MaxLease: o.MaxIdle.Std(), Consumers: o.Consumers, MaxBody: int(o.MaxBody),
		Headers:  driver.HeaderStyle{Prefix: "ce_", ContentType: "content-type", Fields: true},
		Verbatim: true, Wrap: wrap, OwnsPublisher: true, Logger: o.Logger,
	}
}

// Open connects, trying for Options.ConnectTimeout; afterwards connections are
// tried again for ever.
func Open(ctx context.Context, o Options) (*Driver, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("options of a watermill-redisstream transport: %w", err)
	}
	o = o.withDefaults()
	options, err := o.client()
	if err != nil {
		return nil, err
	}
	client := redis.NewClient(options)
	if err := reach(ctx, client, o.ConnectTimeout.Std()); err != nil {
		_ = client.Close()
		return nil, fmt.Errorf("connect to Redis at %s: %w", redact(o.URL), err)
	}
	d := &Driver{client: client, o: o, log: watermillbridge.Logger(o.Logger)}
	pub, err := redisstream.NewPublisher(redisstream.PublisherConfig{
		Client: client, Marshaller: codec{}, DefaultMaxlen: o.MaxLen,
	}, d.log)
	if err != nil {
		_ = client.Close()
		return nil, err
	}
	d.Driver = watermillbridge.NewDriver(pub, d.members, o.bridge())
	return d, nil
}

// reach tries until the server answers; what will not change by waiting is
// returned at once.
func reach(ctx context.Context, client redis.UniversalClient, patience time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("no answer within connect_timeout %v", patience))
	defer cancel()
	const between = 100 * time.Millisecond
	for {
		err := wrap(client.Ping(ctx).Err())
		var answer redis.Error
		if err == nil || errors.As(err, &answer) && !errors.Is(err, redis.Nil) {
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

// Ping asks the server.
func (d *Driver) Ping(ctx context.Context) error { return wrap(d.client.Ping(ctx).Err()) }

// Native is the client, a redis.UniversalClient.
func (d *Driver) Native() any { return d.client }
