package drivertest

import (
	"context"
	"errors"

	"github.com/anywire/anywire/transport/driver"
)

func staleCases() []Case {
	return []Case{
		{
			Name:     "stale/ack",
			Sentence: "A settlement that wraps ErrStale belongs to someone else by now: the old owner's Ack does not take it from the new one.",
			Needs:    []Need{needLeases},
			run:      func(e *env) { staleSettle(e, driver.Ack) },
		},
		{
			Name:     "stale/nack",
			Sentence: "A settlement that wraps ErrStale belongs to someone else by now: the old owner's Nack does not deliver it a second time.",
			Needs:    []Need{needLeases},
			run:      func(e *env) { staleSettle(e, driver.Nack) },
		},
		{
			Name:     "stale/hand-back",
			Sentence: "A settlement that wraps ErrStale belongs to someone else by now: the old owner's HandBack does not deliver it a second time.",
			Needs:    []Need{needLeases},
			run:      func(e *env) { staleSettle(e, driver.HandBack) },
		},
		{
			Name:     "stale/batch-names-it",
			Sentence: "A BatchError names the failed indexes of Settle; those that it does not name succeeded.",
			Needs:    []Need{needLeases},
			run:      staleBatch,
		},
		{
			Name:     "stale/extend-tells",
			Sentence: "Extend says which are lost: those that another member has.",
			Needs:    []Need{needLeases},
			run:      staleExtendTells,
		},
		{
			Name:     "stale/extend-names-only-the-lost",
			Sentence: "Extend renews the leases of deliveries and says which are lost.",
			Needs:    []Need{needLeases},
			run:      staleExtendMixed,
		},
		{
			Name:     "stale/extend-takes-nothing-back",
			Sentence: "Extend must never take a delivery back from a new owner.",
			Needs:    []Need{needLeases},
			run:      staleExtendTakesNothing,
		},
		{
			Name:     "stale/extend-holds-nothing",
			Sentence: "Extend must never take a delivery back: the old owner's beat does not renew the new owner's lease.",
			Needs:    []Need{needLeases},
			run:      staleExtendHoldsNothing,
		},
	}
}

// overtaken lets the lease of a's only message end, so that b holds it.
func (e *env) overtaken() (a, b *member, old, held *driver.Message) {
	e.Helper()
	topic, group := e.topic(1), e.group()
	e.publish(topic, e.msg("", "1"))
	a = e.lease(topic, group, 1)
	old = a.takeOne("1")
	b = e.lease(topic, group, 1)
	held = b.takeOne("1")
	return a, b, old, held
}

func staleSettle(e *env, o driver.Outcome) {
	a, b, old, held := e.overtaken()
	stop := b.keep(held)
	err := a.src.Settle(e.ctx(), settlements(o, 0, old))
	e.wantIs(err, driver.ErrStale, "Settle by the old owner")
	a.quiet("the new owner holds it")
	stop()
	b.handBack(held)
	b.ack(b.takeOne("1")) // it is still there to come again
}

func staleBatch(e *env) {
	topic, group := e.topic(1), e.group()
	e.publish(topic, e.numbered("", 1, 2)...)
	a := e.lease(topic, group, 2)
	held := a.take(2)
	stop := a.keep(held[1])
	b := e.lease(topic, group, 2)
	b.ack(b.takeOne(string(held[0].Body)))
	stop()
	err := a.src.Settle(e.ctx(), settlements(driver.Ack, 0, held...))
	var failed driver.BatchError
	if !errors.As(err, &failed) {
		e.Fatalf("Settle of a stale delivery and a good one: %v, want a BatchError", err)
	}
	e.wantIs(failed[0], driver.ErrStale, "index 0 of the batch")
	if len(failed) != 1 {
		e.Errorf("the BatchError names %d settlements, want index 0 only: %v", len(failed), failed)
	}
	b.quietFor(e.h.Lease+e.h.Quiet, "both were acknowledged")
}

func staleExtendTells(e *env) {
	a, b, old, held := e.overtaken()
	stop := b.keep(held)
	lost, err := a.src.Extend(e.ctx(), []driver.Token{old.Token})
	e.mustf(err, "Extend by the old owner")
	if len(lost) != 1 || lost[0] != old.Token {
		e.Errorf("Extend by the old owner says that %v are lost, want its token %v", lost, old.Token)
	}
	stop()
	b.ack(held)
}

func staleExtendMixed(e *env) {
	topic, group := e.topic(1), e.group()
	e.publish(topic, e.numbered("", 1, 2)...)
	a := e.lease(topic, group, 2)
	held := a.take(2)
	stop := a.keep(held[1])
	b := e.lease(topic, group, 2)
	theirs := b.takeOne(string(held[0].Body))
	stopTheirs := b.keep(theirs)
	stop()
	lost, err := a.src.Extend(e.ctx(), tokens(held))
	e.mustf(err, "Extend of a lost delivery and a held one")
	if len(lost) != 1 || lost[0] != held[0].Token {
		e.Errorf("Extend says that %v are lost, want %v only", lost, held[0].Token)
	}
	a.ack(held[1])
	stopTheirs()
	b.ack(theirs)
}

func staleExtendTakesNothing(e *env) {
	a, b, old, held := e.overtaken()
	stop := b.keep(held)
	beat := e.beat(a, old)
	a.quietFor(e.h.Lease/2+e.h.Quiet, "the new owner holds it") // for some beats
	beat()
	stop() // fails if b lost it
	b.ack(held)
	a.quiet("the new owner acknowledged it")
}

// beat extends old for a, whatever Extend says, until the returned function is
// called.
func (e *env) beat(a *member, old *driver.Message) (stop func()) {
	ctx, cancel := context.WithCancel(e.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for pause(ctx, e.h.Lease/5) {
			_, _ = a.src.Extend(ctx, []driver.Token{old.Token})
		}
	}()
	join := func() { cancel(); <-ended }
	e.Cleanup(join)
	return join
}

func staleExtendHoldsNothing(e *env) {
	a, b, old, _ := e.overtaken()
	defer e.beat(a, old)()
	b.ack(b.takeOne("1")) // b let its own lease end
}
