package drivertest

import (
	"context"
	"fmt"

	"github.com/anywire/anywire/transport/driver"
)

func flowCases() []Case {
	return []Case{
		{
			Name:     "flow/window-is-not-hoarded",
			Sentence: "Window is the most that the engine will have unsettled from this source: a driver fetches no more for it.",
			Needs:    []Need{needLeases},
			run:      flowWindow,
		},
		{
			Name:     "flow/max-in-flight",
			Sentence: "MaxInFlight is the most unsettled deliveries of one source; a settlement makes room.",
			Needs:    []Need{needMaxInFlight},
			run:      flowMaxInFlight,
		},
		{
			Name:     "flow/redelivers-without-bound",
			Sentence: "A message is handled until it succeeds: no number of redeliveries drops it.",
			run:      flowRedelivers,
		},
		{
			Name:     "flow/held-deliveries-hold-nobody-up",
			Sentence: "Settle in any order, in flight up to the window: an unsettled delivery does not stop the next.",
			run:      flowHeld,
		},
		{
			Name:     "flow/shards-take-turns",
			Sentence: "Messages of one shard come in the broker's order; shards take turns.",
			Needs:    []Need{needAdmin},
			run:      flowTurns,
		},
		{
			Name:     "flow/full-topic-blocks",
			Sentence: "A full bounded topic blocks until there is room.",
			Needs:    []Need{needBounded},
			run:      flowFullBlocks,
		},
		{
			Name:     "flow/full-topic-and-ctx",
			Sentence: "When ctx ends first, Publish returns its error for what is unconfirmed: also while the topic is full.",
			Needs:    []Need{needBounded},
			run:      flowFullCtx,
		},
		{
			Name:     "flow/overflow",
			Sentence: "A full bounded topic blocks, unless MayOverflow says that ctx must not wait.",
			Needs:    []Need{needBounded},
			run:      flowOverflow,
		},
	}
}

func flowWindow(e *env) {
	topic, group := e.topic(1), e.group()
	e.holds(2)
	s := e.subscription(topic, group)
	s.Window = 2
	a := e.subscribe(s)
	e.publish(topic, e.numbered("", 1, 10)...)
	held := a.take(2)
	rest := set(numbers(1, 10))
	for _, body := range bodies(held) {
		delete(rest, body)
	}
	e.subscribe(s).gather(keys(rest)...)
	a.ack(held...)
}

// flowTurns publishes to the shards in turn, so that each way of being fair shows
// all of them in the first half.
func flowTurns(e *env) {
	const perShard = 100
	topic := e.topic(shards)
	var msgs []*driver.Message
	for i := range perShard {
		for _, key := range keysPerShard() {
			msgs = append(msgs, e.msg(key, fmt.Sprintf("%s:%d", key, i)))
		}
	}
	e.publish(topic, msgs...)
	s := e.subscription(topic, e.group())
	s.Window = min(s.Window, 16)
	m := e.subscribe(s)
	seen := map[int]bool{}
	ctx := e.ctx()
	for n := 0; n < len(msgs)/2; {
		got, err := m.receive(ctx, s.Window)
		e.mustf(err, "Receive after %d messages", n)
		for _, msg := range got {
			seen[msg.Shard] = true
		}
		n += len(got)
		m.ack(got...)
	}
	if len(seen) < shards {
		e.Errorf("half of the messages came from %d shards of %d", len(seen), shards)
	}
}

func flowMaxInFlight(e *env) {
	const most = 5000 // more than that takes too long to fill
	n := e.caps.MaxInFlight
	if n > most {
		e.skip("MaxInFlight is too large to fill")
	}
	topic := e.topic(1)
	e.publish(topic, e.numbered("", 1, n+1)...)
	s := e.subscription(topic, e.group())
	s.Window = n
	m := e.subscribe(s)
	held := m.take(n)
	m.quiet("MaxInFlight deliveries are unsettled")
	m.ack(held[0])
	m.take(1)
}

func flowRedelivers(e *env) {
	topic := e.topic(1)
	want := e.msg("key", "1")
	e.publish(topic, want)
	m := e.join(topic, e.group())
	for range 25 {
		m.nack(0, m.takeOne("1"))
	}
	got := m.takeOne("1")
	e.wantSame(got, want)
	m.ack(got)
	m.quiet("it was acknowledged")
}

func flowHeld(e *env) {
	e.holds(20)
	topic := e.topic(1)
	e.publish(topic, e.numbered("", 1, 40)...)
	m := e.join(topic, e.group())
	held := m.take(20)
	m.ack(m.take(20)...)
	m.ack(held...)
	m.quiet("everything was acknowledged")
}

// full opens a driver with a topic that holds limit messages of a group which
// has received nothing.
func (e *env) full(limit int) (topic string, m *member) {
	e.Helper()
	e.d = e.closeLater(e.h.OpenBounded(e.TB, limit))
	topic = e.topic(1)
	m = e.join(topic, e.group())
	e.publish(topic, e.numbered("", 1, limit)...)
	return topic, m
}

// publishing publishes in the background.
func (e *env) publishing(ctx context.Context, topic string, m *driver.Message) <-chan error {
	done := make(chan error, 1)
	go func() { done <- e.d.Publish(ctx, topic, []*driver.Message{m}) }()
	return done
}

func (e *env) wantWaiting(done <-chan error) {
	e.Helper()
	select {
	case err := <-done:
		e.Fatalf("Publish into a full topic returned error %v, want it to wait for room", err)
	case <-e.within(e.h.Quiet).Done():
	}
}

func flowFullBlocks(e *env) {
	topic, m := e.full(4)
	done := e.publishing(e.ctx(), topic, e.msg("", "5"))
	e.wantWaiting(done)
	m.ack(m.take(2)...)
	select {
	case err := <-done:
		e.mustf(err, "Publish after there was room")
	case <-e.ctx().Done():
		e.Fatalf("Publish still waits, though there is room")
	}
	m.gather("3", "4", "5")
}

func flowFullCtx(e *env) {
	topic, m := e.full(4)
	ctx, cancel := context.WithCancel(e.ctx())
	done := e.publishing(ctx, topic, e.msg("", "5"))
	e.wantWaiting(done)
	cancel()
	select {
	case err := <-done:
		e.wantIs(err, context.Canceled, "Publish into a full topic")
	case <-e.ctx().Done():
		e.Fatalf("Publish still waits, though its ctx ended")
	}
	m.gather(numbers(1, 4)...)
	m.quiet("its publish failed")
}

func flowOverflow(e *env) {
	topic, m := e.full(4)
	ctx := driver.WithOverflow(e.ctx())
	select {
	case err := <-e.publishing(ctx, topic, e.msg("", "5")):
		e.mustf(err, "Publish that may overflow")
	case <-e.ctx().Done():
		e.Fatalf("Publish waits for room, though it may overflow")
	}
	m.gather(numbers(1, 5)...)
}
