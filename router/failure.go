package router

import (
	"context"
	"errors"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/transport"
)

// failed decides what becomes of a message whose attempt failed: again at once
// (true), later, to the dead letters, or back to the broker.
func (a *agent) failed(ctx context.Context, d *transport.Delivery, p *progress) (transport.Outcome, bool) {
	p.next = tryNext
	code := codeOf(p.err)
	if code == envelope.Rejected || code == envelope.Undecodable {
		return a.dead(ctx, d, p), false
	}
	if ctx.Err() != nil { // the process stops, or the lease is lost: not the message's fault
		a.release(ctx, p.work, false)
		return transport.HandBack(), false
	}
	if p.attempt >= a.Policy.attempts() {
		return a.dead(ctx, d, p), false
	}
	if p.work != nil {
		if err := p.work.Release(ctx, !p.lost); err != nil {
			p.next = judgeNext
			return a.stalled(ctx, d, p, "attempt cannot be recorded", err), false
		}
		p.work = nil
		a.unstalled(p)
	}
	if code != envelope.Retry && p.attempt <= a.Policy.Immediate {
		return transport.Outcome{}, true
	}
	return a.retryLater(ctx, d, p), false
}

// retryLater lets the message wait: at the broker where that counts deliveries
// and order does not matter, else in its lane.
func (a *agent) retryLater(ctx context.Context, d *transport.Delivery, p *progress) transport.Outcome {
	nth := max(0, p.attempt-1-a.Policy.Immediate)
	wait := backoff{a.Policy.BackoffMin, a.Policy.BackoffMax}.delay(nth)
	if e := coded(p.err); e != nil && e.Code == envelope.Retry {
		wait = e.After
	}
	a.counts.retried.Add(1)
	if nth == 0 {
		a.router.log.WarnContext(ctx, "message failed, it is tried again later", withStack(p.err,
			"agent", a.Name, "message", d.Envelope, "wait", wait, "error", loggedError{p.err})...)
	}
	if a.router.options.Observe != nil {
		a.router.observe(Retried{
			Agent: a.Name, Topic: d.Topic, ID: d.Envelope.ID, Type: d.Envelope.Type,
			Attempt: p.attempt, After: wait, Err: p.err,
		})
	}
	if a.Subscription.Order == transport.OrderNone && a.caps.DelayedNack && (a.caps.Counts || a.caps.DelaysByCopy) {
		return transport.RedeliverAfter(wait, p.attempt)
	}
	return transport.WaitInLane(wait)
}

// refuse sends a message to the dead letters that no attempt was made for.
func (a *agent) refuse(ctx context.Context, d *transport.Delivery, err error) transport.Outcome {
	p := progressOf(d)
	p.err, p.stack = err, ""
	return a.dead(ctx, d, p)
}

// coded is the outermost coded error in the chain; nil: there is none.
func coded(err error) *envelope.Error {
	if e, ok := errors.AsType[*envelope.Error](err); ok {
		return e
	}
	return nil
}

func codeOf(err error) envelope.Code {
	if e := coded(err); e != nil {
		return e.Code
	}
	return ""
}

// reasonOf is what stands in a dead letter: the error's own code, else that the
// retries are used up.
func reasonOf(err error) envelope.Code {
	if code := codeOf(err); code != "" && code != envelope.Retry {
		return code
	}
	return envelope.Exhausted
}
