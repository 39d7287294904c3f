package driver

import (
	"context"
	"time"
)

// Inspector reads the broker's settings, and those of topics and groups, and
// says which of them lose messages, double work or will stop the agents. It
// changes nothing.
type Inspector interface {
	// Inspect returns a finding for each thing that it looked at, good ones
	// included. What could not be read is a finding of level [Unknown]; an error
	// means that the broker could not be asked at all.
	Inspect(ctx context.Context, use Use) ([]Finding, error)
}

// Use is what a system does with a broker: what an inspection is about.
type Use struct {
	Writes []string // topics that are published to
	Reads  []Reading
}

// Reading is one subscription.
type Reading struct {
	Topic, Group string
	Ordered      bool
	Lease        time.Duration // how long a delivery outlives its process
}

// Level says how bad a [Finding] is.
type Level uint8

// The levels of findings, from good to bad.
const (
	Good    Level = iota // as it should be
	Unknown              // it could not be read
	Warning              // it may cost work or time
	Danger               // it loses messages, or stops the agents
)

// String is the level's name in lower case.
func (l Level) String() string {
	switch l {
	case Good:
		return "ok"
	case Unknown:
		return "unknown"
	case Warning:
		return "warning"
	case Danger:
		return "danger"
	}
	return "invalid"
}

// Finding is one thing that an [Inspector] looked at.
type Finding struct {
	Level   Level
	Check   string // a stable name of what was looked at: "appendonly", "min.insync.replicas"
	Subject string // where: "server", "topic tasks.write", "group researchers"
	Found   string // the value or state that was read
	Why     string // what follows from it; empty for good ones
	Fix     string // what to do: a command or a setting; empty for good ones
}
