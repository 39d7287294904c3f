package memory

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/anywire/anywire/transport/driver"
)

// leaseTable is the broker's side of [driver.Leaser]. Leases end by the clock of
// whoever looks.
type leaseTable struct {
	mu    sync.Mutex
	epoch uint64 // the highest that was given
	held  map[leaseName]heldLease
}

type leaseName struct{ scope, name string }

type heldLease struct {
	driver.Lease

	ends time.Time
}

// Acquire implements [driver.Leaser]. Each lease has an epoch of its own, also
// one that its holder acquires again; the former one is lost then.
func (b *Broker) Acquire(ctx context.Context, scope, name, holder string, ttl time.Duration) (driver.Lease, error) {
	if err := b.Ping(ctx); err != nil {
		return driver.Lease{}, err
	}
	if ttl <= 0 {
		return driver.Lease{}, fmt.Errorf("lease %q of %q: a ttl of %v: use a positive one", name, scope, ttl)
	}
	t := &b.leases
	t.mu.Lock()
	defer t.mu.Unlock()
	if h, ok := t.find(leaseName{scope, name}); ok && h.Holder != holder {
		return driver.Lease{}, fmt.Errorf("lease %q of %q: %w: %q", name, scope, driver.ErrHeld, h.Holder)
	}
	t.epoch++
	l := driver.Lease{Scope: scope, Name: name, Holder: holder, Epoch: t.epoch, TTL: ttl}
	if t.held == nil {
		t.held = map[leaseName]heldLease{}
	}
	t.held[leaseName{scope, name}] = heldLease{l, time.Now().Add(ttl)}
	return l, nil
}

// find returns a lease that has not ended; mu is held.
func (t *leaseTable) find(name leaseName) (heldLease, bool) {
	h, ok := t.held[name]
	if ok && !time.Now().Before(h.ends) {
		delete(t.held, name)
		return heldLease{}, false
	}
	return h, ok
}

// Renew implements [driver.Leaser]. A lease that has ended is lost, though nobody
// has taken it.
func (b *Broker) Renew(ctx context.Context, leases []driver.Lease) (lost []driver.Lease, err error) {
	if err := b.Ping(ctx); err != nil {
		return nil, err
	}
	t := &b.leases
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range leases {
		name := leaseName{l.Scope, l.Name}
		h, ok := t.find(name)
		if !ok || h.Lease != l {
			lost = append(lost, l)
			continue
		}
		h.ends = time.Now().Add(l.TTL)
		t.held[name] = h
	}
	return lost, nil
}

// Release implements [driver.Leaser]. One that is lost is no error.
func (b *Broker) Release(ctx context.Context, l driver.Lease) error {
	if err := b.Ping(ctx); err != nil {
		return err
	}
	t := &b.leases
	t.mu.Lock()
	defer t.mu.Unlock()
	name := leaseName{l.Scope, l.Name}
	if h, ok := t.find(name); ok && h.Epoch == l.Epoch {
		delete(t.held, name)
	}
	return nil
}

// Leases implements [driver.Leaser], in the order of their names.
func (b *Broker) Leases(ctx context.Context, scope string) ([]driver.Lease, error) {
	if err := b.Ping(ctx); err != nil {
		return nil, err
	}
	t := &b.leases
	t.mu.Lock()
	defer t.mu.Unlock()
	var list []driver.Lease
	for name := range t.held {
		if h, ok := t.find(name); ok && name.scope == scope {
			list = append(list, h.Lease)
		}
	}
	slices.SortFunc(list, func(a, b driver.Lease) int { return cmp.Compare(a.Name, b.Name) })
	return list, nil
}
