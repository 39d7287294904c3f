package drivertest

import (
	"context"
	"reflect"
	"time"

	"github.com/anywire/anywire/transport/driver"
)

func receiveCases() []Case {
	return []Case{
		{
			Name:     "receive/max",
			Sentence: "Receive returns at most max messages.",
			run:      receiveMax,
		},
		{
			Name:     "receive/blocks",
			Sentence: "Receive blocks until at least one message is there.",
			run:      receiveBlocks,
		},
		{
			Name:     "receive/ctx-ends",
			Sentence: "Receive blocks until ctx ends, and returns its error.",
			run:      receiveCtxEnds,
		},
		{
			Name:     "receive/ctx-loses-nothing",
			Sentence: "A driver never drops what it has fetched: the end of a Receive's ctx loses no message.",
			run:      receiveCtxLosesNothing,
		},
		{
			Name:     "receive/ctx-is-not-the-lease",
			Sentence: "Receive's ctx bounds the call: deliveries stay with the member after it ended.",
			run:      receiveCtxNotLease,
		},
		{
			Name:     "receive/close-unblocks",
			Sentence: "Source.Close makes a running Receive return ErrClosed.",
			run:      receiveCloseUnblocks,
		},
		{
			Name:     "receive/closed",
			Sentence: "Receive blocks until the source is closed: ErrClosed, also when it was before.",
			run:      receiveClosed,
		},
		{
			Name:     "receive/messages-are-the-callers",
			Sentence: "The slice is valid until the next call of Receive; the messages belong to the caller.",
			run:      receiveCallersMessages,
		},
		{
			Name:     "receive/copies-per-group",
			Sentence: "The messages belong to the caller: what one group's owner writes into them, no other sees.",
			run:      receiveCopies,
		},
		{
			Name:     "receive/seq-rises",
			Sentence: "Seq is the position within the shard, where the broker counts; Position names it.",
			run:      receiveSeqRises,
		},
		{
			Name:     "receive/position-stays",
			Sentence: "Seq, Position and Published are of the message: a redelivery has the same.",
			run:      receivePositionStays,
		},
		{
			Name:     "receive/published",
			Sentence: "Published is the time of the message by the broker's clock.",
			run:      receivePublished,
		},
		{
			Name:     "receive/deliveries",
			Sentence: "Deliveries: how often it was delivered, this time included.",
			Needs:    []Need{needCounts},
			run:      receiveDeliveries,
		},
		{
			Name:     "receive/tokens",
			Sentence: "Token names a delivery to the source that made it. It is comparable.",
			run:      receiveTokens,
		},
		{
			Name:     "receive/wakes-for-each",
			Sentence: "Receive blocks until at least one message is there: each of many is delivered without waiting for the next.",
			run:      receiveWakes,
		},
		{
			Name:     "receive/beside-settle",
			Sentence: "Settle, Extend and Close may be called while Receive runs.",
			run:      receiveBesideSettle,
		},
	}
}

func receiveMax(e *env) {
	e.holds(10)
	topic := e.topic(1)
	e.publish(topic, e.numbered("", 1, 10)...)
	m := e.join(topic, e.group())
	seen := 0
	for _, limit := range []int{1, 3, 2, 4} {
		msgs, err := m.receive(e.ctx(), limit)
		e.mustf(err, "Receive of at most %d", limit)
		if len(msgs) == 0 || len(msgs) > limit {
			e.Fatalf("Receive of at most %d returned %d messages", limit, len(msgs))
		}
		seen += len(msgs)
	}
	m.take(10 - seen)
}

// answer is what one Receive returned.
type answer struct {
	msgs []*driver.Message
	err  error
}

// receiving calls Receive in the background. It ends with the case.
func (m *member) receiving(ctx context.Context) <-chan answer {
	done, ended := make(chan answer, 1), make(chan struct{})
	go func() {
		defer close(ended)
		msgs, err := m.receive(ctx, 1)
		done <- answer{msgs, err}
	}()
	m.Cleanup(func() {
		select {
		case <-ended:
		case <-m.cleanup().Done():
			m.Errorf("Receive goes on, though its ctx ended %v ago", m.h.Patience)
		}
	})
	return done
}

// wantBlocked fails if Receive came back within the quiet time.
func (e *env) wantBlocked(done <-chan answer, why string) {
	e.Helper()
	select {
	case a := <-done:
		e.Fatalf("Receive returned %q and error %v, though %s", bodies(a.msgs), a.err, why)
	case <-e.within(e.h.Quiet).Done():
	}
}

func (e *env) wantAnswer(done <-chan answer, what string) answer {
	e.Helper()
	select {
	case a := <-done:
		return a
	case <-e.ctx().Done():
		e.Fatalf("Receive did not return within %v after %s", e.h.Patience, what)
		return answer{}
	}
}

func receiveBlocks(e *env) {
	topic := e.topic(1)
	m := e.join(topic, e.group())
	done := m.receiving(e.ctx())
	e.wantBlocked(done, "there was no message")
	e.publish(topic, e.msg("", "1"))
	a := e.wantAnswer(done, "a message came")
	e.mustf(a.err, "Receive")
	if len(a.msgs) != 1 {
		e.Fatalf("Receive returned %d messages, want the one", len(a.msgs))
	}
	m.ack(a.msgs...)
}

func receiveCtxEnds(e *env) {
	topic := e.topic(1)
	m := e.join(topic, e.group())
	ctx, cancel := context.WithCancel(e.ctx())
	done := m.receiving(ctx)
	e.wantBlocked(done, "there was no message")
	cancel()
	a := e.wantAnswer(done, "its ctx ended")
	e.wantIs(a.err, context.Canceled, "Receive with a cancelled ctx")
	_, err := m.src.Receive(e.within(e.h.Quiet), 1)
	e.wantIs(err, context.DeadlineExceeded, "Receive past the deadline of its ctx")
	e.publish(topic, e.msg("", "1"))
	m.takeOne("1")
}

// receiveCtxLosesNothing ends contexts all the time while messages come. Calls
// in vain double their time, for brokers that are far away.
func receiveCtxLosesNothing(e *env) {
	const n = 20
	topic := e.topic(1)
	m := e.lease(topic, e.group(), 2)
	missing := set(numbers(1, n))
	const shortest = 2 * time.Millisecond
	next, short := 1, shortest
	e.eventually("all messages come through short Receives", func(ctx context.Context) bool {
		if next <= n {
			e.publish(topic, e.numbered("", next, next)...)
			next++
		}
		call, cancel := context.WithTimeout(ctx, short)
		defer cancel()
		msgs, _ := m.src.Receive(call, 2)
		short = min(2*short, e.h.Quiet)
		if len(msgs) > 0 {
			short = shortest
		}
		for _, msg := range msgs {
			delete(missing, string(msg.Body))
		}
		m.ack(msgs...)
		return len(missing) == 0 && next > n
	})
}

func receiveCtxNotLease(e *env) {
	topic, group := e.topic(1), e.group()
	e.publish(topic, e.msg("", "1"))
	a := e.join(topic, group)
	ctx, cancel := context.WithCancel(e.ctx())
	msgs, err := a.receive(ctx, 1)
	e.mustf(err, "Receive")
	cancel()
	b := e.join(topic, group)
	b.quiet("the other member holds it")
	a.ack(msgs...)
	a.close()
	b.quiet("it was acknowledged")
}

func receiveCloseUnblocks(e *env) {
	m := e.join(e.topic(1), e.group())
	done := m.receiving(e.ctx())
	e.wantBlocked(done, "there was no message")
	m.close()
	e.wantIs(e.wantAnswer(done, "Close").err, driver.ErrClosed, "Receive during Close")
}

func receiveClosed(e *env) {
	topic := e.topic(1)
	m := e.join(topic, e.group())
	m.close()
	e.publish(topic, e.msg("", "1"))
	msgs, err := m.src.Receive(e.ctx(), 1)
	e.wantIs(err, driver.ErrClosed, "Receive after Close")
	if len(msgs) > 0 {
		e.Errorf("Receive after Close returned %q", bodies(msgs))
	}
}

func receiveCallersMessages(e *env) {
	e.holds(6)
	topic := e.topic(1)
	m := e.join(topic, e.group())
	var held, copies []*driver.Message
	for i := 1; i <= 6; i++ {
		e.publish(topic, e.numbered("key", i, i)...)
		got := m.take(1)[0]
		c := *got
		held, copies = append(held, got), append(copies, &c)
	}
	for i := range held {
		if !reflect.DeepEqual(held[i], copies[i]) {
			e.Errorf("message %d became %+v after later calls of Receive, was %+v", i+1, held[i], copies[i])
		}
		e.wantSame(held[i], e.numbered("key", i+1, i+1)[0])
	}
	m.ack(held...)
}

func receiveCopies(e *env) {
	topic := e.topic(1)
	a, b := e.join(topic, e.group()), e.join(topic, e.group())
	want := e.msg("key", "1")
	e.publish(topic, want)
	got := a.takeOne("1")
	got.Key, got.Body, got.Headers, got.Published = "changed", []byte("changed"), nil, time.Time{}
	e.wantSame(b.take(1)[0], want)
	a.handBack(got)
	e.wantSame(a.take(1)[0], want)
}

func receiveSeqRises(e *env) {
	const n = 20
	e.holds(n)
	topic := e.topic(2)
	e.publish(topic, e.keyed(n)...)
	last := map[int]uint64{}
	positions := map[string]bool{}
	for _, m := range e.join(topic, e.group()).take(n) {
		if m.Seq != 0 && m.Seq <= last[m.Shard] {
			e.Errorf("Seq %d of shard %d comes after %d", m.Seq, m.Shard, last[m.Shard])
		}
		if m.Position != "" && positions[m.Position] {
			e.Errorf("two messages have the position %q", m.Position)
		}
		last[m.Shard], positions[m.Position] = m.Seq, true
	}
}

func receivePositionStays(e *env) {
	topic := e.topic(1)
	e.publish(topic, e.numbered("", 1, 2)...)
	m := e.join(topic, e.group())
	first := m.takeOne("1")
	m.handBack(first)
	for {
		again := m.take(1)[0]
		m.ack(again)
		if string(again.Body) != "1" {
			continue
		}
		if again.Seq != first.Seq || again.Position != first.Position || !again.Published.Equal(first.Published) || again.Shard != first.Shard {
			e.Errorf("the redelivery is at %d/%q/%d of %v, the message was at %d/%q/%d of %v", again.Seq, again.Position,
				again.Shard, again.Published, first.Seq, first.Position, first.Shard, first.Published)
		}
		return
	}
}

func receivePublished(e *env) {
	const skew = time.Minute // of the broker's clock
	topic := e.topic(1)
	before := time.Now()
	e.publish(topic, e.msg("", "1"))
	after := time.Now()
	got := e.join(topic, e.group()).takeOne("1").Published
	if got.Before(before.Add(-skew)) || got.After(after.Add(skew)) {
		e.Errorf("Published is %v, want a time near %v", got, before)
	}
}

func receiveDeliveries(e *env) {
	topic := e.topic(1)
	e.publish(topic, e.msg("", "1"))
	m := e.join(topic, e.group())
	last := 0
	for i := range 4 {
		got := m.takeOne("1")
		if i == 0 && got.Deliveries != 1 {
			e.Errorf("Deliveries is %d at first, want 1", got.Deliveries)
		}
		if got.Deliveries <= last {
			e.Errorf("Deliveries is %d after %d: it must rise", got.Deliveries, last)
		}
		last = got.Deliveries
		m.nack(0, got)
	}
}

func receiveTokens(e *env) {
	const n = 10
	e.holds(n)
	topic := e.topic(1)
	e.publish(topic, e.numbered("", 1, n)...)
	m := e.join(topic, e.group())
	seen := map[driver.Token]bool{}
	for _, msg := range m.take(n) {
		if msg.Token == nil || !reflect.TypeOf(msg.Token).Comparable() {
			e.Fatalf("token %#v is not comparable", msg.Token)
		}
		if seen[msg.Token] {
			e.Errorf("two deliveries have the token %v", msg.Token)
		}
		seen[msg.Token] = true
	}
}

func receiveWakes(e *env) {
	topic := e.topic(1)
	m := e.join(topic, e.group())
	for _, msg := range e.numbered("", 1, 30) {
		e.publish(topic, msg)
		m.ack(m.takeOne(string(msg.Body)))
	}
}

// receiveBesideSettle acknowledges each message while the next is awaited.
func receiveBesideSettle(e *env) {
	const n = 50
	topic := e.topic(1)
	m := e.join(topic, e.group())
	e.publish(topic, e.msg("", "1"))
	held := m.takeOne("1")
	for _, next := range e.numbered("", 2, n) {
		waiting := m.receiving(e.ctx())
		if string(next.Body) == "2" {
			e.wantBlocked(waiting, "the only message is held")
		}
		e.mustf(extendAndAck(e.ctx(), m.src, held), "Extend and Settle beside Receive")
		e.publish(topic, next)
		a := e.wantAnswer(waiting, "a message came")
		e.mustf(a.err, "Receive")
		held = a.msgs[0]
	}
	m.ack(held)
	m.quiet("everything was acknowledged")
}

func extendAndAck(ctx context.Context, src driver.Source, m *driver.Message) error {
	if _, err := src.Extend(ctx, []driver.Token{m.Token}); err != nil {
		return err
	}
	return src.Settle(ctx, settlements(driver.Ack, 0, m))
}
