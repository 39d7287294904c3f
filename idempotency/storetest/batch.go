package storetest

import (
	"errors"
	"fmt"

	"github.com/anywire/anywire/idempotency"
)

// fullBatch is as many items as one call ever has.
const fullBatch = 512

func batchCases() []Case {
	return []Case{
		{
			Name:     "batch/verdicts-in-order",
			Sentence: "Begin answers each claim with a verdict, in order.",
			run:      batchVerdicts,
		},
		{
			Name:     "batch/answers-in-order",
			Sentence: "Update says for each change whether it holds, in order; one that is fenced stops no other.",
			run:      batchAnswers,
		},
		{
			Name:     "batch/scopes",
			Sentence: "The items of one batch may be of several scopes.",
			run:      batchScopes,
		},
		{
			Name:     "batch/one-key-twice",
			Sentence: "Each item is decided atomically, after those before it: of two claims of one key the second is busy.",
			run:      batchTwice,
		},
		{
			Name:     "batch/changes-of-one-record",
			Sentence: "Update makes changes in order where several concern one record.",
			run:      batchChanges,
		},
		{
			Name:     "batch/full",
			Sentence: "A batch of 512 items is one call like any other.",
			run:      batchFull,
		},
		{
			Name:     "batch/empty",
			Sentence: "A batch without items is no error.",
			run:      batchEmpty,
		},
	}
}

func batchVerdicts(e *env) {
	var claims []idempotency.Claim
	var want []idempotency.State
	for i := range 40 {
		for _, p := range phases() {
			c := e.claim(fmt.Sprintf("%s-%d", p.name, i))
			e.w.acquire(c)
			p.reach(e.w, c)
			claims, want = append(claims, again(c)), append(want, p.then)
		}
		claims, want = append(claims, e.claim(fmt.Sprintf("new-%d", i))), append(want, idempotency.Acquired)
	}
	for i, v := range e.process().begin(claims...) {
		if v.State != want[i] {
			e.Errorf("verdict %d is %s, want %s", i, show(v), want[i])
		}
	}
}

func batchAnswers(e *env) {
	claims := e.claims(60)
	e.w.begin(claims...)
	var changes []idempotency.Change
	for i, c := range claims {
		if i%3 == 1 {
			c = again(c)
		}
		changes = append(changes, complete(c, e.output(i)))
	}
	for i, err := range e.w.update(changes...) {
		if wrong := i%3 == 1; wrong != errors.Is(err, idempotency.ErrFenced) || !wrong && err != nil {
			e.Errorf("change %d: error %v, its token holds the record: %v", i, err, !wrong)
		}
	}
	for i, c := range claims {
		if i%3 == 1 {
			e.w.busy(again(c))
		} else {
			e.wantOutputs(e.w.want(again(c), idempotency.Done), e.output(i))
		}
	}
}

func batchScopes(e *env) {
	claims := e.claims(30)
	for i := range claims {
		claims[i].Key.Scope = fmt.Sprintf("%s-%d", e.scope, i%3)
		claims[i].Key.Hash = claims[i/3*3].Key.Hash
	}
	for i, v := range e.w.begin(claims...) {
		if v.State != idempotency.Acquired {
			e.Errorf("claim %d is %s, want acquired", i, show(v))
		}
	}
	var changes []idempotency.Change
	for i, c := range claims {
		changes = append(changes, complete(c, e.output(i)))
	}
	e.w.do(changes...)
	for i, c := range claims {
		e.wantOutputs(e.process().want(again(c), idempotency.Done), e.output(i))
	}
}

func batchTwice(e *env) {
	c, other := e.claim("a"), e.claim("b")
	want := []idempotency.State{
		idempotency.Acquired, idempotency.Acquired, idempotency.Busy, idempotency.Acquired, idempotency.Mismatch,
	}
	mismatch := again(c)
	mismatch.Fingerprint = other.Fingerprint
	for i, v := range e.w.begin(c, other, again(c), c, mismatch) {
		if v.State != want[i] {
			e.Errorf("claim %d is %s, want %s", i, show(v), want[i])
		}
	}
	e.w.do(complete(c), complete(other))
}

func batchChanges(e *env) {
	a, b, c := e.claim("a"), e.claim("b"), e.claim("c")
	e.w.begin(a, b, c)
	e.w.do(
		remember(a, "one", "1"), remember(b, "one", "b"), extend(c), remember(a, "two", "2"), release(a, true),
		complete(b, e.output(0)), complete(c, e.output(1)), settle(b),
	)
	v := e.process().acquire(again(a))
	e.wantNumbers(v, 1, 0, 0)
	e.wantSteps(v, "one", "1", "two", "2")
	e.wantOutputs(e.w.want(again(b), idempotency.Done))
	e.wantOutputs(e.w.want(again(c), idempotency.Done), e.output(1))

	d := e.claim("d")
	e.w.acquire(d)
	errs := e.w.update(release(d, true), complete(d, e.output(0)), release(d, true))
	if errs[0] != nil || !errors.Is(errs[1], idempotency.ErrFenced) || errs[2] != nil {
		e.Errorf("Release, Complete, Release of one record in one batch: errors %v, want only the second, ErrFenced", errs)
	}
	e.wantNumbers(e.w.acquire(again(d)), 1, 0, 0)
}

func batchFull(e *env) {
	claims := e.claims(fullBatch)
	for i, v := range e.w.begin(claims...) {
		if v.State != idempotency.Acquired {
			e.Errorf("claim %d is %s, want acquired", i, show(v))
		}
	}
	changes, settles := make([]idempotency.Change, fullBatch), make([]idempotency.Change, fullBatch)
	for i, c := range claims {
		changes[i], settles[i] = complete(c, e.output(i)), settle(c)
		claims[i] = again(c)
	}
	e.w.do(changes...)
	for i, v := range e.process().begin(claims...) {
		e.wantOutputs(v, e.output(i))
	}
	e.w.do(settles...)
	for i, v := range e.process().begin(claims...) {
		if v.State != idempotency.Done || len(v.Outputs) > 0 {
			e.Errorf("claim %d is %s, want done without outputs", i, show(v))
		}
	}
}

func batchEmpty(e *env) {
	ctx := e.within(e.h.Patience)
	verdicts, err := e.w.store.Begin(ctx, nil)
	if err != nil || len(verdicts) != 0 {
		e.Errorf("Begin of no claims: %d verdicts, error %v", len(verdicts), err)
	}
	errs, err := e.w.store.Update(ctx, nil)
	if err != nil || len(errs) != 0 {
		e.Errorf("Update with no changes: %d answers, error %v", len(errs), err)
	}
}
