package natsdriver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/anywire/anywire/transport/driver"
)

// confirmTimeout bounds the wait for the server's word on a batch.
const confirmTimeout = 2 * time.Second

var progress = []byte("+WPI") //nolint:gochecknoglobals // a constant

// action is one word about a delivery to the server.
type action struct {
	index int
	d     *delivery
	reply string
	word  []byte
}

// Settle tells the server and waits until it has dealt with all: it answers the
// last, and handles them in their order. What it did not answer is told once
// more, one by one.
func (s *source) Settle(ctx context.Context, list []driver.Settlement) error {
	actions, failed := s.settlements(list)
	if len(actions) == 0 {
		return failed.Err()
	}
	for _, a := range s.tell(ctx, actions) {
		if failed == nil {
			failed = driver.BatchError{}
		}
		failed[a.index] = a.err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range actions {
		s.settled(a.d, list[a.index], failed[a.index] == nil)
	}
	return failed.Err()
}

// settlements sorts out what is not ours any more.
func (s *source) settlements(list []driver.Settlement) (actions []action, failed driver.BatchError) {
	now := time.Now()
	actions = make([]action, 0, len(list))
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range list {
		d, mine := list[i].Token.(*delivery)
		if !mine || d.src != s || !s.holds(d, now) {
			if failed == nil {
				failed = driver.BatchError{}
			}
			failed[i] = errStale
			continue
		}
		if list[i].Outcome != driver.Ack {
			s.returning(d, &list[i]) // it may come again before this call returns
		}
		actions = append(actions, action{i, d, d.reply, word(&list[i])})
	}
	return actions, failed
}

var errStale = fmt.Errorf("its lease ended: %w", driver.ErrStale)

// holds reports whether a delivery is surely still ours, and forgets it if not.
func (s *source) holds(d *delivery, now time.Time) bool {
	if s.out[d.seq] != d {
		return false
	}
	if now.Before(d.deadline) {
		return true
	}
	delete(s.out, d.seq)
	return false
}

// word is what the server is told: nothing is an acknowledgement.
func word(o *driver.Settlement) []byte {
	switch {
	case o.Outcome == driver.Ack:
		return nil
	case o.Outcome == driver.Nack && o.Delay > 0:
		return append(strconv.AppendInt([]byte(`-NAK {"delay":`), int64(o.Delay), 10), '}')
	default:
		return []byte("-NAK")
	}
}

// returning expects a delivery anew.
func (s *source) returning(d *delivery, o *driver.Settlement) {
	delete(s.out, d.seq)
	d.returning = true
	if s.shard < 0 {
		return
	}
	s.disorder.Store(true) // it must come before what follows it
	if o.Outcome == driver.Nack && o.Delay > 0 {
		if s.delayed == nil {
			s.delayed = map[uint64]time.Time{}
		}
		s.delayed[d.seq] = time.Now().Add(o.Delay)
	}
}

// settled forgets a delivery that the server confirmed the end of, or takes it
// back to be settled again.
func (s *source) settled(d *delivery, o driver.Settlement, confirmed bool) {
	d.returning = false
	switch {
	case confirmed && s.out[d.seq] == d:
		delete(s.out, d.seq)
	case !confirmed && o.Outcome != driver.Ack && s.out[d.seq] == nil:
		s.out[d.seq] = d
		delete(s.delayed, d.seq)
	}
}

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
		return fmt.Errorf("consumer %q of stream %q is gone: %w", s.consumer, s.topic.stream, driver.ErrNotFound)
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

// Extend renews leases that our own clock still grants, and moves it when the
// server has confirmed. JetStream does not tell whose a delivery is: what was not
// extended in time is lost.
func (s *source) Extend(ctx context.Context, tokens []driver.Token) (lost []driver.Token, err error) {
	start := time.Now()
	actions := make([]action, 0, len(tokens))
	s.mu.Lock()
	for _, t := range tokens {
		d, mine := t.(*delivery)
		switch {
		case mine && d.src == s && d.returning:
			continue // its end is being told
		case !mine || d.src != s || !s.holds(d, start):
			lost = append(lost, t)
			continue
		}
		actions = append(actions, action{d: d, reply: d.reply, word: progress})
	}
	actions = s.withQueued(actions, start)
	s.mu.Unlock()
	if len(actions) == 0 {
		return lost, nil
	}
	ctx, cancel := context.WithTimeout(ctx, max(confirmTimeout, s.lease/4))
	defer cancel()
	if err := s.tellTogether(ctx, actions); err != nil {
		return nil, fmt.Errorf("extend leases of group %q: %w", s.sub.Group, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range actions {
		if s.out[a.d.seq] == a.d {
			a.d.deadline = start.Add(s.lease)
		}
	}
	return lost, nil
}

// withQueued adds what an ordered source holds back.
func (s *source) withQueued(actions []action, now time.Time) []action {
	if s.shard < 0 {
		return actions
	}
	for _, d := range s.out {
		if d.queued && now.Before(d.deadline) {
			actions = append(actions, action{d: d, reply: d.reply, word: progress})
		}
	}
	return actions
}

// giveBack makes deliveries available to others at once.
func (s *source) giveBack(ctx context.Context, list []*delivery) error {
	now := time.Now()
	actions := make([]action, 0, len(list))
	s.mu.Lock()
	for _, d := range list {
		if s.holds(d, now) {
			actions = append(actions, action{d: d, reply: d.reply, word: []byte("-NAK")})
			delete(s.out, d.seq)
		}
	}
	s.mu.Unlock()
	if len(actions) == 0 {
		return nil
	}
	return s.tellTogether(ctx, actions)
}

// Close gives back everything that is not settled, withdraws the pulls and
// returns the pin. The consumer stays, unless the group is ephemeral.
func (s *source) Close(ctx context.Context) error {
	s.closing.Do(func() { close(s.done) })
	s.recv.Lock()
	defer s.recv.Unlock()
	if s.left {
		return nil
	}
	s.left = true
	s.parking.Stop()
	if !s.d.nc.IsConnected() {
		s.dropInbox()
		return nil // the leases end
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*confirmTimeout)
	defer cancel()
	s.closeInbox()
	var err error
	if s.stillOurs(ctx) {
		err = s.giveBack(ctx, s.unsettled())
		if s.pin != "" {
			err = errors.Join(err, s.unpin(ctx))
		}
	}
	if s.sub.Ephemeral {
		err = errors.Join(err, wrap(s.d.js.DeleteConsumer(ctx, s.topic.stream, s.consumer)))
	}
	if errors.Is(err, driver.ErrNotFound) {
		return nil // deleted by somebody: nothing is held
	}
	return err
}

// dropInbox forgets the inbox without a word to the server.
func (s *source) dropInbox() {
	if s.in.sub != nil {
		_ = s.in.sub.Unsubscribe()
	}
}

// unsettled lists what is out, in its order.
func (s *source) unsettled() []*delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*delivery, 0, len(s.out))
	for _, d := range s.out {
		list = append(list, d)
	}
	slices.SortFunc(list, func(a, b *delivery) int { return compare(a.seq, b.seq) })
	return list
}
