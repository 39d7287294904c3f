package storetest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/idempotency"
)

func claimCases() []Case {
	return []Case{
		{
			Name:     "claim/first-acquires",
			Sentence: "The first claim of a message acquires its record, without attempts, deaths and steps.",
			run:      claimFirst,
		},
		{
			Name:     "claim/second-is-busy",
			Sentence: "Busy: another attempt holds the record, in this process or another.",
			run:      claimSecond,
		},
		{
			Name:     "claim/until",
			Sentence: "Until is the longest time until the holder's lease ends: more than 0, at most the lease.",
			run:      claimUntil,
		},
		{
			Name:     "claim/repeated",
			Sentence: "A store answers a repeated claim as it answered the first: acquired, with the same numbers.",
			run:      claimRepeated,
		},
		{
			Name:     "claim/other-keys",
			Sentence: "Records of different messages do not touch each other.",
			run:      claimOtherKeys,
		},
		{
			Name:     "claim/other-scopes",
			Sentence: "Records of one message in different scopes do not touch each other.",
			run:      claimOtherScopes,
		},
		{
			Name:     "claim/context",
			Sentence: "Begin blocks until the store has answered or ctx ends; the claim can be repeated.",
			run:      claimContext,
		},
	}
}

func claimFirst(e *env) {
	v := e.w.acquire(e.claim("a"))
	e.wantNumbers(v, 0, 0, 0)
	e.wantSteps(v)
}

func claimSecond(e *env) {
	c := e.claim("a")
	e.w.acquire(c)
	e.w.busy(again(c))
	other := e.process()
	other.busy(again(c))
	other.busy(again(c))
	e.w.do(extend(c))
}

func claimUntil(e *env) {
	c := e.claim("a")
	c.Lease = e.h.Patience
	e.w.acquire(c)
	for _, w := range []*worker{e.w, e.process()} {
		longer := again(c)
		longer.Lease = e.h.never()
		if until := w.busy(longer); until > c.Lease || until < c.Lease/2 {
			e.Errorf("busy until %v from now, want not much less than %v, and not more", until, c.Lease)
		}
	}
}

// claimRepeated makes the numbers differ from those of a new record first.
func claimRepeated(e *env) {
	c := e.claim("a")
	e.w.acquire(c)
	e.w.do(remember(c, "step", "1"), release(c, true))
	c = again(c)
	for _, w := range []*worker{e.w, e.w, e.process()} {
		v := w.acquire(c)
		e.wantNumbers(v, 1, 0, 0)
		e.wantSteps(v, "step", "1")
	}
	e.process().busy(again(c))
	e.w.do(complete(c))
}

func claimOtherKeys(e *env) {
	in := &envelope.Envelope{Source: "/s", ID: "1", Type: "storetest.message", SchemaVersion: 1}
	same := &envelope.Envelope{Source: "/s", ID: "2", Type: "storetest.message", SchemaVersion: 1}
	claims := e.claims(20)
	for _, key := range []idempotency.Key{
		idempotency.KeyOf(e.scope, in), idempotency.KeyOf(e.scope, same),
		idempotency.NamedKey(e.scope, in.Type, "1"), idempotency.NamedKey(e.scope, "storetest.other", "1"),
	} {
		c := e.claim("")
		c.Key = key
		claims = append(claims, c)
	}
	for i, c := range claims {
		e.wantNumbers(e.w.acquire(c), 0, 0, 0)
		if i%2 == 0 {
			e.w.do(complete(c))
		}
	}
	for i, c := range claims {
		if i%2 == 0 {
			e.process().want(again(c), idempotency.Done)
		} else {
			e.process().busy(again(c))
		}
	}
}

func claimOtherScopes(e *env) {
	first := e.claim("a")
	all := []idempotency.Claim{first}
	for _, scope := range []string{e.scope + "x", e.scope + "/a", "x" + e.scope, e.unique()} {
		c := again(first)
		c.Key.Scope = scope
		c.Fingerprint = sha256.Sum256([]byte(scope))
		all = append(all, c)
	}
	for _, c := range all {
		e.w.acquire(c)
	}
	e.w.do(complete(all[0]))
	e.w.want(again(all[0]), idempotency.Done)
	for _, c := range all[1:] {
		e.w.busy(again(c))
		e.w.do(release(c, true))
		e.wantNumbers(e.w.acquire(again(c)), 1, 0, 0)
	}
}

func claimContext(e *env) {
	c := e.claim("a")
	ctx, cancel := context.WithCancel(e.Context())
	cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := e.w.store.Begin(ctx, []idempotency.Claim{c})
		ended <- err
	}()
	select {
	case err := <-ended:
		e.Logf("Begin under a context that has ended: %v", err)
	case <-e.within(e.h.Patience).Done():
		e.Fatalf("Begin did not return within %v after its context had ended", e.h.Patience)
	}
	e.w.acquire(c)
	e.w.do(complete(c))
}

// phases are ways to bring a record into each of its phases.
func phases() []phase {
	return []phase{
		{"in-progress", func(*worker, idempotency.Claim) {}, idempotency.Busy},
		{"released", func(w *worker, c idempotency.Claim) { w.do(release(c, true)) }, idempotency.Acquired},
		{"completed", func(w *worker, c idempotency.Claim) { w.do(complete(c, w.output(0))) }, idempotency.Done},
		{"settled", func(w *worker, c idempotency.Claim) { w.do(complete(c)) }, idempotency.Done},
		{"failed", func(w *worker, c idempotency.Claim) { w.do(fail(c)) }, idempotency.Failed},
	}
}

type phase struct {
	name  string
	reach func(w *worker, c idempotency.Claim)
	then  idempotency.State // what the message's next claim is
}

func mismatchCases() []Case {
	var all []Case
	for _, p := range phases() {
		all = append(all, Case{
			Name: "mismatch/" + p.name,
			Sentence: fmt.Sprintf(
				"Mismatch: the key belongs to a message with another fingerprint; the record (here: %s) stays as it is.", p.name),
			run: func(e *env) { mismatch(e, p) },
		})
	}
	return all
}

func mismatch(e *env, p phase) {
	c := e.claim("a")
	e.w.acquire(c)
	p.reach(e.w, c)
	for _, w := range []*worker{e.w, e.process()} {
		other := redriven(c, 3)
		other.Fingerprint = sha256.Sum256([]byte("another body"))
		v := w.want(other, idempotency.Mismatch)
		if half := len(v.Fingerprint) / 2; [16]byte(v.Fingerprint[:half]) != [16]byte(c.Fingerprint[:half]) {
			e.Errorf("the verdict's fingerprint is %x, want that of the record: %x", v.Fingerprint, c.Fingerprint)
		}
		for _, err := range w.update(release(other, true), complete(other)) {
			if !errors.Is(err, idempotency.ErrFenced) {
				e.Errorf("a change by the refused claim: error %v, want ErrFenced", err)
			}
		}
	}
	e.w.want(again(c), p.then)
}
