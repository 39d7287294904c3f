package transport_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
)

// leased is a fake whose shards have owners by leases.
type leased struct {
	*fake

	shards int
	table  *leases
}

// leases is what the members of a test share.
type leases struct {
	mu    sync.Mutex
	held  map[string]heldLease
	epoch uint64
	down  error
}

type heldLease struct {
	driver.Lease

	until time.Time
}

func newLeased(table *leases, shards int) *leased {
	f := newFake()
	f.caps.OwnsShards = false
	return &leased{fake: f, shards: shards, table: table}
}

func (l *leased) EnsureTopic(_ context.Context, t driver.Topic) (driver.Topic, error) {
	t.Shards = l.shards
	return t, nil
}

func (l *leased) Topics(context.Context) ([]driver.Topic, error) { return nil, nil }

func (l *leased) Acquire(_ context.Context, scope, name, holder string, ttl time.Duration) (driver.Lease, error) {
	l.table.mu.Lock()
	defer l.table.mu.Unlock()
	has, ok := l.table.held[name]
	if ok && has.Holder != holder && time.Now().Before(has.until) {
		return driver.Lease{}, fmt.Errorf("lease %s: %w", name, driver.ErrHeld)
	}
	l.table.epoch++
	lease := driver.Lease{Scope: scope, Name: name, Holder: holder, Epoch: l.table.epoch, TTL: ttl}
	l.table.held[name] = heldLease{lease, time.Now().Add(ttl)}
	return lease, l.table.down
}

func (l *leased) Renew(_ context.Context, mine []driver.Lease) ([]driver.Lease, error) {
	l.table.mu.Lock()
	defer l.table.mu.Unlock()
	var lost []driver.Lease
	for _, lease := range mine {
		if has := l.table.held[lease.Name]; has.Lease != lease {
			lost = append(lost, lease)
		} else if l.table.down == nil {
			l.table.held[lease.Name] = heldLease{lease, time.Now().Add(lease.TTL)}
		}
	}
	return lost, l.table.down
}

func (l *leased) Release(_ context.Context, lease driver.Lease) error {
	l.table.mu.Lock()
	defer l.table.mu.Unlock()
	if l.table.held[lease.Name].Lease == lease {
		delete(l.table.held, lease.Name)
	}
	return nil
}

func (l *leased) Leases(context.Context, string) ([]driver.Lease, error) {
	l.table.mu.Lock()
	defer l.table.mu.Unlock()
	var all []driver.Lease
	for _, has := range l.table.held {
		if time.Now().Before(has.until) {
			all = append(all, has.Lease)
		}
	}
	return all, l.table.down
}

// member joins a group of four shards.
func member(t *testing.T, table *leases, name string, handle transport.Handler) (*leased, *rig) {
	t.Helper()
	f := newLeased(table, 4)
	wire := transport.New(f, nil)
	r := &rig{t: t, fake: f.fake, wire: wire, result: make(chan error, 1)}
	ctx, stop := context.WithCancel(t.Context())
	r.stop = stop
	o := &transport.SubscribeOptions{Order: transport.OrderKey, Member: name, Lease: 9 * time.Second}
	go func() { r.result <- wire.Subscribe(ctx, "topic", handle, o) }()
	t.Cleanup(func() {
		if !r.ended {
			_ = r.end()
		}
	})
	return f, r
}

func shardsOf(r *rig) string { return fmt.Sprint(r.wire.Health()[0].Shards) }

func newTable() *leases { return &leases{held: map[string]heldLease{}} }

func TestShardsAreSharedEvenlyAndTakenOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		table := newTable()
		_, a := member(t, table, "a", nil)
		pass(time.Second)
		if got := shardsOf(a); got != "[0 1 2 3]" {
			t.Errorf("alone: %s", got)
		}
		_, b := member(t, table, "b", nil)
		pass(10 * time.Second)
		if gotA, gotB := shardsOf(a), shardsOf(b); gotA != "[0 1]" || gotB != "[2 3]" {
			t.Errorf("two members: %s and %s", gotA, gotB)
		}
		_, c := member(t, table, "c", nil)
		pass(20 * time.Second)
		var all []int
		for _, r := range []*rig{a, b, c} {
			if n := len(r.wire.Health()[0].Shards); n < 1 || n > 2 {
				t.Errorf("a member has %d of 4 shards", n)
			}
			all = append(all, r.wire.Health()[0].Shards...)
		}
		slices.Sort(all)
		if fmt.Sprint(all) != "[0 1 2 3]" {
			t.Errorf("owned: %v", all)
		}
		if err := errors.Join(a.end(), b.end()); err != nil {
			t.Error(err)
		}
		pass(10 * time.Second)
		if got := shardsOf(c); got != "[0 1 2 3]" {
			t.Errorf("the last one: %s", got)
		}
	})
}

func TestSurplusIsReleasedAfterItsLanesDrained(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		table := newTable()
		open := make(chan struct{})
		fa, a := member(t, table, "a", func(context.Context, *transport.Delivery) transport.Outcome {
			<-open
			return transport.Done()
		})
		pass(time.Second)
		m := message("1", "k")
		m.Shard = 3
		fa.source(3).push(m)
		_, b := member(t, table, "b", nil)
		pass(10 * time.Second)
		if got := shardsOf(b); got != "[2]" {
			t.Errorf("b has %s while a's handler runs, want [2]", got)
		}
		close(open)
		pass(2 * time.Second)
		if gotA, gotB := shardsOf(a), shardsOf(b); gotA != "[0 1]" || gotB != "[2 3]" {
			t.Errorf("two members: %s and %s", gotA, gotB)
		}
		wantOutcomes(t, fa.source(3), "1:ack")
	})
}

func TestALostShardCancelsItsHandlers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		table := newTable()
		var cause error
		fa, a := member(t, table, "a", func(ctx context.Context, _ *transport.Delivery) transport.Outcome {
			<-ctx.Done()
			cause = context.Cause(ctx)
			return transport.Done()
		})
		pass(time.Second)
		fa.source(1).push(message("1", "k"))
		synctest.Wait()
		table.mu.Lock()
		table.held["shard-1"] = heldLease{driver.Lease{Name: "shard-1", Holder: "thief"}, time.Now().Add(time.Minute)}
		table.mu.Unlock()
		pass(5 * time.Second)
		if got := shardsOf(a); got != "[0 2 3]" || cause == nil || !strings.Contains(cause.Error(), "lease_lost") {
			t.Errorf("owns %s, cause %v", got, cause)
		}
		wantOutcomes(t, fa.source(1))
	})
}

func TestLeasesThatNobodyCanRenewAreLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		table := newTable()
		_, a := member(t, table, "a", nil)
		pass(time.Second)
		table.mu.Lock()
		table.down = errors.New("no answer")
		table.mu.Unlock()
		pass(20 * time.Second)
		if h := a.wire.Health()[0]; len(h.Shards) != 0 || h.State != transport.Waiting || !strings.Contains(h.Reason, "no answer") {
			t.Errorf("health %+v", h)
		}
		table.mu.Lock()
		table.down = nil
		table.mu.Unlock()
		pass(20 * time.Second)
		if h := a.wire.Health()[0]; len(h.Shards) != 4 || h.State != transport.Running {
			t.Errorf("health %+v", h)
		}
	})
}

func TestAStandbySaysSo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		table := newTable()
		for i := range 4 {
			member(t, table, "a"+strconv.Itoa(i), nil)
			pass(10 * time.Second)
		}
		_, b := member(t, table, "b", nil)
		pass(10 * time.Second)
		if h := b.wire.Health()[0]; h.State != transport.Waiting || !strings.Contains(h.Reason, "standby") {
			t.Errorf("health %+v", h)
		}
	})
}
