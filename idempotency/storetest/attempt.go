package storetest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/anywire/anywire/idempotency"
)

func attemptCases() []Case {
	return []Case{
		{
			Name:     "attempt/counted",
			Sentence: "Release ends an attempt without success; the next claim acquires the record at once, and knows of it.",
			run:      attemptCounted,
		},
		{
			Name:     "attempt/not-counted",
			Sentence: "Release of what was no attempt counts none.",
			run:      attemptNotCounted,
		},
		{
			Name:     "attempt/release-repeated",
			Sentence: "A store answers a repeated Release as it answered the first, and counts one attempt.",
			run:      attemptRepeated,
		},
		{
			Name:     "attempt/beside-deaths",
			Sentence: "Attempts and deaths are counted over releases and takeovers together.",
			run:      attemptBesideDeaths,
		},
	}
}

func attemptCounted(e *env) {
	c := e.claim("a")
	for attempts := range 4 {
		w := e.process()
		e.wantNumbers(w.acquire(c), attempts, 0, 0)
		w.do(release(c, true))
		c = again(c)
	}
	e.w.acquire(c)
	e.process().busy(again(c))
}

func attemptNotCounted(e *env) {
	c := e.claim("a")
	for i := range 4 {
		e.wantNumbers(e.w.acquire(c), i/2, 0, 0)
		e.w.do(release(c, i%2 == 1))
		c = again(c)
	}
}

func attemptRepeated(e *env) {
	c := e.claim("a")
	e.w.acquire(c)
	e.w.do(release(c, true))
	e.w.do(release(c, true))
	e.process().do(release(c, true))
	e.wantNumbers(e.w.acquire(again(c)), 1, 0, 0)
}

func attemptBesideDeaths(e *env) {
	c := e.claim("a")
	e.w.acquire(c)
	e.w.do(release(c, true))
	c = again(e.brief("a"))
	e.wantNumbers(e.w.acquire(c), 1, 0, 0)
	c = again(e.claim("a"))
	other := e.process()
	e.wantNumbers(other.takeOver(c), 1, 1, 0)
	other.do(release(c, true))
	e.wantNumbers(e.process().acquire(again(c)), 2, 1, 0)
}

func stepCases() []Case {
	return []Case{
		{
			Name:     "step/kept-over-attempts",
			Sentence: "Steps are the results that earlier attempts recorded.",
			run:      stepOverAttempts,
		},
		{
			Name:     "step/kept-over-takeover",
			Sentence: "Steps are kept when their attempt dies.",
			run:      stepOverTakeover,
		},
		{
			Name:     "step/repeated",
			Sentence: "A repeated Remember holds again; one result is kept.",
			run:      stepRepeated,
		},
		{
			Name:     "step/any-bytes",
			Sentence: "Names and results of steps are kept as they are, however they look.",
			run:      stepAnyBytes,
		},
	}
}

func stepOverAttempts(e *env) {
	c := e.claim("a")
	e.w.acquire(c)
	e.w.do(remember(c, "one", "1"))
	e.w.do(remember(c, "two", "2"))
	e.w.do(release(c, true))
	c = again(c)
	e.wantSteps(e.w.acquire(c), "one", "1", "two", "2")
	e.w.do(remember(c, "three", "3"), release(c, false))
	e.wantSteps(e.process().acquire(again(c)), "one", "1", "two", "2", "three", "3")
}

func stepOverTakeover(e *env) {
	c := e.brief("a")
	e.w.acquire(c)
	e.w.do(remember(c, "one", "1"))
	c = again(c)
	other := e.process()
	e.wantSteps(other.takeOver(c), "one", "1")
	other.do(remember(c, "two", "2"))
	e.wantSteps(e.process().takeOver(again(c)), "one", "1", "two", "2")
}

func stepRepeated(e *env) {
	c := e.claim("a")
	e.w.acquire(c)
	e.w.do(remember(c, "one", "1"), remember(c, "one", "1"))
	e.process().do(remember(c, "one", "1"))
	e.w.do(release(c, true))
	e.wantSteps(e.w.acquire(again(c)), "one", "1")
}

func stepAnyBytes(e *env) {
	all := []string{
		"", "without a name", "empty", "", "zero", "\x00", "high", "\xff\xfe\x80", "lines\r\n\"'`;--$1{}", "\r\n\"'",
		"ünd 世界 🙂", `{"a":"ü"}`, strings.Repeat("long", 60), strings.Repeat("x", 64<<10), "a.b:c/d*>e f", "%41%", "1", "2",
	}
	c := e.claim("a")
	e.w.acquire(c)
	var changes []idempotency.Change
	for pair := range slices.Chunk(all, 2) {
		changes = append(changes, remember(c, pair[0], pair[1]))
	}
	for i := range 30 {
		name := fmt.Sprintf("step %d", i)
		all = append(all, name, name)
		changes = append(changes, remember(c, name, name))
	}
	e.w.do(append(changes, release(c, true))...)
	e.wantSteps(e.process().acquire(again(c)), all...)
}

func failureCases() []Case {
	return []Case{
		{
			Name:     "failure/kept",
			Sentence: "Failed: the message failed for good, with the reason that was recorded.",
			run:      failureKept,
		},
		{
			Name:     "failure/repeated",
			Sentence: "A store answers a repeated Fail as it answered the first.",
			run:      failureRepeated,
		},
		{
			Name:     "failure/redriven",
			Sentence: "Redrive opens a failed record whose own is lower: no attempts, no deaths, steps kept.",
			run:      failureRedriven,
		},
		{
			Name:     "failure/not-redriven",
			Sentence: "A failed record stays failed for a message that was not sent again since.",
			run:      failureNotRedriven,
		},
		{
			Name:     "failure/redriven-repeated",
			Sentence: "A store answers a repeated claim of a redriven message as it answered the first.",
			run:      failureRedrivenRepeated,
		},
	}
}

func failureKept(e *env) {
	c := e.claim("a")
	e.w.acquire(c)
	e.w.do(fail(c))
	for _, w := range []*worker{e.w, e.process()} {
		e.wantFailure(w.want(again(c), idempotency.Failed), fail(c))
	}
}

func failureRepeated(e *env) {
	c := e.claim("a")
	e.w.acquire(c)
	e.w.do(fail(c))
	e.w.do(fail(c))
	e.process().do(fail(c))
	e.wantFailure(e.w.want(again(c), idempotency.Failed), fail(c))
}

func failureRedriven(e *env) {
	c := e.brief("a")
	c.Alone = true
	e.w.acquire(c)
	c = again(c)
	e.wantNumbers(e.w.takeOver(c), 1, 1, 1)
	e.w.do(remember(c, "one", "1"), fail(c))
	c = redriven(c, 1)
	v := e.process().acquire(c)
	e.wantNumbers(v, 0, 0, 0)
	e.wantSteps(v, "one", "1")
	e.w.do(release(c, true))
	e.wantNumbers(e.w.acquire(redriven(c, 1)), 1, 0, 0)
}

// failureNotRedriven fails the message in its third life; what was published in
// an earlier one may still arrive.
func failureNotRedriven(e *env) {
	c := redriven(e.claim("a"), 2)
	e.w.acquire(c)
	e.w.do(fail(c))
	for redrive := range 3 {
		e.process().want(redriven(c, redrive), idempotency.Failed)
	}
	c = redriven(c, 3)
	e.w.acquire(c)
	e.w.do(release(c, true))
	c = redriven(c, 0) // an old delivery takes part, and does not turn the number back
	e.w.acquire(c)
	e.w.do(fail(c))
	e.w.want(redriven(c, 3), idempotency.Failed)
	e.w.acquire(redriven(c, 4))
}

func failureRedrivenRepeated(e *env) {
	c := e.claim("a")
	e.w.acquire(c)
	e.w.do(release(c, true))
	c = again(c)
	e.w.acquire(c)
	e.w.do(fail(c))
	c = redriven(c, 1)
	for _, w := range []*worker{e.w, e.w, e.process()} {
		e.wantNumbers(w.acquire(c), 0, 0, 0)
	}
	e.w.do(complete(c))
}
