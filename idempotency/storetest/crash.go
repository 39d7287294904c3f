package storetest

import (
	"crypto/sha256"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/idempotency"
)

func crashCases() []Case {
	return []Case{
		{
			Name:     "crash/concurrent-duplicates",
			Sentence: "Crash window: duplicates that are delivered to several processes at once are handled once.",
			run:      crashDuplicates,
		},
		{
			Name:     "crash/before-the-effect",
			Sentence: "Crash window: a death before the effect; the next delivery handles the message.",
			run:      crashBefore,
		},
		{
			Name:     "crash/before-complete",
			Sentence: "Crash window: a death after the effect and before Complete; the next delivery finds the steps and handles the rest.",
			run:      crashBeforeComplete,
		},
		{
			Name:     "crash/before-publishing",
			Sentence: "Crash window: a death after Complete and before publishing; the next delivery publishes what was recorded, without a run.",
			run:      crashBeforePublishing,
		},
		{
			Name:     "crash/in-mid-publish",
			Sentence: "Crash window: deaths in mid-publish, one after the other; each delivery publishes the same outputs again.",
			run:      crashMidPublish,
		},
		{
			Name:     "crash/before-the-ack",
			Sentence: "Crash window: a death after publishing and before the acknowledgement; the next delivery publishes nothing and runs nothing.",
			run:      crashBeforeAck,
		},
		{
			Name:     "crash/complete-unanswered",
			Sentence: "Crash window: Complete is applied and its answer is lost; asked again, the attempt may publish.",
			run:      crashUnanswered,
		},
		{
			Name:     "crash/zombie",
			Sentence: "Crash window: an attempt pauses beyond its lease; what its successor did stands, and it may publish nothing.",
			run:      crashZombie,
		},
		{
			Name:     "crash/another-body",
			Sentence: "Crash window: the same key comes with another body while the first is handled, and after it was.",
			run:      crashAnotherBody,
		},
		{
			Name:     "crash/after-expiry",
			Sentence: "Crash window: a duplicate that comes after the record has expired is a new message.",
			Needs:    []Need{needTTL},
			run:      crashAfterExpiry,
		},
		{
			Name:     "crash/lost-store",
			Sentence: "Crash window: the store loses its data under an attempt, which cannot complete, and the message is handled anew.",
			Needs:    []Need{needForget},
			run:      crashLostStore,
		},
	}
}

// life is what became of one message.
type life struct {
	*env

	message   idempotency.Claim
	effects   int
	published []string // ids
}

func (e *env) life() *life { return &life{env: e, message: e.brief("a")} }

// attempt is a process that has the message, and may die at every step.
type attempt struct {
	*life

	on      *worker
	claim   idempotency.Claim
	verdict idempotency.Verdict
}

// deliver gives the message to a process of its own, as soon as that may have it.
func (l *life) deliver(want idempotency.State) *attempt {
	l.Helper()
	a := &attempt{life: l, on: l.process(), claim: again(l.message)}
	a.verdict = a.on.await(a.claim, want)
	return a
}

func (a *attempt) effect() { a.effects++ }

func (a *attempt) outputs() []*envelope.Envelope {
	return []*envelope.Envelope{a.output(0), a.output(1), a.output(2)}
}

func (a *attempt) complete() {
	a.Helper()
	a.on.do(complete(a.claim, a.outputs()...))
}

func (a *attempt) publish(outputs ...*envelope.Envelope) {
	for _, out := range outputs {
		a.published = append(a.published, out.ID)
	}
}

func (a *attempt) settle() {
	a.Helper()
	a.on.do(settle(a.claim))
}

// finish is the rest of an attempt that nothing happens to.
func (a *attempt) finish() {
	a.Helper()
	a.complete()
	a.publish(a.outputs()...)
	a.settle()
}

// wants checks the end: so many effects, so many outputs, and a duplicate that
// has nothing to do.
func (l *life) wants(effects, published int) {
	l.Helper()
	l.wantOutputs(l.deliver(idempotency.Done).verdict)
	if l.effects != effects || len(l.published) != published {
		l.Errorf("%d effects and %d outputs, want %d and %d", l.effects, len(l.published), effects, published)
	}
}

func crashDuplicates(e *env) {
	l := e.life()
	l.message.Lease = e.h.never()
	a := l.deliver(idempotency.Acquired)
	second, third := l.deliver(idempotency.Busy), l.deliver(idempotency.Busy)
	a.effect()
	a.finish()
	for _, waiting := range []*attempt{second, third} {
		e.wantOutputs(waiting.on.want(waiting.claim, idempotency.Done))
	}
	l.wants(1, 3)
}

func crashBefore(e *env) {
	l := e.life()
	l.deliver(idempotency.Acquired)
	b := l.deliver(idempotency.Acquired)
	e.wantNumbers(b.verdict, 0, 1, 0)
	b.effect()
	b.finish()
	l.wants(1, 3)
}

func crashBeforeComplete(e *env) {
	l := e.life()
	a := l.deliver(idempotency.Acquired)
	a.on.do(remember(a.claim, "charge", "receipt"))
	a.effect()
	b := l.deliver(idempotency.Acquired)
	e.wantNumbers(b.verdict, 0, 1, 0)
	e.wantSteps(b.verdict, "charge", "receipt")
	b.finish()
	l.wants(1, 3)
}

func crashBeforePublishing(e *env) {
	l := e.life()
	a := l.deliver(idempotency.Acquired)
	a.effect()
	a.complete()
	b := l.deliver(idempotency.Done)
	e.wantOutputs(b.verdict, a.outputs()...)
	b.publish(b.verdict.Outputs...)
	b.settle()
	l.wants(1, 3)
}

func crashMidPublish(e *env) {
	l := e.life()
	a := l.deliver(idempotency.Acquired)
	a.effect()
	a.complete()
	a.publish(a.outputs()[0])
	for range 3 {
		b := l.deliver(idempotency.Done)
		e.wantOutputs(b.verdict, a.outputs()...)
		b.publish(b.verdict.Outputs[0], b.verdict.Outputs[1])
	}
	last := l.deliver(idempotency.Done)
	e.wantOutputs(last.verdict, a.outputs()...)
	last.publish(last.verdict.Outputs...)
	last.settle()
	l.wants(1, 1+3*2+3)
}

func crashBeforeAck(e *env) {
	l := e.life()
	a := l.deliver(idempotency.Acquired)
	a.effect()
	a.finish()
	b := l.deliver(idempotency.Done)
	b.publish(b.verdict.Outputs...)
	b.settle()
	l.wants(1, 3)
}

func crashUnanswered(e *env) {
	l := e.life()
	a := l.deliver(idempotency.Acquired)
	a.effect()
	a.complete()
	a.on = e.process() // it connects anew, and asks again
	a.finish()
	a.on.do(complete(a.claim, a.outputs()...))
	l.wants(1, 3)
}

func crashZombie(e *env) {
	l := e.life()
	a := l.deliver(idempotency.Acquired)
	b := l.deliver(idempotency.Acquired)
	a.on.fenced(extend(a.claim), remember(a.claim, "charge", "zombie"), complete(a.claim, a.output(7)))
	b.effect()
	b.complete()
	a.on.fenced(complete(a.claim, a.output(7)), release(a.claim, true), fail(a.claim))
	e.wantOutputs(l.deliver(idempotency.Done).verdict, b.outputs()...)
	b.publish(b.outputs()...)
	b.settle()
	a.on.fenced(complete(a.claim, a.output(7)))
	l.wants(1, 3)
}

func crashAnotherBody(e *env) {
	l := e.life()
	l.message.Lease = e.h.never()
	other := again(l.message)
	other.Fingerprint = sha256.Sum256([]byte("another body"))
	a := l.deliver(idempotency.Acquired)
	e.w.want(again(other), idempotency.Mismatch)
	a.effect()
	a.complete()
	e.w.want(again(other), idempotency.Mismatch)
	a.publish(a.outputs()...)
	a.settle()
	e.w.want(again(other), idempotency.Mismatch)
	l.wants(1, 3)
}

func crashAfterExpiry(e *env) {
	l := e.life()
	l.message.TTL = e.h.TTL
	a := l.deliver(idempotency.Acquired)
	a.effect()
	a.finish()
	b := l.deliver(idempotency.Acquired)
	e.wantNumbers(b.verdict, 0, 0, 0)
	b.effect()
	b.finish()
	l.wants(2, 6)
}

func crashLostStore(e *env) {
	l := e.life()
	l.message.Lease = e.h.never()
	a := l.deliver(idempotency.Acquired)
	a.effect()
	e.h.Forget(e.TB, a.claim.Key)
	a.on.fenced(complete(a.claim, a.output(7)))
	b := l.deliver(idempotency.Acquired)
	e.wantNumbers(b.verdict, 0, 0, 0)
	a.on.fenced(complete(a.claim, a.output(7)))
	b.effect()
	b.finish()
	l.wants(2, 3)
}
