package natsdriver

import (
	"context"
	"sync/atomic"

	"github.com/anywire/anywire/transport/driver"
)

var _ driver.LossTeller = (*source)(nil)

// vanished counts what a stream dropped before the group had it.
type vanished struct {
	messages atomic.Uint64
	tellable bool   // every position of the stream is the group's
	upTo     uint64 // what was before this position is counted; one looker at a time
}

// Vanished counts messages that the stream's limits took before the group read
// them. It is looked for at the start and from time to time. What they take while a
// member has it cannot be known, nor what a group missed that reads one of several
// shards in order: positions run through all of them.
func (s *source) Vanished() uint64 { return s.vanished.messages.Load() }

// lookForVanished compares what the consumer has seen with where the stream begins.
// The stream is asked first: what others read meanwhile makes the count smaller.
func (s *source) lookForVanished(ctx context.Context) {
	if !s.vanished.tellable || !s.d.nc.IsConnected() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, confirmTimeout)
	defer cancel()
	stream, err := s.d.js.Stream(ctx, s.stream)
	if err != nil {
		return // whoever fetches meets it too
	}
	c, err := s.d.js.Consumer(ctx, s.stream, s.consumer)
	if err != nil {
		return
	}
	v := &s.vanished
	first, from := stream.CachedInfo().State.FirstSeq, max(c.CachedInfo().Delivered.Stream+1, v.upTo)
	if first <= from {
		return
	}
	v.upTo = first
	total := v.messages.Add(first - from)
	s.d.o.Logger.Error("messages were dropped before this group read them: retention is too short, or the group too slow",
		"topic", s.sub.Topic, "group", s.sub.Group, "messages", first-from, "from", from, "to", first-1, "lost", total)
}
