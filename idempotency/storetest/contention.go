package storetest

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anywire/anywire/idempotency"
)

// rivals is how many goroutines want the same records, over how many processes.
const (
	rivals    = 32
	processes = 4
)

func contentionCases() []Case {
	return []Case{
		{
			Name:     "contention/one-acquires",
			Sentence: "Of all who claim a record at once exactly one acquires it; when it has completed, the others learn of it.",
			run:      contentionOne,
		},
		{
			Name:     "contention/never-two",
			Sentence: "Between an acquisition and its end nobody else acquires the record; every attempt is counted once.",
			run:      contentionNeverTwo,
		},
		{
			Name:     "contention/one-takes-over",
			Sentence: "Of all who wait for a dead attempt's record exactly one takes it over.",
			run:      contentionTakeover,
		},
		{
			Name:     "contention/steps",
			Sentence: "Changes that one attempt makes at once, steps and extensions, all hold.",
			run:      contentionSteps,
		},
		{
			Name:     "contention/batches",
			Sentence: "Batches that overlap in any order are decided, item by item.",
			run:      contentionBatches,
		},
	}
}

// together runs fn in many goroutines, a process each. What fn reports with
// Errorf is the case's; it must not end the test.
func (e *env) together(fn func(i int, r *rival)) {
	e.Helper()
	workers := make([]*worker, processes)
	for i := range workers {
		workers[i] = e.process()
	}
	var all sync.WaitGroup
	for i := range rivals {
		all.Go(func() { fn(i, &rival{workers[i%processes], rand.New(rand.NewPCG(1, uint64(i)))}) })
	}
	all.Wait()
}

// rival is one goroutine of a process.
type rival struct {
	*worker

	rand *rand.Rand
}

// begin is the verdict on one claim; unknown where the store did not answer.
func (r *rival) begin(c idempotency.Claim) idempotency.Verdict {
	verdicts, err := r.store.Begin(r.within(r.h.Patience), []idempotency.Claim{c})
	if err != nil || len(verdicts) != 1 {
		r.Errorf("Begin: %d verdicts, error %v", len(verdicts), err)
		return idempotency.Verdict{}
	}
	return verdicts[0]
}

func (r *rival) update(ch idempotency.Change) {
	errs, err := r.store.Update(r.within(r.h.Patience), []idempotency.Change{ch})
	if err == nil && len(errs) > 0 {
		err = errs[0]
	}
	if err != nil {
		r.Errorf("%s: %v", ch.Op, err)
	}
}

// rest is a short pause.
func (r *rival) rest() {
	timer := time.NewTimer(time.Duration(r.rand.IntN(2000)) * time.Microsecond)
	defer timer.Stop()
	<-timer.C
}

func contentionOne(e *env) {
	const keys = 12
	claims := e.claims(keys)
	var acquired [keys]atomic.Int32
	e.together(func(i int, r *rival) {
		for _, k := range r.rand.Perm(keys) {
			c := again(claims[k])
			for begun := time.Now(); ; r.rest() {
				v := r.begin(c)
				if v.State == idempotency.Acquired {
					acquired[k].Add(1)
					r.update(complete(c, r.output(k)))
				}
				if v.State == idempotency.Done {
					r.sees(k, v)
					break
				}
				if v.State != idempotency.Busy && v.State != idempotency.Acquired || time.Since(begun) > r.h.Patience {
					r.Errorf("goroutine %d, record %d: %s after %v", i, k, show(v), time.Since(begun))
					return
				}
			}
		}
	})
	for k := range acquired {
		if n := acquired[k].Load(); n != 1 {
			e.Errorf("record %d was acquired %d times, want once", k, n)
		}
	}
}

// sees checks what a duplicate is told.
func (r *rival) sees(k int, v idempotency.Verdict) {
	if len(v.Outputs) != 1 || v.Outputs[0].ID != r.output(k).ID {
		r.Errorf("record %d: %s, want the output of the one that acquired it", k, show(v))
	}
}

// contentionNeverTwo has each goroutine make one attempt at each record.
func contentionNeverTwo(e *env) {
	const keys = 4
	claims := e.claims(keys)
	var holders, attempts [keys]atomic.Int32
	e.together(func(i int, r *rival) {
		for _, k := range r.rand.Perm(keys) {
			c := again(claims[k])
			v := r.begin(c)
			for begun := time.Now(); v.State == idempotency.Busy && time.Since(begun) < r.h.Patience; v = r.begin(c) {
				r.rest()
			}
			if v.State != idempotency.Acquired {
				r.Errorf("goroutine %d, record %d: %s, want acquired in the end", i, k, show(v))
				return
			}
			if n := holders[k].Add(1); n != 1 {
				r.Errorf("record %d has %d holders", k, n)
			}
			if n := attempts[k].Load(); int(n) != v.Attempts {
				r.Errorf("record %d: the claim knows of %d attempts, want %d", k, v.Attempts, n)
			}
			attempts[k].Add(1)
			holders[k].Add(-1)
			r.update(release(c, true))
		}
	})
	for k, c := range claims {
		e.wantNumbers(e.w.acquire(again(c)), int(attempts[k].Load()), 0, 0)
	}
}

func contentionTakeover(e *env) {
	c := e.brief("a")
	e.w.acquire(c)
	begun := time.Now()
	var acquired atomic.Int32
	e.together(func(_ int, r *rival) {
		next := again(c)
		next.Lease = r.h.never()
		for acquired.Load() == 0 && time.Since(begun) < r.h.Patience {
			if v := r.begin(next); v.State == idempotency.Acquired {
				acquired.Add(1)
				if v.Deaths != 1 {
					r.Errorf("%s, want one death", show(v))
				}
			}
			r.rest()
		}
		if v := r.begin(again(c)); v.State != idempotency.Busy {
			r.Errorf("after the takeover the claim is %s, want busy", show(v))
		}
	})
	if n := acquired.Load(); n != 1 {
		e.Errorf("the record was taken over %d times, want once", n)
	}
	e.wantNotBefore(begun, e.h.Lease)
}

func contentionSteps(e *env) {
	c := e.claim("a")
	e.w.acquire(c)
	var pairs []string
	for i := range rivals {
		name := fmt.Sprintf("step %d", i)
		pairs = append(pairs, name, name)
	}
	e.together(func(i int, r *rival) {
		r.update(remember(c, pairs[2*i], pairs[2*i]))
		r.update(extend(c))
	})
	e.w.do(release(c, true))
	e.wantSteps(e.w.acquire(again(c)), pairs...)
}

// contentionBatches claims the same records in batches of different order: a
// store that locks more than one at a time must not wait for itself.
func contentionBatches(e *env) {
	const keys = 64
	claims := e.claims(keys)
	var acquired [keys]atomic.Int32
	e.together(func(i int, r *rival) {
		batch, order := make([]idempotency.Claim, keys), r.rand.Perm(keys)
		for at, k := range order {
			batch[at] = again(claims[k])
		}
		verdicts, err := r.store.Begin(r.within(r.h.Patience), batch)
		if err != nil || len(verdicts) != keys {
			r.Errorf("goroutine %d: %d verdicts, error %v", i, len(verdicts), err)
			return
		}
		var changes []idempotency.Change
		for at, v := range verdicts {
			if v.State == idempotency.Acquired {
				acquired[order[at]].Add(1)
				changes = append(changes, complete(batch[at], r.output(order[at])))
			}
		}
		errs, err := r.store.Update(r.within(r.h.Patience), changes)
		for _, each := range errs {
			if each != nil {
				err = each
			}
		}
		if err != nil {
			r.Errorf("goroutine %d: completing %d records: %v", i, len(changes), err)
		}
	})
	for k := range acquired {
		if n := acquired[k].Load(); n != 1 {
			e.Errorf("record %d was acquired %d times, want once", k, n)
		}
		e.wantOutputs(e.w.want(again(claims[k]), idempotency.Done), e.output(k))
	}
}
