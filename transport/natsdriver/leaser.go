package natsdriver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/anywire/anywire/transport/driver"
)

// Acquire writes the record of the lease if there is none, or one that has
// ended. The epoch is the revision of that, which rises over the bucket.
func (d *Driver) Acquire(ctx context.Context, scope, name, holder string, ttl time.Duration) (driver.Lease, error) {
	l, err := d.acquire(ctx, driver.Lease{Scope: scope, Name: name, Holder: holder, TTL: ttl})
	if err != nil {
		return driver.Lease{}, fmt.Errorf("acquire lease %q of %q: %w", name, scope, wrap(err))
	}
	return l, nil
}

func (d *Driver) acquire(ctx context.Context, l driver.Lease) (driver.Lease, error) {
	if l.TTL <= 0 {
		return l, fmt.Errorf("time to live %v: it must be positive", l.TTL)
	}
	kv, err := d.bucket(ctx)
	if err != nil {
		return l, err
	}
	start := time.Now()
	record := leaseRecord{Holder: l.Holder, TTL: l.TTL}.encode()
	revision, err := kv.Create(ctx, leaseKey(l.Scope, l.Name), record)
	if errors.Is(err, jetstream.ErrKeyExists) {
		var held *leaseEntry
		var now time.Time
		if held, now, err = d.lookUp(ctx, kv, l.Scope, l.Name); err != nil {
			return l, raced(err)
		}
		if held.lease.Holder == l.Holder && !held.ended(now) {
			l.Epoch = held.lease.Epoch
			return l, d.reacquire(ctx, kv, l, held.revision, start)
		}
		if !held.ended(now) {
			return l, fmt.Errorf("%q has it: %w", held.lease.Holder, driver.ErrHeld)
		}
		revision, err = kv.Update(ctx, leaseKey(l.Scope, l.Name), record, held.revision)
	}
	if err != nil {
		return l, raced(err)
	}
	l.Epoch = revision
	d.leases.keep(l, revision, start)
	return l, nil
}

func (d *Driver) reacquire(ctx context.Context, kv jetstream.KeyValue, l driver.Lease, revision uint64, start time.Time) error {
	record := leaseRecord{Holder: l.Holder, TTL: l.TTL, Epoch: l.Epoch}.encode()
	next, err := kv.Update(ctx, leaseKey(l.Scope, l.Name), record, revision)
	if err != nil {
		return raced(err)
	}
	d.leases.keep(l, next, start)
	return nil
}

// raced says held where somebody else wrote in between.
func raced(err error) error {
	if isWrongRevision(err) || errors.Is(err, jetstream.ErrKeyNotFound) {
		return fmt.Errorf("somebody else wrote it at the same moment: %w", driver.ErrHeld)
	}
	return err
}

// Renew writes each record again, with the revision that we know. What ended by
// our own clock is lost without asking. An answer that got lost is settled by
// reading: the epoch tells whose the record is.
func (d *Driver) Renew(ctx context.Context, leases []driver.Lease) (lost []driver.Lease, err error) {
	kv, err := d.bucket(ctx)
	if err != nil {
		return nil, err
	}
	for _, l := range leases {
		held, err := d.renew(ctx, kv, l)
		if err != nil {
			return nil, fmt.Errorf("renew lease %q of %q: %w", l.Name, l.Scope, wrap(err))
		}
		if !held {
			d.leases.drop(l)
			lost = append(lost, l)
		}
	}
	return lost, nil
}

func (d *Driver) renew(ctx context.Context, kv jetstream.KeyValue, l driver.Lease) (held bool, err error) {
	have, known := d.leases.find(l)
	if known && time.Now().After(have.until) {
		return false, nil
	}
	record := leaseRecord{Holder: l.Holder, TTL: l.TTL, Epoch: l.Epoch}.encode()
	for range 3 {
		if have.revision == 0 {
			entry, now, err := d.lookUp(ctx, kv, l.Scope, l.Name)
			if errors.Is(err, jetstream.ErrKeyNotFound) || err == nil && (entry.lease != l || entry.ended(now)) {
				return false, nil
			}
			if err != nil {
				return false, err
			}
			have.revision = entry.revision
		}
		start := time.Now()
		next, err := kv.Update(ctx, leaseKey(l.Scope, l.Name), record, have.revision)
		if err == nil {
			d.leases.keep(l, next, start)
			return true, nil
		}
		if !isWrongRevision(err) {
			d.leases.unsure(l) // perhaps it was written: look before the next try
			return false, err
		}
		have.revision = 0
	}
	return false, nil
}

func isWrongRevision(err error) bool {
	return errors.Is(err, jetstream.ErrKeyExists) || apiCode(err) == int(jetstream.JSErrCodeStreamWrongLastSequence)
}

// Release deletes the record if it is still ours.
func (d *Driver) Release(ctx context.Context, l driver.Lease) error {
	kv, err := d.bucket(ctx)
	if err != nil {
		return err
	}
	d.leases.drop(l)
	entry, _, err := d.lookUp(ctx, kv, l.Scope, l.Name)
	if errors.Is(err, jetstream.ErrKeyNotFound) || err == nil && entry.lease != l {
		return nil
	}
	if err == nil {
		err = kv.Delete(ctx, leaseKey(l.Scope, l.Name), jetstream.LastRevision(entry.revision))
	}
	if err != nil && !isWrongRevision(err) {
		return fmt.Errorf("release lease %q of %q: %w", l.Name, l.Scope, wrap(err))
	}
	return nil
}

// Leases reads the records of scope and leaves out what has ended.
func (d *Driver) Leases(ctx context.Context, scope string) ([]driver.Lease, error) {
	kv, err := d.bucket(ctx)
	if err != nil {
		return nil, err
	}
	entries, err := readLeases(ctx, kv, keyToken(scope)+".*", scope)
	if err != nil {
		return nil, fmt.Errorf("list leases of %q: %w", scope, wrap(err))
	}
	if len(entries) == 0 {
		return nil, nil
	}
	now, err := d.serverTime(ctx)
	if err != nil {
		return nil, fmt.Errorf("list leases of %q: %w", scope, wrap(err))
	}
	var leases []driver.Lease
	for _, e := range entries {
		if !e.ended(now) {
			leases = append(leases, e.lease)
		}
	}
	return leases, nil
}
