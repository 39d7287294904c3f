package drivertest

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/anywire/anywire/transport/driver"
)

func settleCases() []Case {
	return []Case{
		{
			Name:     "settle/ack",
			Sentence: "Ack: it is done, for this group.",
			run:      settleAck,
		},
		{
			Name:     "settle/any-order",
			Sentence: "Settle ends deliveries, in any order: what is acknowledged is done though earlier messages are not.",
			run:      settleAnyOrder,
		},
		{
			Name:     "settle/nack",
			Sentence: "Nack: deliver it again, to any member, after Delay; without one at once.",
			run:      func(e *env) { settleGivesBack(e, driver.Nack) },
		},
		{
			Name:     "settle/hand-back",
			Sentence: "HandBack: deliver it again at once; it was never started.",
			run:      func(e *env) { settleGivesBack(e, driver.HandBack) },
		},
		{
			Name:     "settle/gives-back-to-any-member",
			Sentence: "Nack: deliver it again, to any member: also to the one that is left.",
			run:      settleGivesBackToOther,
		},
		{
			Name:     "settle/nack-delay",
			Sentence: "DelayedNack: Settlement.Delay is honoured.",
			Needs:    []Need{needDelayedNack},
			run:      func(e *env) { settleNackDelay(e, e.h.never(), 2*e.h.Quiet) },
		},
		{
			Name:     "settle/nack-delay-beyond-lease",
			Sentence: "DelayedNack: Settlement.Delay is honoured, also where it is longer than the lease.",
			Needs:    []Need{needDelayedNack},
			run:      func(e *env) { settleNackDelay(e, e.h.Lease, 2*e.h.Lease) },
		},
		{
			Name:     "settle/nack-delay-holds-nobody-up",
			Sentence: "Nack with Delay: the delivery waits by itself; other messages come.",
			Needs:    []Need{needDelayedNack},
			run:      settleNackDelayAlone,
		},
		{
			Name:     "settle/nack-delays-differ",
			Sentence: "DelayedNack: Settlement.Delay is honoured for each: the shorter comes first.",
			Needs:    []Need{needDelayedNack},
			run:      settleNackDelaysDiffer,
		},
		{
			Name:     "settle/mixed-batch",
			Sentence: "Settlement ends one delivery: each of a call by its own outcome.",
			run:      settleMixed,
		},
		{
			Name:     "settle/large-batch",
			Sentence: "Settle ends deliveries and returns when the broker has confirmed, however many.",
			run:      settleLarge,
		},
		{
			Name:     "settle/empty-batch",
			Sentence: "Settle of nothing and Extend of nothing succeed.",
			run:      settleEmpty,
		},
		{
			Name:     "settle/twice",
			Sentence: "A settlement of what is settled fails with ErrStale or does nothing.",
			run:      settleTwice,
		},
		{
			Name:     "settle/ack-is-final",
			Sentence: "Ack: it is done: no later settlement of its token brings it back.",
			run:      settleAckFinal,
		},
		{
			Name:     "settle/extend-after-ack",
			Sentence: "Ack: it is done: Extend of its token brings nothing back.",
			run:      settleExtendAfterAck,
		},
		{
			Name:     "settle/beside-blocked-receive",
			Sentence: "Settle may be called while Receive runs: it does not wait for it.",
			run:      settleBesideBlockedReceive,
		},
		{
			Name:     "settle/cancelled",
			Sentence: "Settle returns nil only when the broker has confirmed, or the driver cannot tell that it has not.",
			run:      settleCancelled,
		},
		{
			Name:     "settle/of-a-closed-source",
			Sentence: "Close leaves the group: a later Settle of the source takes nothing from the new owner.",
			run:      settleClosedSource,
		},
	}
}

func settleAck(e *env) {
	topic, group := e.topic(1), e.group()
	other := e.join(topic, e.group())
	m := e.join(topic, group)
	e.publish(topic, e.numbered("", 1, 5)...)
	m.gather(numbers(1, 5)...)
	m.quiet("everything was acknowledged")
	m.close()
	e.join(topic, group).quiet("the group has acknowledged everything")
	other.gather(numbers(1, 5)...)
}

func settleAnyOrder(e *env) {
	topic, group := e.topic(1), e.group()
	e.publish(topic, e.numbered("", 1, 5)...)
	a := e.lease(topic, group, 5)
	held := a.take(5)
	a.ack(held[3], held[1])
	a.close()
	b := e.lease(topic, group, 5)
	got := b.gather(string(held[0].Body), string(held[2].Body), string(held[4].Body))
	if len(got) != 3 {
		e.Errorf("received %v, want the three that were not acknowledged, once", got)
	}
	b.quiet("everything was acknowledged")
}

func settleGivesBack(e *env, o driver.Outcome) {
	topic := e.topic(1)
	want := e.msg("key", "1")
	e.publish(topic, want)
	m := e.join(topic, e.group()) // its lease does not end: the settlement brings it back
	first := m.takeOne("1")
	m.settle(o, 0, first)
	again := m.take(1)[0]
	e.wantSame(again, want)
	m.ack(again)
	m.quiet("it was acknowledged")
}

func settleGivesBackToOther(e *env) {
	topic, group := e.topic(1), e.group()
	e.publish(topic, e.numbered("", 1, 2)...)
	a := e.join(topic, group)
	held := a.take(2)
	a.nack(0, held[0])
	a.handBack(held[1])
	a.close()
	e.join(topic, group).gather("1", "2")
}

// settleNackDelay counts from before the settlement, so a fast broker is never
// taken for one that is early.
func settleNackDelay(e *env, lease, delay time.Duration) {
	topic := e.topic(1)
	e.publish(topic, e.msg("", "1"))
	s := e.subscription(topic, e.group())
	s.Lease = lease
	m := e.subscribe(s)
	first := m.takeOne("1")
	start := time.Now()
	m.nack(delay, first)
	m.ack(m.takeOne("1"))
	e.wantNotBefore(start, delay)
}

// wantNotBefore leaves a tenth for the grain of the broker's clock.
func (e *env) wantNotBefore(start time.Time, d time.Duration) {
	e.Helper()
	if took := time.Since(start); took < d-d/10 {
		e.Errorf("it came after %v, want not before %v", took, d)
	}
}

func settleNackDelayAlone(e *env) {
	topic := e.topic(1)
	e.publish(topic, e.numbered("", 1, 2)...)
	m := e.join(topic, e.group())
	m.nack(e.h.never(), m.takeOne("1"))
	m.ack(m.takeOne("2"))
	e.publish(topic, e.msg("", "3"))
	m.ack(m.takeOne("3"))
}

func settleNackDelaysDiffer(e *env) {
	topic := e.topic(1)
	e.publish(topic, e.numbered("", 1, 3)...)
	m := e.join(topic, e.group())
	held := m.take(3)
	e.mustf(m.src.Settle(e.ctx(), []driver.Settlement{
		{Token: held[0].Token, Outcome: driver.Nack, Delay: 6 * e.grain()},
		{Token: held[1].Token, Outcome: driver.Nack, Delay: 2 * e.grain()},
		{Token: held[2].Token, Outcome: driver.Nack},
	}), "Settle")
	for _, i := range []int{2, 1, 0} {
		m.ack(m.takeOne(string(held[i].Body)))
	}
}

// grain is a time that delays can differ by: copies wait in steps of a second.
func (e *env) grain() time.Duration {
	if e.caps.DelaysByCopy {
		return max(time.Second, e.h.Quiet)
	}
	return e.h.Quiet
}

func settleMixed(e *env) {
	topic, group := e.topic(1), e.group()
	e.publish(topic, e.numbered("", 1, 6)...)
	m := e.join(topic, group)
	held := m.take(6)
	var s []driver.Settlement
	var back []string
	for i, msg := range held {
		o := []driver.Outcome{driver.Ack, driver.Nack, driver.HandBack}[i%3]
		s = append(s, driver.Settlement{Token: msg.Token, Outcome: o})
		if o != driver.Ack {
			back = append(back, string(msg.Body))
		}
	}
	e.mustf(m.src.Settle(e.ctx(), s), "Settle")
	m.gather(back...)
	m.quiet("everything was acknowledged")
}

func settleLarge(e *env) {
	const n = 600
	e.holds(n)
	topic, group := e.topic(1), e.group()
	e.publish(topic, e.numbered("", 1, n)...)
	s := e.subscription(topic, group)
	s.Window = n
	m := e.subscribe(s)
	m.ack(m.take(n)...)
	m.close()
	e.join(topic, group).quiet("everything was acknowledged")
}

func settleEmpty(e *env) {
	m := e.join(e.topic(1), e.group())
	e.mustf(m.src.Settle(e.ctx(), nil), "Settle of nothing")
	lost, err := m.src.Extend(e.ctx(), nil)
	e.mustf(err, "Extend of nothing")
	if len(lost) > 0 {
		e.Errorf("Extend of nothing says that %d are lost", len(lost))
	}
}

func settleTwice(e *env) {
	topic := e.topic(1)
	e.publish(topic, e.numbered("", 1, 2)...)
	m := e.join(topic, e.group())
	held := m.take(2)
	m.ack(held[0])
	e.wantNilOrStale(m.src.Settle(e.ctx(), settlements(driver.Ack, 0, held...)))
	m.quiet("everything was acknowledged")
}

// wantNilOrStale also wants every failed index to be stale.
func (e *env) wantNilOrStale(err error) {
	e.Helper()
	if failed, ok := errors.AsType[driver.BatchError](err); ok {
		for i, err := range failed {
			e.wantIs(err, driver.ErrStale, "Settle of index "+numbers(i, i)[0])
		}
		return
	}
	if err != nil {
		e.wantIs(err, driver.ErrStale, "Settle of a settled delivery")
	}
}

func settleAckFinal(e *env) {
	topic := e.topic(1)
	e.publish(topic, e.numbered("", 1, 2)...)
	m := e.lease(topic, e.group(), 2)
	held := m.take(2)
	m.ack(held...)
	e.wantNilOrStale(m.src.Settle(e.ctx(), settlements(driver.Nack, 0, held[0])))
	e.wantNilOrStale(m.src.Settle(e.ctx(), settlements(driver.HandBack, 0, held[1])))
	m.quiet("it was acknowledged before it was given back")
}

func settleExtendAfterAck(e *env) {
	topic := e.topic(1)
	e.publish(topic, e.msg("", "1"))
	m := e.lease(topic, e.group(), 1)
	held := m.take(1)
	m.ack(held...)
	_, err := m.src.Extend(e.ctx(), tokens(held))
	e.mustf(err, "Extend of a settled delivery")
	m.quietFor(e.h.Lease+e.h.Quiet, "it was acknowledged")
}

func settleBesideBlockedReceive(e *env) {
	topic := e.topic(1)
	e.publish(topic, e.numbered("", 1, 2)...)
	m := e.join(topic, e.group())
	held := m.take(2)
	done := m.receiving(e.ctx())
	e.wantBlocked(done, "both messages are held")
	m.ack(held[0])
	e.wantBlocked(done, "the other message is held")
	m.handBack(held[1])
	a := e.wantAnswer(done, "a message was handed back")
	e.mustf(a.err, "Receive")
	if got := bodies(a.msgs); !slices.Equal(got, bodies(held[1:])) {
		e.Errorf("received %v, want the one that was handed back", got)
	}
}

// settleCancelled settles once more after a failure: either one must hold.
func settleCancelled(e *env) {
	topic, group := e.topic(1), e.group()
	e.publish(topic, e.msg("", "1"))
	m := e.lease(topic, group, 1)
	held := m.takeOne("1")
	ctx, cancel := context.WithCancel(e.ctx())
	cancel()
	if err := m.src.Settle(ctx, settlements(driver.Ack, 0, held)); err != nil {
		e.wantIs(err, context.Canceled, "Settle with a ctx that had ended")
		e.wantNilOrStale(m.src.Settle(e.ctx(), settlements(driver.Ack, 0, held)))
	}
	m.close()
	e.lease(topic, group, 1).quietFor(e.h.Lease+e.h.Quiet, "it was acknowledged")
}

func settleClosedSource(e *env) {
	topic, group := e.topic(1), e.group()
	e.publish(topic, e.msg("", "1"))
	a := e.lease(topic, group, 1)
	old := a.takeOne("1")
	a.close()
	b := e.join(topic, group)
	held := b.takeOne("1")
	if err := a.src.Settle(e.ctx(), settlements(driver.Ack, 0, old)); err == nil {
		e.Errorf("Settle of a closed source succeeded, though another member owns the delivery")
	}
	b.handBack(held)
	b.ack(b.takeOne("1"))
}
