package redisdriver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/anywire/anywire/transport/driver"
)

// closeGrace is how long [Driver.Close] waits for confirmations.
const closeGrace = 2 * time.Second

// Driver carries topics on one Redis. It may be used by many goroutines at once.
type Driver struct {
	client redis.UniversalClient
	o      Options
	log    *slog.Logger
	owned  bool
	err    error                  // of the options or the client: every call returns it
	server atomic.Pointer[server] // as it was at the start; nil: not asked
	topics topicCache
	pub    publisher

	mu      sync.Mutex
	closed  bool
	names   map[consumer]bool     // stable ones, in use
	readers redis.UniversalClient // second client, made on first use
}

var (
	_ driver.Driver  = (*Driver)(nil)
	_ driver.Admin   = (*Driver)(nil)
	_ driver.Browser = (*Driver)(nil)
	_ driver.Lagger  = (*Driver)(nil)
	_ driver.Pinger  = (*Driver)(nil)
	_ driver.Native  = (*Driver)(nil)
)

// New makes a driver on a client of the caller, who closes it after the driver:
// a *redis.Client, also one of NewFailoverClient, or a *redis.ClusterClient. A
// second client with the same options and connections of its own is opened for
// reads that block, and closed with the driver. Nil options are the defaults;
// wrong ones are the error of every call.
func New(client redis.UniversalClient, o *Options) *Driver {
	var options Options
	if o != nil {
		options = *o
	}
	return newDriver(client, options.withDefaults(), false)
}

func newDriver(client redis.UniversalClient, o Options, owned bool) *Driver {
	d := &Driver{client: client, o: o, log: o.Logger, owned: owned}
	d.err = errors.Join(o.validate(), cloneable(client))
	if d.err == nil {
		d.pub.init(client, o)
	}
	return d
}

// Open connects and makes a driver that owns the connections. It tries for
// Options.ConnectTimeout, as a server may be starting; what waiting does not cure
// is returned at once. Afterwards, connections are tried again for ever.
func Open(ctx context.Context, o Options) (*Driver, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("options of a Redis transport: %w", err)
	}
	client, err := o.connection().NewClient()
	if err != nil {
		return nil, fmt.Errorf("options of a Redis transport: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.ConnectTimeout.Std(),
		fmt.Errorf("no answer within connect_timeout %v", o.ConnectTimeout))
	defer cancel()
	d := newDriver(client, o, true)
	if err := d.probe(ctx); err != nil {
		_ = client.Close()
		return nil, fmt.Errorf("connect to Redis at %s: %w", o.connection().Place(), err)
	}
	return d, nil
}

// Capabilities is what every driver of these options can do; [Driver] answers
// the same.
func Capabilities(o Options) driver.Capabilities {
	return driver.Capabilities{
		Durable:        true,
		Order:          true,
		OrderedPublish: true,
		DelayedNack:    true,
		Counts:         true,
		Browse:         true,
		Lag:            true,
		StartTime:      true,
		MaxBody:        int(o.withDefaults().MaxBody),
		Headers:        driver.HeaderStyle{Prefix: attributePrefix, ContentType: contentType, Fields: true},
	}
}

// Capabilities says what Redis Streams do.
func (d *Driver) Capabilities() driver.Capabilities { return Capabilities(d.o) }

// Native is the client, a redis.UniversalClient.
func (d *Driver) Native() any { return d.client }

// reader is the client for commands that block, for blockFor at most: a second
// one, with connections of its own, shared by all sources. Closing the driver
// closes it. Call usable first.
func (d *Driver) reader() redis.UniversalClient {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.readers == nil {
		d.readers, _ = cloneClient(d.client) // newDriver made sure of the type
		if d.closed {
			_ = d.readers.Close() // its commands say so
		}
	}
	return d.readers
}

// Ping asks the server for an answer.
func (d *Driver) Ping(ctx context.Context) error {
	if err := d.usable(); err != nil {
		return err
	}
	return wrap(d.client.Ping(ctx).Err())
}

// Close frees the driver's connections, and those of the client if [Open] made
// it. Messages that are under way get closeGrace to be confirmed.
func (d *Driver) Close(ctx context.Context) error {
	d.mu.Lock()
	again, readers := d.closed, d.readers
	d.closed = true
	d.mu.Unlock()
	if again || d.err != nil {
		return nil
	}
	grace, cancel := context.WithTimeout(ctx, closeGrace)
	defer cancel()
	d.pub.close(grace)
	var err error
	if d.owned {
		err = d.client.Close() // which ends what is still under way
	}
	if readers != nil {
		err = errors.Join(err, readers.Close())
	}
	d.pub.close(ctx)
	return err
}

// usable is the error of a driver that can do nothing.
func (d *Driver) usable() error {
	if d.err != nil {
		return fmt.Errorf("options of a Redis transport: %w", d.err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return errClosed()
	}
	return nil
}
