package router

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/transport"
)

// collect joins what a handler emitted and what it returned. Returned envelopes
// are copied: they may be shared, or be the input itself.
func (a *agent) collect(in *envelope.Envelope, emitted, returned []*envelope.Envelope) ([]*envelope.Envelope, error) {
	outs := emitted
	for i, e := range returned {
		if e == nil {
			return nil, &envelope.Error{Code: envelope.Invalid, Message: fmt.Sprintf("answer %d is a nil envelope", i)}
		}
		out := e.Clone()
		if e == in {
			out.Topic = ""
		}
		if a.Discard && out.Topic == "" && a.Produces == "" {
			continue
		}
		if err := a.complete(in, out, len(outs)); err != nil {
			return nil, err
		}
		outs = append(outs, out)
	}
	return outs, nil
}

// complete makes an output the agent's own: where it goes, who sent it, what
// caused it, and an id that the same output of the same input gets again.
func (a *agent) complete(in, out *envelope.Envelope, slot int) error {
	if out == nil {
		return &envelope.Error{Code: envelope.Invalid, Message: "output is a nil envelope"}
	}
	if out.Topic == "" {
		out.Topic = a.Produces
	}
	if out.Topic == "" {
		return &envelope.Error{Code: envelope.Invalid, Message: fmt.Sprintf(
			"output %s has nowhere to go: agent %q produces nothing, so give it a topic (WithTopic)", out.WireType(), a.Name)}
	}
	if len(out.Extensions) > 0 {
		dropReserved(out)
	}
	out.CausedBy(in)
	out.Source, out.Redrive, out.Attempt = a.source, 0, 0
	if out.Time.IsZero() {
		out.Time = time.Now().UTC().Round(0)
	}
	out.ID = envelope.OutputID(a.router.options.System, a.Name, in, strconv.Itoa(slot), out)
	return a.check(out)
}

// check finds what no repetition of the publish would cure.
func (a *agent) check(out *envelope.Envelope) error {
	if err := out.Validate(); err != nil {
		return fmt.Errorf("output %s: %w", out.WireType(), err)
	}
	if err := a.router.limits.Check(out); err != nil {
		return fmt.Errorf("output %s: %w", out.WireType(), err)
	}
	t, err := a.router.sender.at(out.Topic)
	if err != nil {
		return err
	}
	if !out.DeliverAt.IsZero() && !t.Capabilities().DelayedPublish {
		return &envelope.Error{Code: envelope.Unsupported, Message: fmt.Sprintf(
			"output %s to %q: transport %q cannot deliver later than at once", out.WireType(), out.Topic, t.Name())}
	}
	return nil
}

// dropReserved removes what a forwarded input carried for itself alone.
func dropReserved(out *envelope.Envelope) {
	for _, name := range [...]string{
		envelope.AttrDeadLetterID, envelope.AttrDeadLetterReason, envelope.AttrDeadLetterError,
		envelope.AttrDeadLetterAgent, envelope.AttrDeadLetterAttempts, envelope.AttrDeadLetterFirst,
		envelope.AttrDeadLetterLast, envelope.AttrDeadLetterHost, envelope.AttrDeadLetterStack,
		envelope.AttrDeadLetterTopic, envelope.AttrDeadLetterPosition, envelope.AttrDeadLetterHeaders,
		envelope.AttrDeliverAt, envelope.AttrDeliverTo, envelope.AttrAttempt,
	} {
		out.SetReserved(name, "")
	}
}

// publish sends the outputs of a successful attempt, and settles when all are
// confirmed. What is not waits in the lane and is sent again, without running
// the handler: p keeps it.
func (a *agent) publish(
	ctx context.Context, d *transport.Delivery, p *progress, outs []*envelope.Envelope,
) transport.Outcome {
	if isLost(ctx) { // the message is another's by now, and so are its outputs
		return transport.HandBack()
	}
	failed, err := a.router.sender.Send(ctx, outs, a.mustNotWait)
	if err == nil {
		a.unstalled(p)
		a.settled(ctx, d.Envelope)
		return transport.Done()
	}
	if ctx.Err() != nil {
		return transport.HandBack()
	}
	if p == nil {
		p = note(d, d.Envelope.Attempt, err)
	}
	p.err = err
	if isFinal(err) {
		return a.dead(ctx, d, p)
	}
	p.next, p.work, p.outputs = publishNext, nil, failed
	return a.stalled(ctx, d, p, "outputs cannot be published", err)
}

// mustNotWait reports whether an output to topic must not wait for room inside
// one process: its reader may be this very agent, or wait for it.
func (a *agent) mustNotWait(topic string) bool { return a.OnCycle || topic != a.Produces }

// isFinal reports whether publishing again cannot help.
func isFinal(err error) bool {
	return errors.Is(err, envelope.TooLarge) || errors.Is(err, envelope.Invalid) || errors.Is(err, envelope.Unsupported)
}

// stalled waits before the next try of what the delivery cannot do without: to
// publish, or to have it recorded. It is logged once.
func (a *agent) stalled(ctx context.Context, d *transport.Delivery, p *progress, what string, err error) transport.Outcome {
	wait := stallBackoff.delay(p.tries)
	p.tries++
	a.stall.Store(&stall{what + ": " + err.Error(), time.Now().Add(2 * stallBackoff.max)})
	if p.tries == 1 {
		a.router.log.WarnContext(ctx, "message is kept until this is over",
			"what", what, "agent", a.Name, "message", logged(d), "error", loggedError{err})
	}
	if a.router.options.Observe != nil {
		id, typ := identified(d)
		a.router.observe(Stalled{Agent: a.Name, Topic: d.Topic, ID: id, Type: typ, Try: p.tries, After: wait, Err: err})
	}
	return transport.WaitInLane(wait)
}

// unstalled takes back what stalled reported.
func (a *agent) unstalled(p *progress) {
	if p != nil && p.tries > 0 {
		p.tries = 0
		a.stall.Store(nil)
	}
}

// isLost reports whether another member has the message, or may have it.
func isLost(ctx context.Context) bool {
	return ctx.Err() != nil && errors.Is(context.Cause(ctx), envelope.LeaseLost)
}

// emittedLate counts and tells of an output that came after its handler had
// returned.
func (a *agent) emittedLate(in *envelope.Envelope) {
	a.counts.emittedLate.Add(1)
	a.router.log.Warn("handler emitted after it had returned: the output is refused", "agent", a.Name, "message", in)
	if a.router.options.Observe != nil {
		a.router.observe(EmittedLate{Agent: a.Name, Topic: a.Topic, ID: in.ID, Type: in.Type})
	}
}
