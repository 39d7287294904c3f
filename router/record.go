package router

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/idempotency"
	"github.com/anywire/anywire/transport"
)

// endTimeout bounds what ends a record when the process, or the delivery, ends
// too.
const endTimeout = 10 * time.Second

// begin opens the message's record and returns the attempt's work and number.
// Not ok, it returns what becomes of the delivery instead. Without a store the
// work is nil.
func (a *agent) begin(ctx context.Context, d *transport.Delivery) (*idempotency.Work, int, transport.Outcome, bool) {
	if a.Guard.Store() == nil {
		return nil, a.nextAttempt(d), transport.Outcome{}, true
	}
	p, _ := d.State.(*progress)
	work, v, err := a.Guard.Begin(ctx, d.Envelope, p != nil && p.alone)
	if err != nil && a.ProcessOnStoreError && !errors.Is(err, envelope.Invalid) {
		a.counts.unrecorded.Add(1)
		return nil, a.nextAttempt(d), transport.Outcome{}, true
	}
	if err != nil {
		return nil, 0, a.notBegun(ctx, d, err), false
	}
	switch v.State {
	case idempotency.Acquired:
		if p != nil {
			p.looks = 0
			a.unstalled(p)
		}
		if v.Attempts >= a.Policy.attempts() {
			return nil, 0, a.usedUp(ctx, d, work, v), false
		}
		if v.Deaths >= suspectDeaths && (p == nil || !p.alone) {
			return nil, 0, a.suspected(ctx, d, work, v), false
		}
		return work, v.Attempts + 1, transport.Outcome{}, true
	case idempotency.Busy:
		return nil, 0, a.waitForOther(d, v.Until), false
	case idempotency.Done:
		return nil, 0, a.repeat(ctx, d, &v), false
	default:
		p := progressOf(d)
		if v.Failure != nil {
			p.attempt = v.Failure.Attempts
		}
		return nil, 0, a.refuse(ctx, d, v.Reject(d.Envelope)), false
	}
}

// nextAttempt numbers attempts without records. The first delivery and a copy
// that was delayed say theirs; later deliveries take the upper bound that follows
// from the broker's count, in which hand-backs count too.
func (a *agent) nextAttempt(d *transport.Delivery) int {
	if p, ok := d.State.(*progress); ok && p.attempt > 0 {
		return p.attempt + 1
	}
	if n := d.Envelope.Attempt; n > 0 {
		return n + 1
	}
	if d.Raw == nil || d.Raw.Deliveries <= 1 {
		return 1
	}
	return 1 + a.Policy.Immediate + d.Raw.Deliveries - 1
}

// notBegun is for a message whose record could not be asked for: it has no key,
// or the store does not answer. Then nothing is handled.
func (a *agent) notBegun(ctx context.Context, d *transport.Delivery, err error) transport.Outcome {
	if errors.Is(err, envelope.Invalid) {
		return a.refuse(ctx, d, err)
	}
	p := progressOf(d)
	p.next = tryNext
	return a.stalled(ctx, d, p, "records cannot be read", err)
}

// suspected has a message wait until it can run alone.
func (a *agent) suspected(ctx context.Context, d *transport.Delivery, work *idempotency.Work, v idempotency.Verdict) transport.Outcome {
	a.release(ctx, work, false)
	progressOf(d).suspect = true
	a.router.log.WarnContext(ctx, "message is suspect: processes died while they handled it; it runs alone",
		"agent", a.Name, "message", d.Envelope, "deaths", v.Deaths)
	return transport.WaitInLane(0)
}

// usedUp is for a message whose attempts were all made, by processes that died of
// it.
func (a *agent) usedUp(ctx context.Context, d *transport.Delivery, work *idempotency.Work, v idempotency.Verdict) transport.Outcome {
	p := progressOf(d)
	p.work, p.attempt = work, v.Attempts
	p.err = &envelope.Error{Code: envelope.Exhausted, Message: fmt.Sprintf(
		"%d attempts were made, %d of them ended with the process that made them, which did nothing else", v.Attempts, v.DeathsAlone)}
	return a.dead(ctx, d, p)
}

// repeat is for a message that was handled before: what it caused is published
// again if that may not have happened.
func (a *agent) repeat(ctx context.Context, d *transport.Delivery, v *idempotency.Verdict) transport.Outcome {
	a.counts.duplicates.Add(1)
	a.counts.saved.Add(uint64(v.Took))
	if a.router.options.Observe != nil {
		a.router.observe(Deduplicated{
			Agent: a.Name, Topic: d.Topic, ID: d.Envelope.ID, Type: d.Envelope.Type, Saved: v.Took, Outputs: len(v.Outputs),
		})
	}
	if len(v.Outputs) == 0 {
		return transport.Done()
	}
	p := progressOf(d)
	p.work = nil
	return a.publish(ctx, d, p, v.Outputs)
}

// succeeded ends a successful attempt: outputs are recorded before they are
// published.
func (a *agent) succeeded(
	ctx context.Context, d *transport.Delivery, work *idempotency.Work, outs []*envelope.Envelope,
) transport.Outcome {
	if work != nil {
		return a.record(ctx, d, work, outs)
	}
	a.counts.handled.Add(1)
	if len(outs) == 0 {
		return transport.Done()
	}
	return a.publish(ctx, d, nil, outs)
}

// record completes the message's record. Only then its outputs may be published:
// a process that was taken for dead cannot.
func (a *agent) record(
	ctx context.Context, d *transport.Delivery, work *idempotency.Work, outs []*envelope.Envelope,
) transport.Outcome {
	if isLost(ctx) { // the message is another's by now
		a.release(ctx, work, false)
		return transport.HandBack()
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	err := work.Complete(ending, outs)
	if err == nil {
		a.counts.handled.Add(1)
		if len(outs) == 0 {
			return transport.Done()
		}
		p, _ := d.State.(*progress)
		if p != nil {
			p.work = nil // its record has ended
		}
		a.unstalled(p)
		return a.publish(ctx, d, p, outs)
	}
	if errors.Is(err, idempotency.ErrFenced) {
		a.counts.fenced.Add(1)
		return a.waitForOther(d, 0)
	}
	p := note(d, d.Envelope.Attempt, err)
	p.work = work
	if errors.Is(err, envelope.TooLarge) {
		return a.dead(ctx, d, p)
	}
	if errors.Is(err, idempotency.ErrRolledBack) {
		if out, again := a.failed(ctx, d, p); !again {
			return out
		}
		return a.attempts(ctx, d)
	}
	if a.ProcessOnStoreError {
		a.counts.unrecorded.Add(1)
		p.work = nil
		return a.succeeded(ctx, d, nil, outs)
	}
	p.next, p.outputs = completeNext, outs
	return a.stalled(ctx, d, p, "outcome cannot be recorded", err)
}

// recordFailure ends the record of a message that goes to the dead letters. It
// comes first: a crash in between leads to the dead letter all the same, and not
// to another attempt.
func (a *agent) recordFailure(ctx context.Context, d *transport.Delivery, p *progress) transport.Outcome {
	if isLost(ctx) {
		return transport.HandBack()
	}
	if p.work != nil {
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
		defer cancel()
		err := p.work.Fail(ending, &idempotency.Failure{
			Reason: reasonOf(p.err), Message: cut(p.err.Error(), maxErrorText), Attempts: p.attempt,
		})
		if errors.Is(err, idempotency.ErrFenced) {
			a.counts.fenced.Add(1)
			return a.waitForOther(d, 0)
		}
		if err != nil {
			p.next = failNext
			return a.stalled(ctx, d, p, "failure cannot be recorded", err)
		}
		p.work = nil
	}
	p.letter, p.tries, p.next = a.letter(d, p), 0, buryNext
	return a.bury(ctx, d, p)
}

// release gives a record back whose delivery goes back too. Where that fails the
// record's lease ends by itself.
func (a *agent) release(ctx context.Context, work *idempotency.Work, counted bool) {
	if work == nil {
		return
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	if err := work.Release(ending, counted); err != nil {
		a.router.log.WarnContext(ctx, "record is not released, its lease has to end first",
			"agent", a.Name, "record", work.Key().String(), "error", loggedError{err})
	}
}

// The waits for a record that another attempt holds.
const (
	firstLook = 20 * time.Millisecond
	lastLook  = time.Second
)

// waitForOther waits while another attempt has the record; until is the longest
// that its lease may last, 0: unknown. A few wait here with their slots, at most
// a quarter of the window; more of them go back to the broker, where that does
// not cost their order.
func (a *agent) waitForOther(d *transport.Delivery, until time.Duration) transport.Outcome {
	p := progressOf(d)
	p.next, p.work, p.outputs = tryNext, nil, nil
	wait := min(firstLook<<min(p.looks, 10), lastLook)
	if until > 0 {
		wait = min(wait, until)
	}
	p.looks++
	if a.Subscription.Order == transport.OrderNone && a.caps.DelayedNack && !a.parked.keep(p, wait, a.parkable()) {
		return transport.RedeliverAfter(max(until, lastLook), max(p.attempt, d.Envelope.Attempt))
	}
	return transport.WaitInLane(wait)
}

func (a *agent) parkable() int {
	window := a.Subscription.Window
	if window <= 0 {
		window = max(64, 4*a.concurrency())
	}
	return max(1, window/4)
}

// parked are the deliveries that wait for other attempts, and until when.
type parked struct {
	mu  sync.Mutex
	all map[*progress]time.Time
}

// keep notes that p waits, unless most others do.
func (k *parked) keep(p *progress, wait time.Duration, most int) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	if _, waits := k.all[p]; !waits && len(k.all) >= most {
		for other, until := range k.all { // those that came again, or were dropped
			if now.After(until) {
				delete(k.all, other)
			}
		}
		if len(k.all) >= most {
			return false
		}
	}
	if k.all == nil {
		k.all = map[*progress]time.Time{}
	}
	k.all[p] = now.Add(wait + lastLook)
	return true
}

// settling are records whose outputs are published; telling the store can wait.
type settling struct {
	mu   sync.Mutex
	keys []idempotency.Key
}

// mostSettling are kept before the store is told.
const mostSettling = 256

// settled notes that the outputs of a message are published.
func (a *agent) settled(ctx context.Context, in *envelope.Envelope) {
	if a.Guard.Store() == nil {
		return
	}
	key, err := a.Guard.Key(in)
	if err != nil {
		return // it had one
	}
	if a.Guard.Immediate() {
		a.tellSettled(ctx, []idempotency.Key{key})
		return
	}
	a.settling.mu.Lock()
	a.settling.keys = append(a.settling.keys, key)
	var keys []idempotency.Key
	if len(a.settling.keys) >= mostSettling {
		keys, a.settling.keys = a.settling.keys, nil
	}
	a.settling.mu.Unlock()
	a.tellSettled(ctx, keys)
}

// flushSettled tells the store of what has come together.
func (a *agent) flushSettled(ctx context.Context) {
	a.settling.mu.Lock()
	keys := a.settling.keys
	a.settling.keys = nil
	a.settling.mu.Unlock()
	a.tellSettled(ctx, keys)
}

// tellSettled may fail: then duplicates have their outputs published again, under
// the same ids.
func (a *agent) tellSettled(ctx context.Context, keys []idempotency.Key) {
	if len(keys) == 0 {
		return
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	if err := a.Guard.Settle(ending, keys...); err != nil {
		a.router.log.DebugContext(ctx, "records are not settled, their outputs may be published again",
			"agent", a.Name, "records", len(keys), "error", loggedError{err})
	}
}

// beat renews the records of running attempts. Those that are lost, or may be,
// are cancelled.
func (a *agent) beat(ctx context.Context) {
	if a.Guard.Store() == nil || !a.beating.TryLock() {
		return // nothing to renew, or the agent's other subscription does it now
	}
	defer a.beating.Unlock()
	a.flushSettled(ctx)
	var attempts []*attempt
	var works []*idempotency.Work
	for i := range a.running {
		if t := a.running[i].Load(); t != nil && t.work != nil {
			attempts, works = append(attempts, t), append(works, t.work)
		}
	}
	began := time.Now()
	lost, err := a.Guard.Renew(ctx, works)
	gone := map[*idempotency.Work]bool{}
	for _, w := range lost {
		gone[w] = true
	}
	for _, t := range attempts {
		if err == nil && !gone[t.work] {
			t.renewed = began
			continue
		}
		since := t.began
		if t.renewed.After(since) {
			since = t.renewed
		}
		if gone[t.work] || time.Since(since) >= a.lease()-a.lease()/6 {
			t.fenced.Store(true)
			t.Cancel(envelope.LeaseLost)
		}
	}
}

func (a *agent) lease() time.Duration {
	if a.Subscription.Lease > 0 {
		return a.Subscription.Lease
	}
	return 30 * time.Second
}
