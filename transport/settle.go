package transport

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/transport/driver"
)

// settlement is an outcome on its way to the broker.
type settlement struct {
	t   *task
	out Outcome
}

func (o Outcome) settlement(t *task) driver.Settlement {
	token := t.Raw.Token
	switch o.kind {
	case redeliver:
		return driver.Settlement{Token: token, Outcome: driver.Nack, Delay: o.wait, Attempts: o.attempts, Headers: t.copied()}
	case handBack:
		return driver.Settlement{Token: token, Outcome: driver.HandBack}
	case done, waitInLane:
	}
	return driver.Settlement{Token: token, Outcome: driver.Ack}
}

// settle hands an outcome to the source's settler.
func (s *subscription) settle(t *task, out Outcome) {
	t.state = settling
	if t.src.closed {
		s.free(t)
		return
	}
	t.src.pending = append(t.src.pending, settlement{t, out})
	if !t.src.sending {
		signal(t.src.settler)
	}
}

// free gives the slot back.
func (s *subscription) free(t *task) {
	if t.state == gone {
		return
	}
	t.state = gone
	t.src.tasks.remove(t)
	s.used--
}

// settleLoop sends what has come together while the last batch was at the broker.
func (src *source) settleLoop() {
	var batch, spare []settlement
	retry := backoff{}
	for {
		src.applyPauses()
		if batch = src.takePending(spare); len(batch) == 0 {
			select {
			case <-src.settler:
				continue
			case <-src.over:
				return
			}
		}
		if src.send(batch) {
			retry = backoff{}
		} else if !retry.wait(src.over) {
			return
		}
		clear(batch)
		spare = batch[:0]
	}
}

func (src *source) takePending(spare []settlement) []settlement {
	s := src.sub
	s.mu.Lock()
	defer s.unlock()
	src.pending = slices.DeleteFunc(src.pending, s.droppedPending)
	if src.sending = len(src.pending) > 0; !src.sending {
		s.notify()
		return nil
	}
	batch := src.pending
	src.pending = spare
	return batch
}

// droppedPending drops an outcome whose delivery was lost before it could be
// sent.
func (s *subscription) droppedPending(one settlement) bool {
	if one.t.lost == nil {
		return false
	}
	s.free(one.t)
	s.noteLost(one.t, one.t.lost)
	s.feedAll()
	return true
}

// send settles a batch and frees the slots of what the broker confirmed; the
// rest goes back to pending. It reports whether all went well.
func (src *source) send(batch []settlement) bool {
	s := src.sub
	calls := make([]driver.Settlement, 0, len(batch))
	for _, one := range batch {
		calls = append(calls, one.out.settlement(one.t))
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(src.ctx), s.o.Lease)
	err := src.driver.Settle(ctx, calls)
	cancel()
	again := src.settled(batch, err)
	for _, one := range batch {
		if one.t != nil {
			one.t.Cancel(nil)
		}
	}
	if again > 0 {
		s.t.log.Warn("settling is repeated", "transport", s.t.Name(), "topic", s.topic, "group", s.o.Group,
			"messages", again, "error", err)
	}
	return again == 0
}

// settled frees the slots of a batch; what has to be sent again it takes out.
func (src *source) settled(batch []settlement, err error) (again int) {
	s := src.sub
	var some driver.BatchError
	isBatch := errors.As(err, &some)
	s.mu.Lock()
	defer s.unlock()
	for i, one := range batch {
		failure := err
		if isBatch {
			failure = some[i]
		}
		switch {
		case one.t.state == gone:
		case failure == nil:
			s.free(one.t)
		case one.t.lost != nil, errors.Is(failure, driver.ErrStale), errors.Is(failure, driver.ErrClosed):
			s.free(one.t)
			s.noteLost(one.t, failure)
		default:
			src.pending = append(src.pending, one)
			batch[i].t = nil
			again++
		}
	}
	if again < len(batch) {
		s.lastSettled = time.Now()
		s.note(Settled{s.t.Name(), s.topic, s.o.Group, len(batch) - again})
	}
	s.feedAll()
	s.notify()
	return again
}

// lose takes a delivery away from its handler: somebody else has it, or may
// have. What still runs is cancelled and frees its slot when it returns.
func (s *subscription) lose(t *task, reason error) {
	if t.lost != nil || t.state == gone {
		return
	}
	t.lost = reason
	t.Cancel(envelope.LeaseLost)
	switch t.state {
	case waiting:
		s.t.waits.stop(t.wait)
		s.drop(t)
	case queued:
		s.drop(t)
	case running, settling, gone:
	}
}

// drop ends a lost delivery without a word to the broker.
func (s *subscription) drop(t *task) {
	s.leaveLane(t)
	s.free(t)
	s.noteLost(t, t.lost)
	s.feedAll()
}

func (s *subscription) noteLost(t *task, reason error) {
	s.events = append(s.events, Lost{s.t.Name(), s.topic, s.o.Group, t.id(), reason.Error()})
}
