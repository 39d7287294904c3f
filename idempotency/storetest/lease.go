package storetest

import (
	"time"

	"github.com/anywire/anywire/idempotency"
)

func leaseCases() []Case {
	return []Case{
		{
			Name:     "lease/takeover",
			Sentence: "A record whose lease has ended is acquired by the next claim, and not before.",
			run:      leaseTakeover,
		},
		{
			Name:     "lease/deaths",
			Sentence: "Deaths are acquisitions whose lease ended without a word; they are no attempts.",
			run:      leaseDeaths,
		},
		{
			Name:     "lease/deaths-alone",
			Sentence: "DeathsAlone are deaths of attempts that were the only thing their process did; Attempts counts them too.",
			run:      leaseDeathsAlone,
		},
		{
			Name:     "lease/takeover-repeated",
			Sentence: "A store answers a repeated takeover as it answered the first: one death is counted once.",
			run:      leaseTakeoverRepeated,
		},
		{
			Name:     "lease/extended",
			Sentence: "Extend: the lease begins anew, as often as it is called.",
			run:      leaseExtended,
		},
		{
			Name:     "lease/extended-by-its-own",
			Sentence: "Extend: the lease that begins is the change's.",
			run:      leaseExtendedLonger,
		},
		{
			Name:     "lease/remember-extends",
			Sentence: "Remember: the lease begins anew.",
			run:      leaseRemember,
		},
		{
			Name:     "lease/is-the-holders",
			Sentence: "The lease is that of the claim that holds the record, not of the one that asks.",
			run:      leaseHolders,
		},
		{
			Name:     "lease/each-its-own",
			Sentence: "Each claim of a batch has its own lease.",
			run:      leaseEach,
		},
		{
			Name:     "lease/over-and-not-taken",
			Sentence: "A change is fenced once the record was taken over, not when its lease has merely ended.",
			run:      leaseNotTaken,
		},
		{
			Name:     "lease/begins-at-the-claim",
			Sentence: "The lease begins with the claim: that of a record that was released long ago is whole.",
			run:      leaseBegins,
		},
	}
}

// leaseTakeover counts from before the claim: no lease can have begun earlier.
func leaseTakeover(e *env) {
	start := time.Now()
	c := e.brief("a")
	e.w.acquire(c)
	other := e.process()
	next := again(c)
	if until := other.busy(next); until > c.Lease {
		e.Errorf("busy until %v from now, want at most the lease, %v", until, c.Lease)
	}
	other.takeOver(next)
	e.wantNotBefore(start, c.Lease)
	other.do(complete(next))
	e.w.want(again(c), idempotency.Done)
}

func leaseDeaths(e *env) {
	c := e.brief("a")
	e.wantNumbers(e.w.acquire(c), 0, 0, 0)
	c = again(c)
	e.wantNumbers(e.process().takeOver(c), 0, 1, 0)
	c = again(c)
	e.wantNumbers(e.process().takeOver(c), 0, 2, 0)
}

func leaseDeathsAlone(e *env) {
	c := e.brief("a")
	c.Alone = true
	e.wantNumbers(e.w.acquire(c), 0, 0, 0)
	c = again(c)
	c.Alone = false
	e.wantNumbers(e.process().takeOver(c), 1, 1, 1)
	c = again(c)
	c.Alone = true
	e.wantNumbers(e.process().takeOver(c), 1, 2, 1)
	c = again(c)
	last := e.process()
	e.wantNumbers(last.takeOver(c), 2, 3, 2)
	last.do(release(c, true))
	e.wantNumbers(last.acquire(again(c)), 3, 3, 2)
}

func leaseTakeoverRepeated(e *env) {
	c := e.brief("a")
	c.Alone = true
	e.w.acquire(c)
	other, c := e.process(), again(c)
	e.wantNumbers(other.takeOver(c), 1, 1, 1)
	e.wantNumbers(other.acquire(c), 1, 1, 1)
	e.wantNumbers(e.process().acquire(c), 1, 1, 1)
}

// keep makes a change again and again, and meanwhile the record must stay busy
// for another process.
func (e *env) keep(c idempotency.Claim, leases int, ch idempotency.Change) {
	e.Helper()
	other := e.process()
	for start := time.Now(); time.Since(start) < time.Duration(leases)*e.h.Lease; e.pause(e.h.Lease / 4) {
		e.w.do(ch)
		other.busy(again(c))
	}
	e.w.do(complete(c))
	other.want(again(c), idempotency.Done)
}

func leaseExtended(e *env) {
	c := e.brief("a")
	e.w.acquire(c)
	e.keep(c, 3, extend(c))
}

// leaseExtendedLonger waits until the first lease and one that was as long would
// be over.
func leaseExtendedLonger(e *env) {
	c := e.brief("a")
	e.w.acquire(c)
	longer := extend(c)
	longer.Lease = 4 * e.h.Lease
	e.w.do(longer)
	other := e.process()
	for start := time.Now(); time.Since(start) < 2*e.h.Lease; e.pause(e.h.Lease / 4) {
		other.busy(again(c))
	}
	other.takeOver(again(c))
}

func leaseRemember(e *env) {
	c := e.brief("a")
	e.w.acquire(c)
	e.keep(c, 2, remember(c, "step", "1"))
}

func leaseHolders(e *env) {
	long, short := e.claim("long"), e.brief("short")
	e.w.acquire(long)
	e.w.acquire(short)
	other := e.process()
	brief, patient := again(long), again(short)
	brief.Lease, patient.Lease = e.h.Lease, e.h.never()
	other.busy(brief)
	if until := other.busy(patient); until > short.Lease {
		e.Errorf("busy until %v from now, want at most the holder's lease, %v", until, short.Lease)
	}
	other.takeOver(patient)
	other.busy(brief)
	e.w.do(complete(long))
}

func leaseEach(e *env) {
	short, long := e.brief("short"), e.claim("long")
	e.w.begin(long, short)
	other := e.process()
	other.takeOver(again(short))
	other.busy(again(long))
}

func leaseNotTaken(e *env) {
	extended, completed, released, failed := e.brief("a"), e.brief("b"), e.brief("c"), e.brief("d")
	e.w.begin(extended, completed, released, failed)
	e.pause(e.h.Lease + e.h.Lease/4)
	e.w.do(extend(extended), complete(completed, e.output(0)), release(released, true), fail(failed))
	other := e.process()
	other.busy(again(extended))
	e.wantOutputs(other.want(again(completed), idempotency.Done), e.output(0))
	e.wantNumbers(other.acquire(again(released)), 1, 0, 0)
	other.want(again(failed), idempotency.Failed)
}

func leaseBegins(e *env) {
	c := e.brief("a")
	e.w.acquire(c)
	e.w.do(release(c, false))
	e.pause(e.h.Lease + e.h.Lease/4)
	c = again(c)
	start := time.Now()
	e.w.acquire(c)
	other := e.process()
	next := again(c)
	other.busy(next)
	e.wantNumbers(other.takeOver(next), 0, 1, 0)
	e.wantNotBefore(start, c.Lease)
}
