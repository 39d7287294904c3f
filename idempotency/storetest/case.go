package storetest

import (
	"slices"

	"github.com/anywire/anywire/idempotency"
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

// Need is an optional interface of package idempotency, or a field of [Harness],
// by its name.
type Need string

const (
	needSingle     Need = "Single"
	needCounter    Need = "Counter"
	needCloser     Need = "Closer"
	needTTL        Need = "Harness.TTL"
	needMaxOutputs Need = "Harness.MaxOutputs"
	needRestart    Need = "Harness.Restart"
	needDamage     Need = "Harness.Damage"
	needForget     Need = "Harness.Forget"
)

// Cases lists the suite in the order in which it runs. The slice is the
// caller's.
func Cases() []Case {
	return slices.Concat(
		claimCases(),
		mismatchCases(),
		leaseCases(),
		attemptCases(),
		stepCases(),
		outputCases(),
		failureCases(),
		fenceCases(),
		batchCases(),
		contentionCases(),
		expiryCases(),
		crashCases(),
		abilityCases(),
		restartCases(),
	)
}

// unmet is the first need that is missing, or empty.
func (h Harness) unmet(needs []Need, s idempotency.Store) Need {
	for _, n := range needs {
		if !n.ability(s) && !n.harness(h) {
			return n
		}
	}
	return ""
}

func (n Need) ability(s idempotency.Store) bool {
	var ok bool
	switch n {
	case needSingle:
		_, ok = s.(idempotency.Single)
	case needCounter:
		_, ok = s.(idempotency.Counter)
	case needCloser:
		_, ok = s.(idempotency.Closer)
	default:
	}
	return ok
}

func (n Need) harness(h Harness) bool {
	switch n {
	case needTTL:
		return h.TTL > 0
	case needMaxOutputs:
		return h.MaxOutputs > 0
	case needRestart:
		return h.Restart != nil
	case needDamage:
		return h.Damage != nil
	case needForget:
		return h.Forget != nil
	default:
		return false
	}
}
