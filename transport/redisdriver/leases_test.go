package redisdriver

import (
	"context"
	"testing"
	"time"

	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/transport/driver"
)

// TestLeaseIsItsHolders has members whose leases differ, as while a new
// configuration is rolled out: what a member may hold for long nobody takes
// sooner, and what it may hold for a short time only, nobody waits longer for.
func TestLeaseIsItsHolders(t *testing.T) {
	t.Parallel()
	d, topic := shared(t), unique(t)
	dying, line := open(t, brokertest.SharedRedis(t).URL, nil)
	publish(t, d, topic, "patient")
	patient := subscribe(t, d, sub(topic))
	held := take(t, patient, 1)
	publish(t, d, topic, "dead's")
	take(t, subscribe(t, dying, leased(topic)), 1)
	line.cut(true)

	hasty := leased(topic)
	hasty.Lease = 100 * time.Millisecond
	src := subscribe(t, d, hasty)
	got := take(t, src, 1)
	want(t, got, "dead's")
	settle(t, src, driver.Ack, got...)
	short, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if _, err := patient.Receive(short, 1); err == nil {
		t.Error("a message came to a member that had none to get")
	}
	if lost, err := patient.Extend(t.Context(), []driver.Token{held[0].Token}); err != nil || len(lost) > 0 {
		t.Errorf("Extend: lost %d, error %v; a member with a short lease took it", len(lost), err)
	}
}

// TestLongLeaseTakesOverSoon does not wait for a lease that the dead one had not.
func TestLongLeaseTakesOverSoon(t *testing.T) {
	t.Parallel()
	d, topic := shared(t), unique(t)
	dying, line := open(t, brokertest.SharedRedis(t).URL, nil)
	publish(t, d, topic, "1")
	take(t, subscribe(t, dying, leased(topic)), 1)
	line.cut(true)
	want(t, take(t, subscribe(t, d, sub(topic)), 1), "1")
}
