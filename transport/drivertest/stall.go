package drivertest

import (
	"context"
	"errors"
	"sync"

	"github.com/anywire/anywire/transport/driver"
)

// stallCases are what the cases named stale prove for drivers whose deliveries
// end with time: here they end with the membership.
func stallCases() []Case {
	needs := []Need{needOwnsShards, needStall}
	return []Case{
		{
			Name:     "stall/taken-over",
			Sentence: "OwnsShards: the broker gives the shards of a member that stands still to another, with what it held.",
			Needs:    needs,
			run:      func(e *env) { _, b, _, held, _ := e.cutOff(); b.ack(held) },
		},
		{
			Name:     "stall/settle",
			Sentence: "A settlement that wraps ErrStale belongs to someone else by now: that of a member which stood still takes nothing from the new owner.",
			Needs:    needs,
			run:      stallSettle,
		},
		{
			Name:     "stall/extend-tells",
			Sentence: "Extend says which are lost: also to a member that stood still.",
			Needs:    needs,
			run:      stallExtendTells,
		},
		{
			Name:     "stall/extend-knows-nothing",
			Sentence: "Extend: nil means that the broker confirmed: a member that stands still is told an error at the latest when another has its deliveries.",
			Needs:    needs,
			run:      stallExtendKnowsNothing,
		},
	}
}

// cutOff lets the process of a stand still, so that b holds its only message.
func (e *env) cutOff() (a, b *member, old, held *driver.Message, resume func()) {
	e.Helper()
	topic, group := e.topic(1), e.group()
	e.publish(topic, e.msg("", "1"))
	d := e.open()
	a = e.subscribeOn(d, e.leasedReader(topic, group, 0))
	old = a.takeOne("1")
	a.receiving(e.ctx()) // it goes on as the engine does
	resume = sync.OnceFunc(e.h.Stall(e.TB, d))
	e.Cleanup(resume) // before anything is closed
	b = e.subscribe(e.leasedReader(topic, group, 0))
	held = b.takeOne("1")
	return a, b, old, held, resume
}

func stallSettle(e *env) {
	a, b, old, held, resume := e.cutOff()
	resume()
	var err error
	e.eventually("the settlement of the old owner ends", func(ctx context.Context) bool {
		err = a.src.Settle(ctx, settlements(driver.Ack, 0, old))
		return err == nil || errors.Is(err, driver.ErrStale)
	})
	e.wantIs(err, driver.ErrStale, "Settle by the old owner")
	b.handBack(held)
	b.ack(b.takeOne("1")) // it is still there to come again
}

func stallExtendTells(e *env) {
	a, b, old, held, resume := e.cutOff()
	resume()
	e.eventually("Extend by the old owner says that its delivery is lost", func(ctx context.Context) bool {
		lost, err := a.src.Extend(ctx, []driver.Token{old.Token})
		return err == nil && len(lost) == 1 && lost[0] == old.Token
	})
	b.ack(held)
}

func stallExtendKnowsNothing(e *env) {
	a, b, old, held, _ := e.cutOff()
	for range 3 {
		lost, err := a.src.Extend(e.within(e.h.Quiet), []driver.Token{old.Token})
		if err == nil && len(lost) == 0 {
			e.Fatalf("Extend says that the broker confirmed, and another member has the delivery")
		}
	}
	b.ack(held)
}
