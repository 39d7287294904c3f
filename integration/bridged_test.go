package integration

import (
	"context"
	"testing"
	"time"

	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/internal/matrix"
	"github.com/anywire/anywire/transport/driver"
)

// Some kinds of transport promise less, Watermill's above all, and say so in their
// capabilities. A scenario that needs more is skipped there, in the words of the
// conformance suite; what else a test can show, it shows.

// needs skips a test, or the rest of one, on a transport that does not have what is
// named.
func needs(t *testing.T, what string, has bool) {
	t.Helper()
	if !has {
		t.Skipf("%s skipped: needs %s", t.Name(), what)
	}
}

// needsOrder skips what runs with an order that the transport does not keep.
func needsOrder(t *testing.T, caps driver.Capabilities, order string) {
	t.Helper()
	needs(t, "Order", order == "none" || caps.Order)
}

// needsRenewal skips what runs for longer than the transport lets it.
func needsRenewal(t *testing.T, caps driver.Capabilities) {
	t.Helper()
	needs(t, "longer leases than MaxLease", caps.MaxLease == 0)
}

// keyed is order by key, and where the transport does not keep it, none: then the
// test goes on without, and a subtest for the order is skipped.
func keyed(t *testing.T, kind string, caps driver.Capabilities) string {
	t.Helper()
	if caps.Order {
		return "key"
	}
	t.Run("order on "+kind, func(t *testing.T) { needsOrder(t, caps, "key") })
	return "none"
}

// shortLease is one for tests that wait for its end: longer where it bounds the
// handlers, too, which a busy machine holds up.
func (b *broker) shortLease(t *testing.T) time.Duration {
	t.Helper()
	if b.capabilities(t).MaxLease > 0 {
		return 3 * time.Second
	}
	return time.Second
}

// fitLease shortens the timeouts of agents so that all their attempts in place fit
// into the longest lease, as validation wants it. 0: leases are renewed.
func fitLease(c *config.Config, longest time.Duration) {
	for name, agent := range c.Agents {
		has, _ := c.Agent(name)
		each := longest / time.Duration(1+*has.Retry.Immediate)
		if longest > 0 && has.Timeout.Std() > each {
			agent.Timeout = value.Duration(each)
			c.Agents[name] = agent
		}
	}
}

const bridgedShards = 8

// fitShards gives what agents read several shards where the transport has one
// message of a shard in flight. Elsewhere one is enough for many.
func fitShards(c *config.Config, caps driver.Capabilities) {
	if !caps.OwnsShards || caps.MaxInFlight == 0 {
		return
	}
	if c.Topics == nil {
		c.Topics = map[string]config.Topic{}
	}
	for _, agent := range c.Agents {
		topic := c.Topics[agent.Consumes]
		if topic.Shards == 0 && agent.Order != "strict" {
			topic.Shards = bridgedShards
			c.Topics[agent.Consumes] = topic
		}
	}
}

// awaitRoom lets a publisher wait while fifty messages are on their way. Watermill's
// adapters handle few at once, and would be busy with a backlog long after an
// accident.
func (p *pipeline) awaitRoom(ctx context.Context) {
	if p.w.witness.Kind != "" {
		awaits(ctx, patience, func() bool { return len(p.missing()) < 50 })
	}
}

// TestSkipsAreTheMatrixs: what scenarios are skipped for here is what the table of
// transports says that a kind does not do.
func TestSkipsAreTheMatrixs(t *testing.T) {
	t.Parallel()
	table, err := matrix.Load("../docs/transports.json")
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]driver.Capabilities{}
	for _, c := range table.Columns {
		told[c.Name] = c.Capabilities
	}
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			name := b.name
			if name == "paranoid" {
				name = "memory"
			}
			want, ok := told[name]
			if has := b.start(t).caps; !ok || has.Order != want.Order || (has.MaxLease == 0) != (want.MaxLease == 0) || has.MaxInFlight != want.MaxInFlight {
				t.Errorf("the scenarios run with %+v, the table says %+v", has, want)
			}
		})
	}
}
