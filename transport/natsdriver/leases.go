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
