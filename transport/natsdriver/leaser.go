package natsdriver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/anywire/anywire/transport/driver"
)

const (
	// leaseBucket holds the leases of every system on the account; their scopes
	// tell them apart.
	leaseBucket = "anywire-leases"
	// leaseLitter is when keys that nobody renews are dropped, at the earliest.
	leaseLitter = 30 * 24 * time.Hour
)

// leaseStore knows the bucket, and what this process holds.
type leaseStore struct {
	mu   sync.Mutex
	kv   jetstream.KeyValue
	held map[driver.Lease]heldLease
}

type heldLease struct {
	revision uint64
	until    time.Time // by our own clock: we hold it no longer than that
}

// leaseRecord is what a key holds. A lease ends its time to live after the
// record was written, both by the server's clock: a time to live of the key itself
// would be forgotten by its first update, and one of the bucket would be the same
// for all. Epoch is the revision of the acquisition; zero while that is the last.
type leaseRecord struct {
	Holder string        `json:"holder"`
	TTL    time.Duration `json:"ttl"`
	Epoch  uint64        `json:"epoch,omitempty"`
}

// leaseEntry is a lease as it is on the server.
type leaseEntry struct {
	lease    driver.Lease
	revision uint64
	written  time.Time
}

func (e *leaseEntry) ended(now time.Time) bool { return now.Sub(e.written) >= e.lease.TTL }

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

func readLeases(ctx context.Context, kv jetstream.KeyValue, keys, scope string) ([]*leaseEntry, error) {
	watch, err := kv.Watch(ctx, keys, jetstream.IgnoreDeletes())
	if err != nil {
		return nil, err
	}
	defer func() { _ = watch.Stop() }()
	var entries []*leaseEntry
	for {
		select {
		case entry, open := <-watch.Updates():
			if entry == nil || !open {
				return entries, nil // the end of what is there
			}
			if e, err := leaseOf(entry, scope); err == nil {
				entries = append(entries, e)
			}
		case <-ctx.Done():
			return nil, ended(ctx)
		}
	}
}

// lookUp reads a record, and the server's time.
func (d *Driver) lookUp(ctx context.Context, kv jetstream.KeyValue, scope, name string) (*leaseEntry, time.Time, error) {
	entry, err := kv.Get(ctx, leaseKey(scope, name))
	if err != nil {
		return nil, time.Time{}, err
	}
	e, err := leaseOf(entry, scope)
	if err != nil {
		return nil, time.Time{}, err
	}
	now, err := d.serverTime(ctx)
	return e, now, err
}

// serverTime is the clock of the server that leads the bucket.
func (d *Driver) serverTime(ctx context.Context) (time.Time, error) {
	stream, err := d.js.Stream(ctx, "KV_"+leaseBucket)
	if err != nil {
		return time.Time{}, err
	}
	now := stream.CachedInfo().TimeStamp
	if now.IsZero() {
		return now, errors.New("the server does not tell its time: leases need nats-server 2.10 or later")
	}
	return now, nil
}

func (r leaseRecord) encode() []byte {
	b, _ := json.Marshal(r) //nolint:errchkjson // two texts and a number
	return b
}

func leaseOf(entry jetstream.KeyValueEntry, scope string) (*leaseEntry, error) {
	var r leaseRecord
	if err := json.Unmarshal(entry.Value(), &r); err != nil {
		return nil, fmt.Errorf("record %q: %w", entry.Key(), err)
	}
	_, token, _ := strings.Cut(entry.Key(), ".")
	name, ok := keyTokenOf(token)
	if !ok {
		return nil, fmt.Errorf("record %q is none of ours", entry.Key())
	}
	if r.Epoch == 0 {
		r.Epoch = entry.Revision()
	}
	return &leaseEntry{
		lease:    driver.Lease{Scope: scope, Name: name, Holder: r.Holder, Epoch: r.Epoch, TTL: r.TTL},
		revision: entry.Revision(), written: entry.Created(),
	}, nil
}

// bucket finds or creates the bucket.
func (d *Driver) bucket(ctx context.Context) (jetstream.KeyValue, error) {
	if err := d.ready(ctx); err != nil {
		return nil, err
	}
	d.leases.mu.Lock()
	kv := d.leases.kv
	d.leases.mu.Unlock()
	if kv != nil {
		return kv, nil
	}
	kv, err := d.js.KeyValue(ctx, leaseBucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		kv, err = d.js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket: leaseBucket, Description: "leases of shards, kept by anywire",
			TTL: leaseLitter, History: 1, Storage: d.o.storage(), Replicas: d.o.Replicas,
		})
	}
	if err != nil {
		return nil, fmt.Errorf("bucket %q: %w", leaseBucket, wrap(err))
	}
	d.leases.mu.Lock()
	defer d.leases.mu.Unlock()
	d.leases.kv = kv
	return kv, nil
}

func (s *leaseStore) keep(l driver.Lease, revision uint64, since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held == nil {
		s.held = map[driver.Lease]heldLease{}
	}
	s.held[l] = heldLease{revision, since.Add(l.TTL)}
}

func (s *leaseStore) drop(l driver.Lease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.held, l)
}

// unsure forgets the revision.
func (s *leaseStore) unsure(l driver.Lease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h, ok := s.held[l]; ok {
		h.revision = 0
		s.held[l] = h
	}
}

func (s *leaseStore) find(l driver.Lease) (heldLease, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, ok := s.held[l]
	return h, ok
}
