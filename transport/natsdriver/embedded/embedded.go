package embedded

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/natsdriver"
)

// Driver is a natsdriver on a server of its own.
type Driver struct {
	*natsdriver.Driver

	host *host
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

// Open locks the folder, starts the server and connects to it, within the
// process. Recovering a large folder takes a while; ctx bounds that. A folder
// that has an owner already, cannot be made or cannot be written is an error that
// names it.
func Open(ctx context.Context, o Options) (*Driver, error) {
	o = o.withDefaults()
	p, err := o.plan()
	if err != nil {
		return nil, fmt.Errorf("options of an embedded transport: %w", err)
	}
	lock, err := lockFolder(o.Dir, o.Listen)
	if err != nil {
		return nil, err
	}
	d, err := start(ctx, o, p, lock)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("embedded NATS in %s: %w", o.Dir, err), lock.release(lock.crashed))
	}
	return d, nil
}

func start(ctx context.Context, o Options, p plan, lock *folderLock) (*Driver, error) {
	h, err := newHost(ctx, o, p, lock)
	if err != nil {
		return nil, err
	}
	client := o.client()
	client.Connect = []nats.Option{nats.InProcessServer(h), nats.ReconnectWait(50 * time.Millisecond)}
	inner, err := natsdriver.Open(ctx, client)
	if err != nil {
		h.close()
		return nil, err
	}
	if lock.crashed && !lock.shared {
		if err := inner.Reclaim(ctx); err != nil {
			h.close()
			return nil, errors.Join(err, inner.Close(ctx))
		}
	}
	return &Driver{Driver: inner, host: h}, nil
}

// Publish is that of natsdriver, and says so when the folder cannot be written.
func (d *Driver) Publish(ctx context.Context, topic string, msgs []*driver.Message) error {
	if err := d.host.trouble(); err != nil && len(msgs) > 0 {
		return err
	}
	return d.because(d.Driver.Publish(ctx, topic, msgs))
}

// Subscribe is that of natsdriver, and says so when the folder cannot be written.
func (d *Driver) Subscribe(ctx context.Context, sub driver.Subscription) (driver.Source, error) {
	s, err := d.Driver.Subscribe(ctx, sub)
	return s, d.because(err)
}

// Ping fails while the folder cannot be written.
func (d *Driver) Ping(ctx context.Context) error {
	if err := d.host.trouble(); err != nil {
		return err
	}
	return d.Driver.Ping(ctx)
}

// because adds the trouble with the folder to an error that comes from it.
func (d *Driver) because(err error) error {
	if trouble := d.host.trouble(); err != nil && trouble != nil {
		return fmt.Errorf("%w: %w", trouble, err)
	}
	return err
}

// Close closes the connection, stops the server, which writes down what it
// knows, and unlocks the folder.
func (d *Driver) Close(ctx context.Context) error {
	err := d.Driver.Close(ctx)
	d.host.close()
	return errors.Join(err, d.host.lock.release(d.GaveBack()))
}
