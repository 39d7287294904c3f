package router

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/idempotency"
	"github.com/anywire/anywire/transport"
)

// progress is what a delivery that left the normal path keeps between the calls
// for it. Those that stay on it have none.
type progress struct {
	next    step
	attempt int       // the number of the last attempt
	began   time.Time // of the first attempt in this process
	err     error     // why the last attempt failed
	stack   string    // fingerprint of its panic
	lost    bool      // the last attempt lost its record: it was none

	work    *idempotency.Work    // the last attempt's, until its record has ended; nil: there is no record
	outputs []*envelope.Envelope // of a successful attempt, not published yet
	letter  *envelope.Envelope   // the dead letter, not stored yet
	tries   int                  // of what next says
	looks   int                  // at a record that another attempt holds

	reserved bool // its turn under the rate limit has come
	suspect  bool // it may have killed processes: it runs alone
	alone    bool // it does now
}

// step is what has to be done next for a delivery.
type step uint8

const (
	tryNext      step = iota // an attempt
	judgeNext                // decide what becomes of the last attempt, which failed
	completeNext             // record the outputs
	publishNext              // publish the outputs
	failNext                 // record the failure
	buryNext                 // store the dead letter
)

// handle is the policy chain. Its order is fixed.
func (a *agent) handle(ctx context.Context, d *transport.Delivery) transport.Outcome {
	if p, ok := d.State.(*progress); ok {
		return a.resume(ctx, d, p)
	}
	if d.DecodeErr != nil {
		return a.refuse(ctx, d, d.DecodeErr)
	}
	return a.attempts(ctx, d)
}

// resume goes on where the last call for the delivery stopped.
func (a *agent) resume(ctx context.Context, d *transport.Delivery, p *progress) transport.Outcome {
	switch p.next {
	case completeNext:
		return a.record(ctx, d, p.work, p.outputs)
	case publishNext:
		return a.publish(ctx, d, p, p.outputs)
	case failNext:
		return a.recordFailure(ctx, d, p)
	case buryNext:
		return a.bury(ctx, d, p)
	case judgeNext:
		if out, again := a.failed(ctx, d, p); !again {
			return out
		}
	case tryNext:
	}
	return a.attempts(ctx, d)
}

// attempts makes attempts in place until one succeeds or the message has to
// wait or go.
func (a *agent) attempts(ctx context.Context, d *transport.Delivery) transport.Outcome {
	for {
		handler, out, ok := a.admit(ctx, d)
		if !ok {
			return out
		}
		if out, ok = a.turn(d); !ok {
			return out
		}
		work, n, out, ok := a.begin(ctx, d)
		if !ok {
			a.leave(d)
			return out
		}
		outs, err := a.attempt(ctx, d, n, handler, work)
		a.judged(d, err)
		if err == nil {
			return a.succeeded(ctx, d, work, outs)
		}
		p := note(d, n, err)
		p.work = work
		if out, again := a.failed(ctx, d, p); !again {
			return out
		}
	}
}

// admit decides what is not worth an attempt, or not now.
func (a *agent) admit(ctx context.Context, d *transport.Delivery) (envelope.Handler, transport.Outcome, bool) {
	in := d.Envelope
	if !in.Expires.IsZero() && !time.Now().Before(in.Expires) {
		return nil, a.drop(ctx, d, envelope.Expired), false
	}
	if in.Hops >= a.Policy.MaxHops {
		err := &envelope.Error{Code: envelope.TooManyHops, Message: fmt.Sprintf(
			"%d handlers passed this conversation on, the limit is %d: agents go round in a circle", in.Hops, a.Policy.MaxHops)}
		return nil, a.refuse(ctx, d, err), false
	}
	handler, err := a.handlerOf(in)
	if err != nil {
		if a.Others == OthersIgnore && errors.Is(err, envelope.UnknownType) {
			return nil, a.drop(ctx, d, envelope.UnknownType), false
		}
		return nil, a.refuse(ctx, d, err), false
	}
	// The place of validation against a schema; the record comes next.
	return handler, transport.Outcome{}, true
}

// drop acknowledges a message that is not handled.
func (a *agent) drop(ctx context.Context, d *transport.Delivery, reason envelope.Code) transport.Outcome {
	if reason == envelope.Expired {
		a.counts.expired.Add(1)
	} else {
		a.counts.ignored.Add(1)
	}
	a.router.log.InfoContext(ctx, "message acknowledged without being handled",
		"agent", a.Name, "message", d.Envelope, "reason", string(reason))
	if a.router.options.Observe != nil {
		a.router.observe(Dropped{Agent: a.Name, Topic: d.Topic, ID: d.Envelope.ID, Type: d.Envelope.Type, Reason: reason})
	}
	return transport.Done()
}

// attempt makes one attempt and returns its complete outputs.
func (a *agent) attempt(
	ctx context.Context, d *transport.Delivery, n int, h envelope.Handler, work *idempotency.Work,
) ([]*envelope.Envelope, error) {
	d.Envelope.Attempt = n
	t := &attempt{emitter: a, in: d.Envelope, began: time.Now(), guard: a.Guard, work: work}
	if a.Policy.Timeout > 0 {
		t.deadline = t.began.Add(a.Policy.Timeout)
	}
	t.Init(ctx, t.deadline)
	place := a.running.add(t)
	returned, err := t.call(h, func(err error) { //nolint:contextcheck // the attempt is the context
		_, _ = a.end(t, place)
		p := note(d, n, err)
		p.next, p.work = judgeNext, work
		a.attempted(d, n, t, 0, err)
		a.judged(d, err)
	})
	emitted, refused := a.end(t, place)
	var outs []*envelope.Envelope
	if err = a.verdict(t, err, refused); err == nil {
		outs, err = a.collect(t.in, emitted, returned)
	}
	if err != nil {
		p := note(d, n, err)
		p.stack, p.lost = t.stack, t.fenced.Load()
	}
	a.attempted(d, n, t, len(outs), err)
	return outs, err
}

// judged counts an attempt for the breaker, and ends its turn.
func (a *agent) judged(d *transport.Delivery, err error) {
	p, _ := d.State.(*progress)
	if err == nil || isRetryable(p) {
		a.breaker.note(p, d.Envelope.ID, err != nil)
	}
	a.leave(d)
}

// end closes an attempt and returns what it emitted, or why that failed.
func (a *agent) end(t *attempt, place int) ([]*envelope.Envelope, error) {
	a.running.remove(place)
	t.Cancel(nil)
	return t.end()
}

// verdict is the error of an attempt that returned err: its deadline, and what
// Emit refused, count too.
func (a *agent) verdict(t *attempt, err, refused error) error {
	if err == nil {
		err = refused
	}
	if t.deadline.IsZero() {
		return err
	}
	now := time.Now()
	switch {
	case t.givenUp(now):
		return a.timedOut("the handler returned %v after its timeout of %v, when it had been given up", now.Sub(t.deadline), err)
	case err == nil || now.Before(t.deadline) || hasFinalCode(err):
		return err
	default:
		return a.timedOut("the handler failed %v after its timeout of %v", now.Sub(t.deadline), err)
	}
}

func (a *agent) timedOut(format string, late time.Duration, err error) error {
	return &envelope.Error{
		Code: envelope.Timeout, Message: fmt.Sprintf(format, late.Round(time.Millisecond), a.Policy.Timeout), Err: err,
	}
}

// hasFinalCode reports whether the handler said what has to happen.
func hasFinalCode(err error) bool {
	code := codeOf(err)
	return code == envelope.Rejected || code == envelope.Retry
}

// progressOf is what a delivery keeps, begun if need be.
func progressOf(d *transport.Delivery) *progress {
	p, ok := d.State.(*progress)
	if !ok {
		p = &progress{began: time.Now()}
		d.State = p
	}
	return p
}

// note keeps what failed with the delivery.
func note(d *transport.Delivery, n int, err error) *progress {
	p := progressOf(d)
	if p.attempt != n {
		p.attempt, p.stack, p.lost = n, "", false
	}
	p.err = err
	return p
}

func (a *agent) attempted(d *transport.Delivery, n int, t *attempt, outputs int, err error) {
	if a.router.options.Observe != nil {
		a.router.observe(Attempted{
			Agent: a.Name, Topic: d.Topic, ID: d.Envelope.ID, Type: d.Envelope.Type,
			Attempt: n, Took: time.Since(t.began), Outputs: outputs, Err: err,
		})
	}
}
