package redisdriver

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/anywire/anywire/transport/driver"
)

// ephemeralFor is how long an ephemeral group outlives its process.
const ephemeralFor = 5 * time.Minute

// What joinScript found.
const (
	groupExists = iota
	groupNew
	groupLost
)

// ttl is after how long without a sign of life the group is removed; 0: never.
func (s *source) ttl() int64 {
	if !s.sub.Ephemeral {
		return 0
	}
	return max(ephemeralFor, 3*s.sub.Lease).Milliseconds()
}

// startID is what a group that begins there has seen last.
func startID(start driver.Start) string {
	switch start.At {
	case driver.StartNow:
		return "$"
	case driver.StartTime:
		if ms := start.Time.UnixMilli(); ms > 0 {
			return strconv.FormatInt(ms-1, 10) + "-18446744073709551615"
		}
	case driver.StartOldest:
	}
	return "0"
}

// join makes sure that the group is there, and takes over an ordered shard, if its
// fence is the token; an empty one takes it from anybody.
func (s *source) join(ctx context.Context, st *stream, token string) error {
	reply, err := s.d.eval(ctx, joinScript, []string{st.name, st.records},
		s.sub.Group, startID(s.sub.Start), s.ttl(), s.remembered(st)).Slice()
	if err != nil {
		return fmt.Errorf("join on stream %q: %w", st.name, err)
	}
	state, from, err := s.joined(st, reply)
	if err != nil {
		return err
	}
	if state == groupLost {
		s.lostGroup(st, from)
	}
	if s.token == "" {
		return nil
	}
	return s.takeOver(ctx, st, token)
}

// takeOver makes this the only reader of an ordered shard. The fence is set in any
// case, also to what it was: that ends transactions that watch it.
func (s *source) takeOver(ctx context.Context, st *stream, token string) error {
	gone, err := s.d.eval(ctx, ownScript, []string{st.name, st.fence, st.fence, st.due},
		token, s.sub.Group, s.me, s.token).StringSlice()
	if err != nil {
		return fmt.Errorf("take over stream %q: %w", st.name, err)
	}
	s.trimmed(st, gone...)
	return nil
}

func (s *source) joined(st *stream, reply []any) (state int64, from string, err error) {
	if len(reply) != 4 {
		return 0, "", errReply
	}
	state, isInt := reply[0].(int64)
	from, isText := reply[1].(string)
	if !isInt || !isText || !s.noted(st, reply[2:]) {
		return 0, "", errReply
	}
	return state, from, nil
}

// noted keeps the group's record, and tells of entries that the group missed.
func (s *source) noted(st *stream, reply []any) bool {
	record, isText := reply[0].(string)
	missed, isInt := reply[1].(int64)
	if !isText || !isInt {
		return false
	}
	if record != "" {
		s.remember(st, record)
	}
	s.missed(st, missed)
	return true
}

func (s *source) remember(st *stream, record string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st.record = record
}

func (s *source) remembered(st *stream) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return st.record
}

// lostGroup raises the alarm: somebody deleted the group, or its stream.
func (s *source) lostGroup(st *stream, from string) {
	log := s.d.log.With("topic", s.sub.Topic, "group", s.sub.Group, "stream", st.name)
	if from == "0" { // all that a new stream has
		s.mu.Lock()
		held := len(st.out)
		s.mu.Unlock()
		s.vanished.Add(uint64(held))
		log.Error("the stream was deleted by somebody, with whatever it held: the consumer group is made again", "held", held)
		s.fail(fmt.Errorf("the group was deleted with stream %q, and whatever that held", st.name))
		return
	}
	log.Error("the consumer group was deleted by somebody: it is made again, and messages since then come again", "from", from)
	s.fail(fmt.Errorf("the group was deleted on stream %q: made again from %s", st.name, from))
}

// leave removes this member, and an ephemeral group.
func (s *source) leave(ctx context.Context) error {
	var errs []error
	for _, st := range s.streams {
		err := s.leaveStream(ctx, st)
		if err == nil && s.sub.Ephemeral {
			err = s.d.eval(ctx, destroyScript, []string{st.name, st.records}, s.sub.Group).Err()
		}
		if err != nil && !isLost(err) && !isFenced(err) {
			errs = append(errs, fmt.Errorf("leave group %q on stream %q: %w", s.sub.Group, st.name, wrap(err)))
		}
	}
	return errors.Join(errs...)
}

func (s *source) leaveStream(ctx context.Context, st *stream) error {
	if s.token != "" {
		return s.d.eval(ctx, disownScript, st.keys(), s.token, s.sub.Group, s.me).Err()
	}
	gone, err := s.d.eval(ctx, leaveScript, st.keys(), "", s.sub.Group, s.me, holding).StringSlice()
	s.trimmed(st, gone...)
	return err
}
