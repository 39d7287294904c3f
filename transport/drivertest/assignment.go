package drivertest

import (
	"context"

	"github.com/anywire/anywire/transport/driver"
)

func assignmentCases() []Case {
	owns := []Need{needOwnsShards, needOrder, needAdmin}
	return []Case{
		{
			Name:     "assignment/revoked-is-set",
			Sentence: "OwnsShards: sources deliver with Revoked set.",
			Needs:    owns,
			run:      assignmentRevokedSet,
		},
		{
			Name:     "assignment/revoked-is-closed",
			Sentence: "Revoked is closed when the message's shard moves to another member.",
			Needs:    owns,
			run:      assignmentMoves,
		},
		{
			Name:     "assignment/drained-hand-over",
			Sentence: "The engine starts nothing more of a revoked shard and settles what runs: what it settled does not come to the new owner.",
			Needs:    owns,
			run:      assignmentDrained,
		},
		{
			Name:     "assignment/one-owner",
			Sentence: "OwnsShards: the broker's own group protocol gives each shard one owner.",
			Needs:    owns,
			run:      assignmentOneOwner,
		},
		{
			Name:     "assignment/others-flow",
			Sentence: "Revoked is closed when a shard moves, and the engine has Drain to settle it: the member's other shards go on meanwhile.",
			Needs:    owns,
			run:      assignmentOthersFlow,
		},
		{
			Name:     "assignment/pause",
			Sentence: "PauseShards stops fetching some shards of a source; pausing replaces the set.",
			Needs:    owns,
			run:      assignmentPause,
		},
		{
			Name:     "assignment/fixed",
			Sentence: "Revoked is nil where shards of a source do not move.",
			Needs:    []Need{needLeases, needOrder},
			run:      assignmentFixed,
		},
	}
}

func assignmentRevokedSet(e *env) {
	topic := e.topic(shards)
	e.publish(topic, e.keyed(20)...)
	m := e.subscribe(e.reader(topic, e.group(), 0))
	perShard := map[int]<-chan struct{}{}
	for _, msg := range m.take(20) {
		if msg.Revoked == nil {
			e.Fatalf("message %s of shard %d has no Revoked", msg.Body, msg.Shard)
		}
		if ch, ok := perShard[msg.Shard]; ok && ch != msg.Revoked {
			e.Errorf("deliveries of one assignment of shard %d have two channels", msg.Shard)
		}
		if (receipt{msg: msg}).moved() {
			e.Errorf("Revoked of shard %d is closed, though there is one member", msg.Shard)
		}
		perShard[msg.Shard] = msg.Revoked
	}
}

// rebalanced holds 20 messages in a, lets b join, and splits what a holds into
// what moves to b and what stays.
func (e *env) rebalanced() (a, b *member, moved, stay []*driver.Message) {
	e.Helper()
	a, b, moved, stay, _ = e.rebalancedOn(e.reader(e.topic(shards), e.group(), 0))
	return a, b, moved, stay
}

// rebalancedOn is rebalanced on a topic of 4 shards; next is a's Receive, which
// goes on as the engine's does.
func (e *env) rebalancedOn(s driver.Subscription) (a, b *member, moved, stay []*driver.Message, next <-chan answer) {
	e.Helper()
	e.publish(s.Topic, e.keyed(20)...)
	a = e.subscribe(s)
	held := a.take(20)
	b = e.subscribe(s)
	next = a.receiving(e.ctx())
	e.eventually("a shard moves to the new member", func(context.Context) bool {
		moved, stay = split(held)
		return len(moved) > 0
	})
	return a, b, moved, stay, next
}

func split(held []*driver.Message) (moved, stay []*driver.Message) {
	for _, msg := range held {
		if (receipt{msg: msg}).moved() {
			moved = append(moved, msg)
		} else {
			stay = append(stay, msg)
		}
	}
	return moved, stay
}

func assignmentMoves(e *env) {
	a, b, moved, _ := e.rebalanced()
	a.handBack(moved...)
	b.gatherAny(set(bodies(moved)))
}

// gatherAny receives and acknowledges until all of missing have come, whatever
// else does.
func (m *member) gatherAny(missing map[string]bool) {
	m.Helper()
	ctx := m.ctx()
	for len(missing) > 0 {
		msgs, err := m.receive(ctx, m.window)
		if err != nil {
			m.Fatalf("%s are missing: %v", some(missing), err)
		}
		for _, msg := range msgs {
			delete(missing, string(msg.Body))
		}
		m.ack(msgs...)
	}
}

func assignmentDrained(e *env) {
	a, b, moved, stay := e.rebalanced()
	a.ack(moved...)
	a.ack(stay...)
	b.quietFor(e.h.Lease+e.h.Quiet, "the old owner had acknowledged it")
}

// assignmentOthersFlow publishes to every shard, since more of them may move.
func assignmentOthersFlow(e *env) {
	s := e.reader(e.topic(shards), e.group(), 0)
	s.Drain = 3 * e.h.Patience // so that the wait for it is no way out
	a, _, moved, stay, next := e.rebalancedOn(s)
	a.ack(stay...)
	for _, key := range keysPerShard() {
		e.publish(s.Topic, e.msg(key, "more of "+key))
	}
	got := e.wantAnswer(next, "messages came to the shards that stay")
	e.mustf(got.err, "Receive")
	a.ack(got.msgs...)
	a.ack(moved...)
}

func assignmentOneOwner(e *env) {
	topic, group := e.topic(shards), e.group()
	s := e.reader(topic, group, 0)
	s.Window = 4 // so that nobody takes all at once
	a, b := e.subscribe(s), e.subscribe(s)
	e.publish(topic, e.keyed(40)...)
	owner := map[int]*member{}
	for _, times := range e.alternate(numbers(1, 40), a, b) {
		last := times[len(times)-1]
		if last.moved() {
			continue
		}
		if o := owner[last.msg.Shard]; o != nil && o != last.by {
			e.Errorf("shard %d has two owners at once", last.msg.Shard)
		}
		owner[last.msg.Shard] = last.by
	}
}

func assignmentPause(e *env) {
	topic := e.topic(shards)
	m := e.subscribe(e.reader(topic, e.group(), 0))
	p, ok := m.src.(driver.ShardPauser)
	if !ok {
		e.skip("needs ShardPauser")
	}
	keyOf := keysPerShard()
	e.publish(topic, e.msg(keyOf[0], "first"))
	m.ack(m.takeOne("first")) // it is assigned
	p.PauseShards([]int{0})
	e.publish(topic, e.msg(keyOf[0], "paused"))
	e.publish(topic, e.msg(keyOf[1], "flows"))
	m.ack(m.takeOne("flows"))
	m.quiet("its shard is paused")
	p.PauseShards(nil)
	m.ack(m.takeOne("paused"))
}

func assignmentFixed(e *env) {
	topic := e.topic(1)
	e.publish(topic, e.msg("key", "1"))
	if got := e.subscribe(e.reader(topic, e.group(), 0)).takeOne("1"); got.Revoked != nil {
		e.Errorf("Revoked is set, though the driver does not own shards: the engine would take it for an assignment")
	}
}
