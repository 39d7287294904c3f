package drivertest_test

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/anywire/anywire/transport/driver"
)

type leaseKey struct{ scope, name string }

type heldLease struct {
	driver.Lease

	until time.Time
}

func (c *conn) keyOf(scope, name string) leaseKey {
	if c.breaks("leaser/odd-names") {
		name = strings.NewReplacer("/", ".", " ", "_").Replace(name)
	}
	return leaseKey{scope, name}
}

func (c *conn) Acquire(_ context.Context, scope, name, holder string, ttl time.Duration) (driver.Lease, error) {
	if c.breaks("leaser/one-winner") && c.collides() {
		return driver.Lease{Scope: scope, Name: name, Holder: holder, Epoch: 1, TTL: ttl}, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	key := c.keyOf(scope, name)
	h := c.leases[key]
	switch {
	case h == nil || !h.held(c.broker):
		c.next()
	case h.Holder != holder && c.breaks("leaser/held"):
	case h.Holder != holder, c.breaks("leaser/own-again"):
		return driver.Lease{}, fmt.Errorf("lease %s of %s: %w", name, h.Holder, driver.ErrHeld)
	default:
	}
	l := driver.Lease{Scope: scope, Name: key.name, Holder: holder, Epoch: c.epoch, TTL: ttl}
	c.leases[key] = &heldLease{l, time.Now().Add(ttl)}
	if c.breaks("leaser/acquire") {
		l.Holder = ""
	}
	return l, nil
}

func (c *conn) next() {
	if !c.breaks("leaser/epoch-rises") || c.epoch == 0 {
		c.epoch++
	}
}

func (h *heldLease) held(b *broker) bool {
	return time.Now().Before(h.until) || b.breaks("leaser/expires")
}

func (c *conn) Renew(_ context.Context, leases []driver.Lease) (lost []driver.Lease, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range leases {
		if !c.renew(l) {
			lost = append(lost, l)
		}
	}
	return lost, nil
}

func (c *conn) renew(l driver.Lease) bool {
	h := c.leases[c.keyOf(l.Scope, l.Name)]
	switch {
	case c.breaks("leaser/renewed"), c.breaks("leaser/renew-tells-the-lost"):
		return true
	case c.breaks("leaser/renew-takes-nothing-back"):
		h.Lease = l
	case h == nil || !h.held(c.broker) || h.Epoch != l.Epoch:
		return false
	}
	h.until = time.Now().Add(l.TTL)
	return true
}

func (c *conn) Release(_ context.Context, l driver.Lease) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := c.keyOf(l.Scope, l.Name)
	h := c.leases[key]
	if c.breaks("leaser/release") || h == nil || h.Epoch != l.Epoch && !c.breaks("leaser/release-of-an-old-epoch") {
		return nil
	}
	delete(c.leases, key)
	return nil
}

func (c *conn) Leases(_ context.Context, scope string) ([]driver.Lease, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []driver.Lease
	for key, h := range c.leases {
		inScope := key.scope == scope || c.breaks("leaser/list")
		if inScope && (h.held(c.broker) || c.breaks("leaser/list-drops-expired")) {
			all = append(all, h.Lease)
		}
	}
	return all, nil
}
