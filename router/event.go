package router

import (
	"time"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/transport"
)

// sealed makes the events of this package events of the transport, so that one
// observer sees both.
type sealed struct{ transport.Event }

// Attempted is one call of a handler that returned, or could be taken back.
type Attempted struct {
	sealed

	Agent, Topic, ID, Type string
	Attempt                int
	Took                   time.Duration
	Outputs                int
	Err                    error
}

// Retried is a message that is tried again later.
type Retried struct {
	sealed

	Agent, Topic, ID, Type string
	Attempt                int // the one that failed
	After                  time.Duration
	Err                    error
}

// DeadLettered is a message whose dead letter is stored.
type DeadLettered struct {
	sealed

	Agent, Topic, ID, Type string
	DeadLetter             string // the topic it went to
	Reason                 envelope.Code
	Attempts               int
	Err                    error
}

// Dropped is a message that was acknowledged without being handled: it had
// expired (Reason [envelope.Expired]), or its type is one that the agent
// ignores ([envelope.UnknownType]).
type Dropped struct {
	sealed

	Agent, Topic, ID, Type string
	Reason                 envelope.Code
}

// Deduplicated is a message that had been handled before: its handler did not
// run, and what its record holds was published again if it may not have been.
type Deduplicated struct {
	sealed

	Agent, Topic, ID, Type string
	Saved                  time.Duration // how long the handler had run
	Outputs                int           // published again
}

// Stalled is a message whose outputs, or whose dead letter, could not be
// published. It keeps its slot and is tried again after a wait.
type Stalled struct {
	sealed

	Agent, Topic, ID, Type string
	Try                    int
	After                  time.Duration
	Err                    error
}

// EmittedLate is an output that a handler emitted after it had returned, and
// that was refused.
type EmittedLate struct {
	sealed

	Agent, Topic, ID, Type string
}

var (
	_ transport.Event = Attempted{}
	_ transport.Event = Retried{}
	_ transport.Event = DeadLettered{}
	_ transport.Event = Dropped{}
	_ transport.Event = Stalled{}
	_ transport.Event = Deduplicated{}
	_ transport.Event = EmittedLate{}
)
