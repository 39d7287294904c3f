package storetest

import (
	"errors"
	"time"

	"github.com/anywire/anywire/idempotency"
)

func restartCases() []Case {
	cases := []Case{
		{
			Name:     "restart/keeps-what-was-answered",
			Sentence: "What the store has answered survives its restart: records of every phase, with all that is in them.",
			run:      restartKeeps,
		},
		{
			Name:     "restart/attempts-go-on",
			Sentence: "An attempt that was under way when the store restarted goes on under its token, over the view that it has.",
			run:      restartGoesOn,
		},
	}
	for i := range cases {
		cases[i].Needs = append(cases[i].Needs, needRestart)
		cases[i].alone = true
	}
	return cases
}

// answered repeats a call until the store answers, as the router does.
func (e *env) answered(call func() error) {
	e.Helper()
	begun := time.Now()
	err := call()
	for err != nil && time.Since(begun) < e.h.Patience {
		e.pause(e.h.Lease / 20)
		err = call()
	}
	e.mustf(err, "the store does not answer %v after its restart", e.h.Patience)
}

func restartKeeps(e *env) {
	held, released, completed := e.claim("held"), e.claim("released"), e.claim("completed")
	settled, failed := e.claim("settled"), e.claim("failed")
	e.w.begin(held, released, completed, settled, failed)
	e.w.do(
		remember(held, "one", "1"), remember(released, "two", "2"), release(released, true),
		complete(completed, e.outputs()...), complete(settled), fail(failed),
	)
	e.h.Restart(e.TB)
	w := e.process()
	e.answered(func() error {
		_, err := w.store.Begin(w.within(w.h.Patience), []idempotency.Claim{again(settled)})
		return err
	})
	w.busy(again(held))
	v := w.acquire(again(released))
	e.wantNumbers(v, 1, 0, 0)
	e.wantSteps(v, "two", "2")
	e.wantOutputs(w.want(again(completed), idempotency.Done), e.outputs()...)
	e.wantOutputs(w.want(again(settled), idempotency.Done))
	e.wantFailure(w.want(again(failed), idempotency.Failed), fail(failed))
	w.do(release(held, true))
	e.wantSteps(w.acquire(again(held)), "one", "1")
}

func restartGoesOn(e *env) {
	c := e.claim("a")
	e.w.acquire(c)
	e.h.Restart(e.TB)
	e.answered(func() error {
		errs, err := e.w.store.Update(e.w.within(e.h.Patience), []idempotency.Change{extend(c)})
		return errors.Join(append(errs, err)...)
	})
	e.w.do(complete(c, e.output(0)))
	e.wantOutputs(e.process().want(again(c), idempotency.Done), e.output(0))
}
