package router

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/anywire/anywire/transport"
)

// Stopped is the state of an agent that does not run.
const Stopped transport.State = "stopped"

// Health is a snapshot of one agent: its subscription, what it counted since it
// was made, and how many of its slots are held by handlers that were given up.
type Health struct {
	transport.Health

	Agent     string
	Inbox     transport.Health // of its inbox; empty where the driver reads that, or nobody does
	Slots     int              // handlers that may run at once
	Abandoned int              // those that ignore the end of their context
	// Stalled says why messages are kept: their outputs or dead letters cannot be
	// published, or the store of records does not answer; empty: there are none.
	Stalled string

	Handled, Retried, DeadLettered, Expired, Ignored, EmittedLate uint64
	// Duplicates were answered from their records, which Saved that much of
	// handlers' time; Fenced attempts ended when another one had the message.
	Duplicates, Fenced uint64
	Saved              time.Duration
	// Unrecorded were handled while the store did not answer.
	Unrecorded uint64
}

// Live is false when so many slots are abandoned that only a restart helps; the
// reason says so.
func (h *Health) Live() (live bool, reason string) {
	if h.Abandoned == 0 || 2*h.Abandoned < h.Slots {
		return true, ""
	}
	return false, fmt.Sprintf("agent %q: %d of %d handlers ignore the end of their context: restart this process",
		h.Agent, h.Abandoned, h.Slots)
}

// counts are what an agent counts.
type counts struct {
	handled, retried, deadLettered, expired, ignored, emittedLate atomic.Uint64

	duplicates, fenced, saved, unrecorded atomic.Uint64 // saved in nanoseconds
}

func (a *agent) health(now time.Time) Health {
	h := Health{
		Agent: a.Name, Slots: a.concurrency(), Abandoned: a.running.abandoned(now),
		Handled: a.counts.handled.Load(), Retried: a.counts.retried.Load(),
		DeadLettered: a.counts.deadLettered.Load(), Expired: a.counts.expired.Load(),
		Ignored: a.counts.ignored.Load(), EmittedLate: a.counts.emittedLate.Load(),
		Duplicates: a.counts.duplicates.Load(), Fenced: a.counts.fenced.Load(),
		Saved: time.Duration(a.counts.saved.Load()), Unrecorded: a.counts.unrecorded.Load(),
	}
	h.Health = a.subscription(a.Topic)
	h.Inbox = a.inbox()
	if s := a.stall.Load(); s != nil && now.Before(s.until) {
		h.Stalled = s.reason
	}
	return h
}

// stall is the last failure of what a message cannot do without. It is
// taken for mended when it is not repeated.
type stall struct {
	reason string
	until  time.Time
}

func (a *agent) subscription(topic string) transport.Health {
	none := transport.Health{Topic: topic, Group: a.Subscription.Group, State: Stopped}
	if a.Transport == nil {
		return none
	}
	none.Transport = a.Transport.Name()
	for _, h := range a.Transport.Health() {
		if h.Topic == topic && h.Group == a.Subscription.Group {
			return h
		}
	}
	return none
}
