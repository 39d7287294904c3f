package storetest

import (
	"time"

	"github.com/anywire/anywire/idempotency"
)

func expiryCases() []Case {
	cases := []Case{
		{
			Name:     "expiry/settled",
			Sentence: "A settled record is kept for its TTL after its last change; a duplicate that comes later is acquired.",
			run:      expirySettled,
		},
		{
			Name:     "expiry/completed",
			Sentence: "Outputs that nobody settles are kept for the record's TTL.",
			run:      expiryCompleted,
		},
		{
			Name:     "expiry/failed",
			Sentence: "A failed record is kept for its TTL; then the message is a new one.",
			run:      expiryFailed,
		},
		{
			Name:     "expiry/released",
			Sentence: "Attempts and steps are kept for the TTL after the attempt's end, and then forgotten.",
			run:      expiryReleased,
		},
		{
			Name:     "expiry/begins-anew",
			Sentence: "The TTL begins anew with every change.",
			run:      expiryAnew,
		},
		{
			Name:     "expiry/each-its-own",
			Sentence: "Each record has its own TTL: the one that its last claim or change said.",
			run:      expiryEach,
		},
		{
			Name:     "expiry/extended-stays",
			Sentence: "A record in progress does not vanish while its lease is extended.",
			run:      expiryExtended,
		},
	}
	for i := range cases {
		cases[i].Needs = append(cases[i].Needs, needTTL)
	}
	return cases
}

// passing is a claim under the shortest lease and TTL.
func (e *env) passing(name string) idempotency.Claim {
	c := e.brief(name)
	c.TTL = e.h.TTL
	return c
}

// lasts expects a state until shortly before the TTL that begun at start is over,
// and returns the first verdict that is another.
func (e *env) lasts(start time.Time, c idempotency.Claim, state idempotency.State) idempotency.Verdict {
	e.Helper()
	seen := 0
	for ; ; e.pause(e.h.TTL / 20) {
		asked := time.Now()
		v := e.w.begin(c)[0]
		switch {
		case v.State == state:
			seen++
		case asked.Sub(start) < e.h.TTL-e.h.TTL/20:
			e.Fatalf("%s after %v, want %s for the TTL of %v", show(v), asked.Sub(start), state, e.h.TTL)
		case seen == 0:
			e.Fatalf("%s, and never %s", show(v), state)
		default:
			return v
		}
		if asked.Sub(start) > e.h.TTL+e.h.Patience {
			e.Fatalf("%s after %v: it did not expire after its TTL of %v", show(v), asked.Sub(start), e.h.TTL)
		}
	}
}

// gone expects that a message is new to the store.
func (e *env) gone(v idempotency.Verdict) {
	e.Helper()
	if v.State != idempotency.Acquired {
		e.Fatalf("%s after its TTL, want acquired", show(v))
	}
	e.wantNumbers(v, 0, 0, 0)
	e.wantSteps(v)
}

func expirySettled(e *env) {
	c := e.passing("a")
	e.w.acquire(c)
	start := time.Now()
	e.w.do(complete(c))
	e.gone(e.lasts(start, again(c), idempotency.Done))
}

func expiryCompleted(e *env) {
	c := e.passing("a")
	e.w.acquire(c)
	start := time.Now()
	e.w.do(complete(c, e.output(0)))
	e.pause(e.h.TTL / 2)
	e.wantOutputs(e.w.want(again(c), idempotency.Done), e.output(0))
	e.gone(e.lasts(start, again(c), idempotency.Done))
}

func expiryFailed(e *env) {
	c := e.passing("a")
	e.w.acquire(c)
	start := time.Now()
	e.w.do(fail(c))
	e.gone(e.lasts(start, again(c), idempotency.Failed))
}

// expiryReleased cannot ask without acquiring: it asks one record early, and the
// other late.
func expiryReleased(e *env) {
	early, late := e.passing("early"), e.passing("late")
	for _, c := range []idempotency.Claim{early, late} {
		e.w.acquire(c)
		e.w.do(remember(c, "one", "1"), release(c, true))
	}
	e.pause(e.h.TTL * 3 / 4)
	v := e.w.acquire(again(early))
	e.wantNumbers(v, 1, 0, 0)
	e.wantSteps(v, "one", "1")
	e.pause(e.h.TTL * 3 / 4)
	e.gone(e.w.acquire(again(late)))
}

func expiryAnew(e *env) {
	c, settled := e.passing("a"), e.passing("settled")
	e.w.acquire(c)
	e.w.acquire(settled)
	e.w.do(complete(settled, e.output(0)))
	part := e.h.TTL * 3 / 5
	e.pause(part)
	e.w.do(remember(c, "one", "1"), settle(settled))
	e.pause(part)
	e.w.do(release(c, true))
	e.wantOutputs(e.w.want(again(settled), idempotency.Done))
	e.pause(part)
	v := e.w.acquire(again(c))
	e.wantNumbers(v, 1, 0, 0)
	e.wantSteps(v, "one", "1")
}

func expiryEach(e *env) {
	short, long, longer, held := e.passing("short"), e.passing("long"), e.passing("longer"), e.claim("held")
	long.TTL = e.h.Keep
	e.w.begin(short, long, longer, held)
	kept := complete(longer, e.output(0))
	kept.TTL = e.h.Keep
	start := time.Now()
	e.w.do(complete(short), kept, complete(long))
	e.gone(e.lasts(start, again(short), idempotency.Done))
	e.pause(e.h.TTL / 2)
	e.w.want(again(long), idempotency.Done)
	e.wantOutputs(e.w.want(again(longer), idempotency.Done), e.output(0))
	e.w.busy(again(held))
}

func expiryExtended(e *env) {
	c := e.passing("a")
	e.w.acquire(c)
	other := e.process()
	for start := time.Now(); time.Since(start) < e.h.TTL*3/2; e.pause(e.h.Lease / 4) {
		e.w.do(extend(c))
		other.busy(again(c))
	}
	e.w.do(complete(c, e.output(0)))
	e.wantOutputs(other.want(again(c), idempotency.Done), e.output(0))
}
