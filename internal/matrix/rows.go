package matrix

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/anywire/anywire/transport/drivertest"
)

// The kinds of cells.
const (
	native   = "native"
	emulated = "emulated"
	refused  = "refused"
)

// row is one line of the table: what a cell says follows from the column's
// capabilities, and how much of it the cases prove.
type row struct {
	title string
	cell  func(Column) string
	// proof names cases, or whole themes as "theme/".
	proof []string
}

// promises are what a handler can rely on.
func promises() []row {
	return []row{
		{"groups and competing workers", always(native), []string{
			"subscribe/members-share", "subscribe/groups-are-apart", "subscribe/resumes", "settle/gives-back-to-any-member",
		}},
		{"takeover of what another worker held", takeover, []string{"takeover/"}},
		{"settling in any order", anyOrder, []string{"settle/any-order", "order/acks-out-of-order", "flow/held-deliveries-hold-nobody-up"}},
		{"order by key", byKey, []string{"order/", "assignment/", "leaser/"}},
		{"delayed redelivery", delayedNack, []string{
			"settle/nack-delay", "settle/nack-delay-beyond-lease", "settle/nack-delay-holds-nobody-up", "settle/nack-delays-differ", "copy/",
		}},
		{"leases that are renewed, stale work fenced", renewal, []string{"lease/", "stale/", "stall/"}},
		{"delivery counts", counts, []string{"receive/deliveries"}},
		{"start at the oldest message, or now", always(native), []string{"subscribe/starts-at-oldest", "subscribe/starts-now"}},
		{"start at a time", given(func(c Column) bool { return c.Capabilities.StartTime }), []string{"subscribe/starts-at-a-time"}},
		{"reading without a group (browse, replay)", given(func(c Column) bool { return c.Capabilities.Browse }), []string{"browse/"}},
		{"delayed publish", delayedPublish, []string{"delay/"}},
		{"order of publishes after a failure", orderedPublish, []string{"publish/nothing-of-a-key-after-a-failure"}},
		{"repeated publishes dropped", broker(func(c Column) bool { return c.Capabilities.Dedup }), []string{"dedup/"}},
		{"lag, age of the oldest unsettled", given(func(c Column) bool { return c.Capabilities.Lag }), []string{"lag/"}},
		{"topics created and described", broker(has("Admin")), []string{"admin/"}},
		{"settings checked by `anywire doctor`", broker(has("Inspector")), nil},
	}
}

// survivals are what a confirmed message survives.
func survivals() []row {
	return []row{
		{"death of a worker", workerDeath, nil},
		{"death of every worker", outlives, nil},
		{"death of the broker's process", brokerDeath, nil},
		{"loss of power", powerLoss, nil},
	}
}

// bounds are those that a driver declares.
func bounds() []row {
	return []row{
		{"longest lease", bound(func(c Column) string {
			if c.Capabilities.MaxLease <= 0 {
				return ""
			}
			return c.Capabilities.MaxLease.Round(time.Second).String()
		}), nil},
		{"unsettled deliveries of one source", number(func(c Column) int { return c.Capabilities.MaxInFlight }), []string{"flow/max-in-flight"}},
		{"largest message, with its headers", number(func(c Column) int { return c.Capabilities.MaxBody }), []string{"publish/too-large"}},
		{"header of attribute `id`", func(c Column) string {
			switch {
			case c.Capabilities.InProcess:
				return "none"
			case c.Capabilities.Headers.Fields:
				return "field `" + c.Capabilities.Headers.Prefix + "id`"
			default:
				return "`" + c.Capabilities.Headers.Prefix + "id`"
			}
		}, nil},
	}
}

func always(cell string) func(Column) string { return func(Column) string { return cell } }

func given(is func(Column) bool) func(Column) string {
	return func(c Column) string {
		if is(c) {
			return native
		}
		return refused
	}
}

// broker is a row of what is simply not there where the broker has it not.
func broker(is func(Column) bool) func(Column) string {
	return func(c Column) string {
		if is(c) {
			return native
		}
		return "no"
	}
}

func has(ability string) func(Column) bool {
	return func(c Column) bool { return slices.Contains(c.Abilities, ability) }
}

func takeover(c Column) string {
	switch {
	case c.Capabilities.OwnsShards:
		return native + ": with the shard"
	case c.Capabilities.InProcess:
		return native + ": within the process"
	default:
		return native + ": when the lease ends"
	}
}

func anyOrder(c Column) string {
	if c.Capabilities.OwnsShards {
		return emulated + ": a shard's position, and what is done beyond it"
	}
	return native
}

func byKey(c Column) string {
	switch {
	case !c.Capabilities.Order:
		return refused
	case c.Capabilities.OwnsShards:
		return native + ": the broker gives each shard an owner"
	case has("Leaser")(c):
		return emulated + ": shards get owners by leases"
	default:
		return native
	}
}

func delayedNack(c Column) string {
	switch {
	case c.Capabilities.DelaysByCopy:
		return emulated + ": a copy comes back"
	case c.Capabilities.DelayedNack:
		return native
	default:
		return emulated + ": waits in the worker"
	}
}

func renewal(c Column) string {
	switch {
	case c.Capabilities.OwnsShards:
		return native + ": the membership is the lease"
	case c.Capabilities.MaxLease > 0:
		return refused + " beyond the longest lease"
	default:
		return native
	}
}

func counts(c Column) string {
	if c.Capabilities.Counts {
		return native
	}
	return emulated + ": in the worker, and on delayed copies"
}

func delayedPublish(c Column) string {
	switch {
	case c.Capabilities.DelayedPublish && c.Capabilities.DelaysByCopy:
		return emulated + ": a copy is forwarded"
	case c.Capabilities.DelayedPublish:
		return native
	default:
		return refused
	}
}

func orderedPublish(c Column) string {
	if c.Capabilities.OrderedPublish {
		return native
	}
	return emulated + ": one after the other of each key"
}

func outlives(c Column) string {
	if c.Capabilities.Durable {
		return "survives"
	}
	return "lost"
}

// ProofBrokerDeath is what a test beside the suite proves with drivertest.Prove
// where the broker is no process that the suite could start again.
const ProofBrokerDeath = "broker death"

func workerDeath(c Column) string {
	if c.Capabilities.InProcess {
		return "lost: it is the broker's process, too"
	}
	return c.tried("takeover/killed")
}

func brokerDeath(c Column) string {
	if !c.Capabilities.Durable {
		return "lost"
	}
	return c.tried("restart/keeps-messages")
}

// tried is what a case proves, or a test beside the suite where the worker's
// process is the broker's.
func (c Column) tried(name string) string {
	switch {
	case c.ran(name):
		return "survives"
	case slices.Contains(c.Proofs, ProofBrokerDeath):
		return "survives, by a test of its own"
	default:
		return "not tried"
	}
}

func powerLoss(c Column) string {
	if !c.Capabilities.Durable {
		return "lost"
	}
	if has("Inspector")(c) {
		return "as the broker is set up: `anywire doctor` looks"
	}
	return "as the broker is set up"
}

func bound(value func(Column) string) func(Column) string {
	return func(c Column) string {
		if v := value(c); v != "" {
			return v
		}
		return "no bound"
	}
}

func number(value func(Column) int) func(Column) string {
	return bound(func(c Column) string {
		if n := value(c); n > 0 {
			return strconv.Itoa(n)
		}
		return ""
	})
}

// ran reports whether a case ran and passed.
func (c Column) ran(name string) bool {
	_, skipped := c.Skipped[name]
	return !skipped && !slices.Contains(c.Failed, name)
}

// say is a cell of the table, with how many of the cases behind it ran where that
// is not all of those that are about such a driver. What none of them shows is not
// said.
func (c Column) say(r row, all []drivertest.Case) string {
	cell := r.cell(c)
	if cell == refused || cell == "no" {
		return cell
	}
	ran, of := 0, 0
	for _, one := range all {
		if !slices.ContainsFunc(r.proof, func(p string) bool {
			return p == one.Name || strings.HasSuffix(p, "/") && strings.HasPrefix(one.Name, p)
		}) || c.notMeant(one) {
			continue
		}
		of++
		if c.ran(one.Name) {
			ran++
		}
	}
	switch ran {
	case of:
		return cell
	case 0:
		return fmt.Sprintf("not shown (0 of %d cases)", of)
	default:
		return fmt.Sprintf("%s (%d of %d cases)", cell, ran, of)
	}
}

// notMeant reports whether a case is about drivers of another sort: nothing is
// missing where it is skipped.
func (c Column) notMeant(one drivertest.Case) bool {
	why, skipped := c.Skipped[one.Name]
	if !skipped {
		return false
	}
	need, isNeed := strings.CutPrefix(why, "needs ")
	return isNeed && !strings.HasPrefix(need, "Harness.") && slices.Contains(one.Needs, drivertest.Need(need))
}
