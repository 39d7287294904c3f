package storetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/idempotency"
)

// env is what one case works with.
type env struct {
	testing.TB

	h       Harness
	name    string
	skipped string // why, once it is

	scope string
	only  idempotency.Store // of a harness that is in process
	w     *worker           // the first process
}

// start opens the store, decides whether the case applies, and runs it.
func (e *env) start(c Case) {
	e.Helper()
	if reason, ok := e.h.Skip[c.Name]; ok {
		e.skip("known: " + reason)
	}
	e.scope = e.unique()
	e.w = e.process()
	if n := e.h.unmet(c.Needs, e.w.store); n != "" {
		e.skip("needs " + string(n))
	}
	c.run(e)
}

func (e *env) skip(reason string) {
	e.Helper()
	e.skipped = reason
	e.Skipf("%s skipped: %s", e.name, reason)
}

// unique makes a scope that nobody else uses, spelled as the router spells its
// own.
func (e *env) unique() string {
	group := strings.NewReplacer("/", ".").Replace(e.name) + "-" + strings.ToLower(rand.Text()[:10])
	return idempotency.ScopeOf("storetest", group)
}

// within is a context that ends after d, or with the test.
func (e *env) within(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(e.Context(), d)
	e.Cleanup(cancel)
	return ctx
}

func (e *env) mustf(err error, format string, args ...any) {
	e.Helper()
	if err != nil {
		e.Fatalf("%s: %v", fmt.Sprintf(format, args...), err)
	}
}

// pause lets time go by.
func (e *env) pause(d time.Duration) {
	e.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-e.Context().Done():
		e.Fatalf("the test ended while it waited: %v", e.Context().Err())
	}
}

// wantNotBefore fails when less than d has passed since start.
func (e *env) wantNotBefore(start time.Time, d time.Duration) {
	e.Helper()
	if took := time.Since(start); took < d-d/20 {
		e.Errorf("it came after %v, want not before %v", took, d)
	}
}

// key names a message of the case's scope.
func (e *env) key(name string) idempotency.Key {
	return idempotency.NamedKey(e.scope, "storetest.message", name)
}

// claim is a first delivery of the message of that name, under a lease that does
// not end within the case.
func (e *env) claim(name string) idempotency.Claim {
	return idempotency.Claim{
		Key: e.key(name), Fingerprint: sha256.Sum256([]byte(name)), Token: idempotency.NewToken(),
		Lease: e.h.never(), TTL: e.h.Keep,
	}
}

// brief is like claim, under the shortest lease.
func (e *env) brief(name string) idempotency.Claim {
	c := e.claim(name)
	c.Lease = e.h.Lease
	return c
}

// claims are n of different messages.
func (e *env) claims(n int) []idempotency.Claim {
	all := make([]idempotency.Claim, n)
	for i := range all {
		all[i] = e.claim(fmt.Sprintf("message-%d", i))
	}
	return all
}

// again is another delivery of the message of c.
func again(c idempotency.Claim) idempotency.Claim {
	c.Token = idempotency.NewToken()
	return c
}

// redriven is the message of c as an operator sent it for the nth time.
func redriven(c idempotency.Claim, n int) idempotency.Claim {
	c = again(c)
	c.Redrive = n
	return c
}

// change is one under the token of c that keeps lease and TTL.
func change(c idempotency.Claim, op idempotency.Op) idempotency.Change {
	return idempotency.Change{Key: c.Key, Token: c.Token, Op: op, Lease: c.Lease, TTL: c.TTL}
}

func extend(c idempotency.Claim) idempotency.Change { return change(c, idempotency.Extend) }

func settle(c idempotency.Claim) idempotency.Change { return change(c, idempotency.Settle) }

func remember(c idempotency.Claim, step, value string) idempotency.Change {
	ch := change(c, idempotency.Remember)
	ch.Step, ch.Value = step, []byte(value)
	return ch
}

func complete(c idempotency.Claim, outputs ...*envelope.Envelope) idempotency.Change {
	ch := change(c, idempotency.Complete)
	ch.Outputs, ch.Took = outputs, took
	return ch
}

func release(c idempotency.Claim, counted bool) idempotency.Change {
	ch := change(c, idempotency.Release)
	ch.Counted = counted
	return ch
}

func fail(c idempotency.Claim) idempotency.Change {
	ch := change(c, idempotency.Fail)
	ch.Failure = &idempotency.Failure{Reason: envelope.Exhausted, Message: "the reason: \"no\" – ünd\nmore", Attempts: 7}
	return ch
}

// took is how long the handlers of the suite run.
const took = 1500 * time.Millisecond

// worker is a process with its view of the store.
type worker struct {
	*env

	store idempotency.Store
}

// process starts a further one.
func (e *env) process() *worker {
	e.Helper()
	if e.only == nil {
		s := e.h.Open(e.TB)
		if c, ok := s.(idempotency.Closer); ok {
			e.Cleanup(func() {
				ctx, cancel := context.WithTimeout(context.WithoutCancel(e.Context()), e.h.Patience)
				defer cancel()
				if err := c.Close(ctx); err != nil {
					e.Logf("closing the store: %v", err)
				}
			})
		}
		if !e.h.InProcess {
			return &worker{e, s}
		}
		e.only = s
	}
	return &worker{e, e.only}
}

// begin makes one call.
func (w *worker) begin(claims ...idempotency.Claim) []idempotency.Verdict {
	w.Helper()
	verdicts, err := w.store.Begin(w.within(w.h.Patience), claims)
	w.mustf(err, "Begin of %d claims", len(claims))
	if len(verdicts) != len(claims) {
		w.Fatalf("Begin of %d claims gave %d verdicts", len(claims), len(verdicts))
	}
	return verdicts
}

// want begins one claim and expects a state.
func (w *worker) want(c idempotency.Claim, state idempotency.State) idempotency.Verdict {
	w.Helper()
	v := w.begin(c)[0]
	if v.State != state {
		w.Fatalf("the claim is %s, want %s", show(v), state)
	}
	return v
}

func (w *worker) acquire(c idempotency.Claim) idempotency.Verdict {
	w.Helper()
	return w.want(c, idempotency.Acquired)
}

// busy expects that another attempt holds the record.
func (w *worker) busy(c idempotency.Claim) time.Duration {
	w.Helper()
	v := w.want(c, idempotency.Busy)
	if v.Until <= 0 {
		w.Errorf("busy until %v from now, want more than 0", v.Until)
	}
	return v.Until
}

// takeOver claims until the holder's lease is over.
func (w *worker) takeOver(c idempotency.Claim) idempotency.Verdict {
	w.Helper()
	return w.await(c, idempotency.Acquired)
}

// await claims until the verdict has a state. Its waits are a part of the lease,
// and it does not trust Until.
func (w *worker) await(c idempotency.Claim, state idempotency.State) idempotency.Verdict {
	w.Helper()
	for begun := time.Now(); ; w.pause(w.h.Lease / 20) {
		v := w.begin(c)[0]
		if v.State == state {
			return v
		}
		if time.Since(begun) > w.h.Patience {
			w.Fatalf("the claim is %s after %v, want %s", show(v), w.h.Patience, state)
		}
	}
}

// update makes one call. It returns an error for each change.
func (w *worker) update(changes ...idempotency.Change) []error {
	w.Helper()
	errs, err := w.store.Update(w.within(w.h.Patience), changes)
	w.mustf(err, "Update with %d changes", len(changes))
	if errs == nil {
		errs = make([]error, len(changes))
	}
	if len(errs) != len(changes) {
		w.Fatalf("Update with %d changes gave %d answers", len(changes), len(errs))
	}
	return errs
}

// do expects that all changes hold.
func (w *worker) do(changes ...idempotency.Change) {
	w.Helper()
	errs := w.update(changes...)
	for i, c := range changes {
		w.mustf(errs[i], "change %d of %d: %s", i+1, len(changes), c.Op)
	}
}

// fenced expects that none holds.
func (w *worker) fenced(changes ...idempotency.Change) {
	w.Helper()
	errs := w.update(changes...)
	for i, c := range changes {
		if !errors.Is(errs[i], idempotency.ErrFenced) {
			w.Errorf("%s by a token that does not hold the record: error %v, want ErrFenced", c.Op, errs[i])
		}
	}
}

// wantNumbers checks what an acquired claim says of earlier attempts.
func (e *env) wantNumbers(v idempotency.Verdict, attempts, deaths, alone int) {
	e.Helper()
	if v.Attempts != attempts || v.Deaths != deaths || v.DeathsAlone != alone {
		e.Errorf("%s, want attempts %d, deaths %d, alone %d", show(v), attempts, deaths, alone)
	}
}

// wantSteps takes names and values in turn.
func (e *env) wantSteps(v idempotency.Verdict, pairs ...string) {
	e.Helper()
	want := map[string][]byte{}
	for pair := range slices.Chunk(pairs, 2) {
		want[pair[0]] = []byte(pair[1])
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if got, ok := v.Steps[name]; !ok || !bytes.Equal(got, want[name]) {
			e.Errorf("step %.40q is %.40q (recorded: %v), want %.40q", name, got, ok, want[name])
		}
	}
	if len(v.Steps) != len(want) {
		e.Errorf("%d steps, want %d", len(v.Steps), len(want))
	}
}

// wantFailure checks that a failed claim says why.
func (e *env) wantFailure(v idempotency.Verdict, c idempotency.Change) {
	e.Helper()
	if v.Failure == nil || *v.Failure != *c.Failure {
		e.Errorf("failure %+v, want %+v", v.Failure, *c.Failure)
	}
}

// show says what a verdict is, in one line.
func show(v idempotency.Verdict) string {
	switch v.State {
	case idempotency.Acquired:
		return fmt.Sprintf("acquired (attempts %d, deaths %d, alone %d, %d steps)", v.Attempts, v.Deaths, v.DeathsAlone, len(v.Steps))
	case idempotency.Busy:
		return fmt.Sprintf("busy (until %v)", v.Until)
	case idempotency.Done:
		return fmt.Sprintf("done (%d outputs)", len(v.Outputs))
	case idempotency.Failed:
		return fmt.Sprintf("failed (%+v)", v.Failure)
	case idempotency.Broken:
		return fmt.Sprintf("broken (%v)", v.Err)
	default:
		return v.State.String()
	}
}
