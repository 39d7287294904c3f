package redisdriver

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/anywire/anywire/transport/driver"
)

// A scope's leases are one hash: a field for each name, which tells epoch, time to
// live and end in milliseconds by the server's clock, and holder; and the last
// epoch. Epochs are the server's time in microseconds, or one more than the last:
// they rise even after the hash was deleted.
//
//nolint:gochecknoglobals // constants
var (
	acquireScript = embedded("lease", "acquire")

	// renewScript takes name, epoch, ttl and holder of each.
	renewScript = embedded("lease", "renew")

	releaseScript = embedded("lease", "release")

	// leasesScript also removes what has ended.
	leasesScript = embedded("lease", "leases")
)

var _ driver.Leaser = (*Driver)(nil)

func leaseKeys(scope string) []string { return []string{companion(scope, "leases")} }

// Acquire writes the lease if nobody has it. The server's clock decides.
func (d *Driver) Acquire(ctx context.Context, scope, name, holder string, ttl time.Duration) (driver.Lease, error) {
	l := driver.Lease{Scope: scope, Name: name, Holder: holder, TTL: ttl}
	if err := d.acquire(ctx, &l); err != nil {
		return driver.Lease{}, fmt.Errorf("acquire lease %q of %q: %w", name, scope, err)
	}
	return l, nil
}

func (d *Driver) acquire(ctx context.Context, l *driver.Lease) error {
	if err := d.usable(); err != nil {
		return err
	}
	if l.TTL < time.Millisecond {
		return fmt.Errorf("time to live %v: use at least 1ms", l.TTL)
	}
	reply, err := d.eval(ctx, acquireScript, leaseKeys(l.Scope), l.Name, l.Holder, l.TTL.Milliseconds()).Slice()
	if err != nil {
		return wrap(err)
	}
	if len(reply) != 2 {
		return errReply
	}
	text, _ := reply[1].(string)
	if reply[0] != int64(1) {
		return fmt.Errorf("%q has it: %w", text, driver.ErrHeld)
	}
	if l.Epoch, err = strconv.ParseUint(text, 10, 64); err != nil {
		return errReply
	}
	return nil
}

// Renew extends the leases of each scope by one script.
func (d *Driver) Renew(ctx context.Context, leases []driver.Lease) (lost []driver.Lease, err error) {
	if err := d.usable(); err != nil {
		return nil, err
	}
	scopes := map[string][]driver.Lease{}
	for _, l := range leases {
		scopes[l.Scope] = append(scopes[l.Scope], l)
	}
	for scope, list := range scopes {
		args := make([]any, 0, 4*len(list))
		for _, l := range list {
			args = append(args, l.Name, strconv.FormatUint(l.Epoch, 10), l.TTL.Milliseconds(), l.Holder)
		}
		held, err := states(d.eval(ctx, renewScript, leaseKeys(scope), args...), len(list))
		if err != nil {
			return nil, fmt.Errorf("renew leases of %q: %w", scope, wrap(err))
		}
		for i, l := range list {
			if held[i] == 0 {
				lost = append(lost, l)
			}
		}
	}
	return lost, nil
}

// Release deletes the lease if it is still held under the same epoch.
func (d *Driver) Release(ctx context.Context, l driver.Lease) error {
	if err := d.usable(); err != nil {
		return err
	}
	err := d.eval(ctx, releaseScript, leaseKeys(l.Scope), l.Name, strconv.FormatUint(l.Epoch, 10), l.Holder).Err()
	if err != nil {
		return fmt.Errorf("release lease %q of %q: %w", l.Name, l.Scope, wrap(err))
	}
	return nil
}

// Leases lists what is held by the server's clock.
func (d *Driver) Leases(ctx context.Context, scope string) ([]driver.Lease, error) {
	if err := d.usable(); err != nil {
		return nil, err
	}
	texts, err := d.eval(ctx, leasesScript, leaseKeys(scope)).StringSlice()
	if err == nil && len(texts)%4 != 0 {
		err = errReply
	}
	if err != nil {
		return nil, fmt.Errorf("list leases of %q: %w", scope, wrap(err))
	}
	var leases []driver.Lease
	for ; len(texts) > 0; texts = texts[4:] {
		epoch, err1 := strconv.ParseUint(texts[1], 10, 64)
		ttl, err2 := strconv.ParseInt(texts[2], 10, 64)
		if err := errors.Join(err1, err2); err != nil {
			return nil, fmt.Errorf("lease %q of %q: %w", strings.ToValidUTF8(texts[0], "?"), scope, err)
		}
		leases = append(leases, driver.Lease{
			Scope: scope, Name: texts[0], Holder: texts[3], Epoch: epoch, TTL: time.Duration(ttl) * time.Millisecond,
		})
	}
	return leases, nil
}
