package drivertest

import (
	"slices"

	"github.com/anywire/anywire/transport/driver"
)

// Case is one check of the suite.
type Case struct {
	// Name is theme/what; it names the subtest and the key of Harness.Skip.
	Name string
	// Sentence of the contract that the case proves.
	Sentence string
	// Needs lists what must be there for the case to apply, all of it.
	Needs []Need

	run   func(*env)
	alone bool // no other case may run meanwhile
}

// Need is a flag of [driver.Capabilities], an optional interface of package
// driver, or a field of [Harness], by its name. "leases" stands for drivers
// whose deliveries end with time, which is all without OwnsShards.
type Need string

const (
	needDurable        Need = "Durable"
	needInProcess      Need = "InProcess"
	needOrder          Need = "Order"
	needOwnsShards     Need = "OwnsShards"
	needLeases         Need = "leases"
	needOrderedPublish Need = "OrderedPublish"
	needDelayedNack    Need = "DelayedNack"
	needDelaysByCopy   Need = "DelaysByCopy"
	needDelayedPublish Need = "DelayedPublish"
	needCounts         Need = "Counts"
	needBrowse         Need = "Browse"
	needLag            Need = "Lag"
	needDedup          Need = "Dedup"
	needStartTime      Need = "StartTime"
	needMaxInFlight    Need = "MaxInFlight"
	needMaxBody        Need = "MaxBody"
	needLeaser         Need = "Leaser"
	needAdmin          Need = "Admin"
	needRemover        Need = "Remover"
	needPinger         Need = "Pinger"
	needDeclared       Need = "Harness.Declared"
	needKill           Need = "Harness.Kill"
	needStall          Need = "Harness.Stall"
	needRestart        Need = "Harness.Restart"
	needBounded        Need = "Harness.OpenBounded"
)

// Cases lists the suite in the order in which it runs. The slice is the
// caller's.
func Cases() []Case {
	return slices.Concat(
		capabilityCases(),
		publishCases(),
		contentCases(),
		subscribeCases(),
		receiveCases(),
		settleCases(),
		copyCases(),
		staleCases(),
		stallCases(),
		leaseCases(),
		takeoverCases(),
		orderCases(),
		assignmentCases(),
		delayCases(),
		flowCases(),
		leaserCases(),
		adminCases(),
		browseCases(),
		removeCases(),
		lagCases(),
		closeCases(),
		restartCases(),
	)
}

// unmet is the first need that is missing, or empty.
func (h Harness) unmet(needs []Need, d driver.Driver) Need {
	caps := d.Capabilities()
	for _, n := range needs {
		if !n.flag(caps) && !n.ability(d) && !n.harness(h) {
			return n
		}
	}
	return ""
}

func (n Need) flag(c driver.Capabilities) bool {
	switch n {
	case needDurable:
		return c.Durable
	case needInProcess:
		return c.InProcess
	case needOrder:
		return c.Order
	case needOwnsShards:
		return c.OwnsShards
	case needLeases:
		return !c.OwnsShards
	case needOrderedPublish:
		return c.OrderedPublish
	case needDelayedNack:
		return c.DelayedNack
	case needDelaysByCopy:
		return c.DelaysByCopy
	case needDelayedPublish:
		return c.DelayedPublish
	case needCounts:
		return c.Counts
	case needDedup:
		return c.Dedup
	case needStartTime:
		return c.StartTime
	case needMaxInFlight:
		return c.MaxInFlight > 0
	case needMaxBody:
		return c.MaxBody > 0
	case needBrowse:
		return c.Browse
	case needLag:
		return c.Lag
	default:
		return false
	}
}

func (n Need) ability(d driver.Driver) bool {
	var ok bool
	switch n {
	case needLeaser:
		_, ok = d.(driver.Leaser)
	case needAdmin:
		_, ok = d.(driver.Admin)
	case needRemover:
		_, ok = d.(driver.Remover)
	case needPinger:
		_, ok = d.(driver.Pinger)
	default:
	}
	return ok
}

func (n Need) harness(h Harness) bool {
	switch n {
	case needDeclared:
		return h.Declared != nil
	case needKill:
		return h.Kill != nil
	case needStall:
		return h.Stall != nil
	case needRestart:
		return h.Restart != nil
	case needBounded:
		return h.OpenBounded != nil
	default:
		return false
	}
}
