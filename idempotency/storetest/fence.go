package storetest

import (
	"fmt"

	"github.com/anywire/anywire/idempotency"
)

// ended are the changes that need the record's token.
func ended(e *env) []func(idempotency.Claim) idempotency.Change {
	return []func(idempotency.Claim) idempotency.Change{
		extend,
		func(c idempotency.Claim) idempotency.Change { return remember(c, "zombie", "1") },
		func(c idempotency.Claim) idempotency.Change { return complete(c, e.output(9)) },
		func(c idempotency.Claim) idempotency.Change { return release(c, true) },
		fail,
	}
}

func fenceCases() []Case {
	var all []Case
	for op := idempotency.Extend; op <= idempotency.Fail; op++ {
		if op == idempotency.Settle {
			continue
		}
		all = append(all, Case{
			Name:     "fence/zombie-" + op.String(),
			Sentence: fmt.Sprintf("A zombie, whose record was taken over, cannot %s it: ErrFenced, and the record stays as it is.", op),
			run:      func(e *env) { fenceZombie(e, op) },
		})
	}
	return append(all,
		Case{
			Name:     "fence/after-release",
			Sentence: "What released a record cannot change it after the next claim has acquired it.",
			run:      fenceAfterRelease,
		},
		Case{
			Name:     "fence/after-the-winner",
			Sentence: "A zombie cannot complete what its successor has completed: the successor's outputs stand.",
			run:      fenceAfterWinner,
		},
		Case{
			Name:     "fence/one-end",
			Sentence: "An attempt ends once: the token that ended it one way cannot end it another, nor go on.",
			run:      fenceOneEnd,
		},
		Case{
			Name:     "fence/nothing-there",
			Sentence: "A change of a record that is not there is fenced, and makes none.",
			run:      fenceNothing,
		},
		Case{
			Name:     "fence/after-expiry",
			Sentence: "A token stays fenced when its record has expired and was acquired anew.",
			Needs:    []Need{needTTL},
			run:      fenceAfterExpiry,
		},
		Case{
			Name:     "fence/after-loss",
			Sentence: "ErrFenced answers a token whose record is gone with the store's data; the message is handled anew.",
			Needs:    []Need{needForget},
			run:      fenceAfterLoss,
		},
	)
}

// zombie is a claim whose record another process has taken over, under the
// returned claim.
func (e *env) zombie(name string) (old, current idempotency.Claim, holder *worker) {
	e.Helper()
	old = e.brief(name)
	e.w.acquire(old)
	holder, current = e.process(), again(old)
	current.Lease = e.h.never()
	holder.takeOver(current)
	return old, current, holder
}

func fenceZombie(e *env, op idempotency.Op) {
	old, current, holder := e.zombie("a")
	for _, by := range ended(e) {
		if ch := by(old); ch.Op == op {
			e.w.fenced(ch, ch)
			holder.fenced(ch)
		}
	}
	e.process().busy(again(current))
	holder.do(release(current, false))
	current = again(current)
	v := e.process().acquire(current)
	e.wantNumbers(v, 0, 1, 0)
	e.wantSteps(v)
	holder.do(complete(current, e.output(0)))
	e.wantOutputs(e.w.want(again(current), idempotency.Done), e.output(0))
}

func fenceAfterRelease(e *env) {
	old := e.claim("a")
	e.w.acquire(old)
	e.w.do(release(old, true))
	current, other := again(old), e.process()
	other.acquire(current)
	for _, by := range ended(e) {
		e.w.fenced(by(old))
	}
	other.do(release(current, true))
	v := other.acquire(again(current))
	e.wantNumbers(v, 2, 0, 0)
	e.wantSteps(v)
}

func fenceAfterWinner(e *env) {
	old, current, holder := e.zombie("a")
	holder.do(complete(current, e.output(0)))
	e.w.fenced(complete(old, e.output(1)))
	e.wantOutputs(e.w.want(again(old), idempotency.Done), e.output(0))
	holder.do(settle(current))
	e.w.fenced(complete(old, e.output(1)), complete(old))
	e.wantOutputs(e.w.want(again(old), idempotency.Done))
}

func fenceOneEnd(e *env) {
	names := []string{"complete", "settle", "release", "fail"}
	ends := []func(idempotency.Claim) []idempotency.Change{
		func(c idempotency.Claim) []idempotency.Change { return []idempotency.Change{complete(c, e.output(0))} },
		func(c idempotency.Claim) []idempotency.Change { return []idempotency.Change{complete(c)} },
		func(c idempotency.Claim) []idempotency.Change { return []idempotency.Change{release(c, true)} },
		func(c idempotency.Claim) []idempotency.Change { return []idempotency.Change{fail(c)} },
	}
	for i, end := range ends {
		c := e.claim(names[i])
		e.w.acquire(c)
		e.w.do(end(c)...)
		for _, by := range ended(e) {
			if ch := by(c); ch.Op != end(c)[0].Op {
				e.w.fenced(ch)
			}
		}
		v := e.process().begin(again(c))[0]
		switch names[i] {
		case "complete":
			e.wantOutputs(v, e.output(0))
		case "settle":
			e.wantOutputs(v)
		case "release":
			e.wantNumbers(v, 1, 0, 0)
			e.wantSteps(v)
		default:
			e.wantFailure(v, fail(c))
		}
	}
}

func fenceNothing(e *env) {
	c := e.claim("a")
	for _, by := range ended(e) {
		e.w.fenced(by(c))
	}
	v := e.w.acquire(again(c))
	e.wantNumbers(v, 0, 0, 0)
	e.wantSteps(v)
}

func fenceAfterExpiry(e *env) {
	old := e.passing("a")
	e.w.acquire(old)
	e.w.do(release(old, false))
	e.pause(e.h.TTL + e.h.TTL/4)
	current := again(e.claim("a"))
	e.w.acquire(current)
	for _, by := range ended(e) {
		e.w.fenced(by(old))
	}
	e.process().busy(again(current))
	e.w.do(complete(current))
}

func fenceAfterLoss(e *env) {
	old := e.claim("a")
	e.w.acquire(old)
	e.h.Forget(e.TB, old.Key)
	for _, by := range ended(e) {
		e.w.fenced(by(old))
	}
	e.w.do(settle(old))
	current, other := again(old), e.process()
	e.wantNumbers(other.acquire(current), 0, 0, 0)
	for _, by := range ended(e) {
		e.w.fenced(by(old))
	}
	other.do(complete(current, e.output(0)))
	e.wantOutputs(e.w.want(again(old), idempotency.Done), e.output(0))
}
