package natsdriver

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"

	"github.com/anywire/anywire/transport/driver"
)

// failure is an action that the server did not confirm.
type failure struct {
	index int
	err   error
}

// tell sends actions and returns those that failed.
func (s *source) tell(ctx context.Context, actions []action) []failure {
	ctx, cancel := context.WithTimeout(ctx, 2*confirmTimeout)
	defer cancel()
	err := s.tellTogether(ctx, actions)
	if err == nil {
		return nil
	}
	if errors.Is(err, context.DeadlineExceeded) && len(actions) > 1 && ctx.Err() == nil {
		return s.tellEach(ctx, actions)
	}
	return failures(actions, err)
}

func failures(actions []action, err error) []failure {
	list := make([]failure, len(actions))
	for i, a := range actions {
		list[i] = failure{a.index, err}
	}
	return list
}

// tellTogether waits for the answer to the last action only.
func (s *source) tellTogether(ctx context.Context, actions []action) error {
	if !s.d.nc.IsConnected() {
		return errDisconnected // buffered, it would be sent when it may be stale
	}
	last := len(actions) - 1
	for _, a := range actions[:last] {
		if err := s.d.nc.Publish(a.reply, a.word); err != nil {
			return wrap(err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, confirmTimeout)
	defer cancel()
	_, err := s.d.nc.RequestWithContext(ctx, actions[last].reply, actions[last].word)
	if errors.Is(err, nats.ErrNoResponders) {
		return fmt.Errorf("consumer %q of stream %q is gone: %w", s.consumer, s.stream, driver.ErrNotFound)
	}
	return wrap(err)
}

// tellEach finds out which actions the server answers: it keeps silent about
// deliveries that it forgot when it was killed.
func (s *source) tellEach(ctx context.Context, actions []action) []failure {
	prefix := s.d.nc.NewInbox() + "."
	answers := make(chan *nats.Msg, len(actions))
	sub, err := s.d.nc.ChanSubscribe(prefix+"*", answers)
	if err != nil {
		return failures(actions, wrap(err))
	}
	defer func() { _ = sub.Unsubscribe() }()
	for i, a := range actions {
		if err := s.d.nc.PublishRequest(a.reply, prefix+strconv.Itoa(i), a.word); err != nil {
			return failures(actions, wrap(err))
		}
	}
	open := make(map[int]action, len(actions))
	for i, a := range actions {
		open[i] = a
	}
	for len(open) > 0 {
		select {
		case m := <-answers:
			if i, err := strconv.Atoi(m.Subject[len(prefix):]); err == nil {
				delete(open, i)
			}
		case <-ctx.Done():
			rest := make([]failure, 0, len(open))
			for _, a := range open {
				rest = append(rest, failure{a.index, errNoAnswer})
			}
			return rest
		}
	}
	return nil
}
