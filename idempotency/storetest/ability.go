package storetest

import (
	"errors"
	"fmt"

	"github.com/anywire/anywire/idempotency"
)

func abilityCases() []Case {
	return []Case{
		{
			Name:     "ability/single",
			Sentence: "Single: one call for one item answers as a batch of one does.",
			Needs:    []Need{needSingle},
			run:      abilitySingle,
		},
		{
			Name:     "ability/stats",
			Sentence: "Counter: Stats counts the records that are kept, or says that it does not know.",
			Needs:    []Need{needCounter},
			run:      abilityStats,
		},
		{
			Name:     "ability/close",
			Sentence: "Closer: what one process closes is its own; the records stay for the others.",
			Needs:    []Need{needCloser},
			run:      abilityClose,
		},
		{
			Name:     "ability/broken",
			Sentence: "Broken: a record that is there and cannot be read is refused, not handled; others are not affected.",
			Needs:    []Need{needDamage},
			run:      abilityBroken,
		},
	}
}

func abilitySingle(e *env) {
	s, _ := e.w.store.(idempotency.Single)
	ctx := e.within(e.h.Patience)
	begin := func(c idempotency.Claim) idempotency.Verdict {
		e.Helper()
		v, err := s.BeginOne(ctx, &c)
		e.mustf(err, "BeginOne")
		return v
	}
	update := func(ch idempotency.Change) {
		e.Helper()
		e.mustf(s.UpdateOne(ctx, &ch), "UpdateOne: %s", ch.Op)
	}
	c := e.claim("a")
	if v := begin(c); v.State != idempotency.Acquired {
		e.Fatalf("the claim is %s, want acquired", show(v))
	}
	e.w.busy(again(c))
	wrong := complete(again(c))
	if err := s.UpdateOne(ctx, &wrong); !errors.Is(err, idempotency.ErrFenced) {
		e.Errorf("UpdateOne by a token that does not hold the record: error %v, want ErrFenced", err)
	}
	update(remember(c, "one", "1"))
	update(release(c, true))
	c = again(c)
	v := begin(c)
	e.wantNumbers(v, 1, 0, 0)
	e.wantSteps(v, "one", "1")
	update(complete(c, e.output(0)))
	e.wantOutputs(begin(again(c)), e.output(0))
	e.wantOutputs(e.w.want(again(c), idempotency.Done), e.output(0))
}

// abilityStats cannot know what other cases keep.
func abilityStats(e *env) {
	const n = 50
	claims := e.claims(n)
	e.w.begin(claims...)
	for i, c := range claims {
		if i%2 == 0 {
			e.w.do(complete(c))
		}
	}
	s, _ := e.w.store.(idempotency.Counter)
	if stats := s.Stats(); stats.Records != -1 && stats.Records < n || stats.Window < 0 {
		e.Errorf("%+v, want at least %d records, or -1", stats, n)
	}
}

func abilityClose(e *env) {
	if e.h.InProcess {
		e.skip("needs records that outlive their process")
	}
	c := e.claim("a")
	other := e.process()
	other.acquire(c)
	closer, _ := other.store.(idempotency.Closer)
	e.mustf(closer.Close(e.within(e.h.Patience)), "Close")
	e.w.busy(again(c))
	e.w.do(complete(c, e.output(0)))
	e.wantOutputs(e.process().want(again(c), idempotency.Done), e.output(0))
}

// abilityBroken damages records in different phases.
func abilityBroken(e *env) {
	for i, p := range phases() {
		c, sound := e.claim(p.name), e.claim(fmt.Sprintf("sound-%d", i))
		e.w.begin(c, sound)
		p.reach(e.w, c)
		e.h.Damage(e.TB, c.Key)
		for _, w := range []*worker{e.w, e.process()} {
			verdicts := w.begin(again(c), again(sound))
			if v := verdicts[0]; v.State != idempotency.Broken || !errors.Is(v.Err, idempotency.ErrUnreadable) {
				e.Errorf("%s and then damaged: %s, want broken by ErrUnreadable", p.name, show(v))
			}
			if v := verdicts[1]; v.State != idempotency.Busy {
				e.Errorf("its neighbour is %s, want busy", show(v))
			}
		}
	}
}
