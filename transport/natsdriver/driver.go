package natsdriver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/anywire/anywire/internal/natsconn"
	"github.com/anywire/anywire/transport/driver"
)

// Driver carries topics on one NATS connection. It may be used by many
// goroutines at once.
type Driver struct {
	nc    *nats.Conn
	js    jetstream.JetStream
	o     Options
	owned bool
	err   error // of the options: every call returns it
	link  *link
	pub   publisher
	late  error // what a publish fails with after publish_timeout
	noPin bool  // as on servers before 2.11

	topics topicCache
	leases leaseStore
	gave   atomic.Bool // back what is to come again at once

	mu     sync.Mutex
	closed bool
}

var (
	_ driver.Driver  = (*Driver)(nil)
	_ driver.Admin   = (*Driver)(nil)
	_ driver.Leaser  = (*Driver)(nil)
	_ driver.Browser = (*Driver)(nil)
	_ driver.Lagger  = (*Driver)(nil)
	_ driver.Pinger  = (*Driver)(nil)
	_ driver.Native  = (*Driver)(nil)
)

// New makes a driver on a connection of the caller, who closes it after the
// driver. The connection should reconnect for ever (nats.MaxReconnects(-1)) and
// buffer nothing meanwhile (nats.ReconnectBufSize(-1)), as connections of [Open]
// do. Nil options are the defaults; wrong ones are the error of every call.
func New(nc *nats.Conn, o *Options) *Driver {
	var options Options
	if o != nil {
		options = *o
	}
	return newDriver(nc, options.withDefaults(), false)
}

func newDriver(nc *nats.Conn, o Options, owned bool) *Driver {
	d := &Driver{nc: nc, o: o, owned: owned, link: newLink(nc)}
	if d.err = o.validate(); d.err == nil {
		d.js, d.err = jetStream(nc, o.Domain)
	}
	d.late = fmt.Errorf("%w: publish_timeout is %v", errNoAnswer, o.PublishTimeout)
	d.pub.init(d)
	return d
}

func jetStream(nc *nats.Conn, domain string) (jetstream.JetStream, error) {
	if domain == "" {
		return jetstream.New(nc)
	}
	return jetstream.NewWithDomain(nc, domain)
}

// Open connects and makes a driver that owns the connection. It tries for
// Options.ConnectTimeout; afterwards, connections are tried again for ever. A
// server without JetStream is an error.
func Open(ctx context.Context, o Options) (*Driver, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("options of a NATS transport: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.ConnectTimeout.Std(),
		fmt.Errorf("no answer within connect_timeout %v", o.ConnectTimeout))
	defer cancel()
	asides := &asides{log: o.Logger}
	how := o.connection()
	how.More = append(slices.Clone(how.More), nats.ErrorHandler(asides.handle))
	nc, err := natsconn.Connect(ctx, how)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS at %s: %w", natsconn.Redact(o.URL), wrap(err))
	}
	d := newDriver(nc, o, true)
	asides.d.Store(d)
	if err := d.probe(ctx); err != nil {
		nc.Close()
		return nil, fmt.Errorf("NATS at %s: %w", natsconn.Redact(o.URL), err)
	}
	return d, nil
}

// asides takes what the server says beside the answer to a call.
type asides struct {
	log *slog.Logger
	d   atomic.Pointer[Driver]
}

func (a *asides) handle(_ *nats.Conn, _ *nats.Subscription, err error) {
	a.log.Warn("NATS client", "error", err)
	if d := a.d.Load(); d != nil {
		d.pub.denied(err)
	}
}

// probe finds out whether JetStream is there and takes messages of max_body.
func (d *Driver) probe(ctx context.Context) error {
	if limit := d.nc.MaxPayload(); limit < int64(d.o.MaxBody) {
		return fmt.Errorf("max_payload of the server is %d bytes, max_body %v: set max_body to %d or less", limit, d.o.MaxBody, limit)
	}
	_, err := d.js.AccountInfo(ctx)
	switch {
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return fmt.Errorf("%w: start nats-server with -js", err)
	case err != nil:
		return fmt.Errorf("ask for JetStream: %w", wrap(err))
	}
	return nil
}

// Capabilities is what every driver of these options can do; [Driver] answers
// the same.
func Capabilities(o Options) driver.Capabilities {
	return driver.Capabilities{
		Durable:     o.withDefaults().Storage == "file",
		Order:       true,
		DelayedNack: true,
		Counts:      true,
		Browse:      true,
		Lag:         true,
		Dedup:       true,
		StartTime:   true,
		MaxBody:     int(o.withDefaults().MaxBody),
		Headers:     driver.HeaderStyle{Prefix: attributePrefix, ContentType: attributePrefix + "datacontenttype", Percent: true},
	}
}

// Capabilities says what JetStream does natively.
func (d *Driver) Capabilities() driver.Capabilities { return Capabilities(d.o) }

// Native is the *nats.Conn.
func (d *Driver) Native() any { return d.nc }

// Ping asks JetStream for the account: it fails while there is no connection.
func (d *Driver) Ping(ctx context.Context) error {
	if err := d.usable(); err != nil {
		return err
	}
	if !d.nc.IsConnected() {
		return errDisconnected
	}
	_, err := d.js.AccountInfo(ctx)
	return wrap(err)
}

// Close frees the driver's subscriptions, and the connection if [Open] made it.
func (d *Driver) Close(context.Context) error {
	d.mu.Lock()
	again := d.closed
	d.closed = true
	d.mu.Unlock()
	if again {
		return nil
	}
	d.pub.close()
	d.link.close()
	if d.owned {
		d.nc.Close()
	}
	return nil
}

// usable is the error of a driver that can do nothing.
func (d *Driver) usable() error {
	if d.err != nil {
		return fmt.Errorf("options of a NATS transport: %w", d.err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return fmt.Errorf("NATS driver: %w", driver.ErrClosed)
	}
	return nil
}

// ready is usable, and waits for a connection until ctx ends.
func (d *Driver) ready(ctx context.Context) error {
	if err := d.usable(); err != nil {
		return err
	}
	return d.link.wait(ctx)
}
