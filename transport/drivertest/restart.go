package drivertest

import (
	"context"
	"errors"

	"github.com/anywire/anywire/transport/driver"
)

func restartCases() []Case {
	needs := []Need{needRestart, needDurable}
	return []Case{
		{
			Name:     "restart/keeps-messages",
			Sentence: "On a durable transport a confirmed message survives the broker's process.",
			Needs:    needs,
			run:      restartKeepsMessages,
			alone:    true,
		},
		{
			Name:     "restart/keeps-acks",
			Sentence: "Settle returns when the broker has confirmed: what is acknowledged stays so after a restart.",
			Needs:    needs,
			run:      restartKeepsAcks,
			alone:    true,
		},
		{
			Name:     "restart/source-goes-on",
			Sentence: "An error of Receive is taken as passing: called again, the source goes on when the broker is back.",
			Needs:    needs,
			run:      restartSourceGoesOn,
			alone:    true,
		},
		{
			Name:     "restart/publisher-goes-on",
			Sentence: "A broker outage is passing: the driver publishes again when the broker is back.",
			Needs:    needs,
			run:      restartPublisherGoesOn,
			alone:    true,
		},
		{
			Name:     "restart/held-deliveries-come-again",
			Sentence: "A message is handled until it succeeds: what was held when the broker went is settled or delivered again.",
			Needs:    needs,
			run:      restartHeld,
			alone:    true,
		},
		{
			Name:     "restart/ordered-reader-goes-on",
			Sentence: "Ordered: after an outage a shard's unsettled messages come before later ones.",
			Needs:    []Need{needRestart, needDurable, needOrder},
			run:      restartOrdered,
			alone:    true,
		},
		{
			Name:     "restart/epochs-rise",
			Sentence: "Acquire returns an epoch greater than that of any earlier holder, also of one before a restart.",
			Needs:    []Need{needRestart, needDurable, needLeaser},
			run:      restartEpochs,
			alone:    true,
		},
	}
}

// republish tries until the broker has confirmed; a message whose confirmation
// was lost may be there twice.
func (e *env) republish(topic string, m *driver.Message) {
	e.Helper()
	e.eventually("Publish succeeds after the restart", func(ctx context.Context) bool {
		err := e.d.Publish(ctx, topic, []*driver.Message{m})
		e.logOnce("Publish", err)
		return err == nil
	})
}

// logOnce reports an error that differs from the last.
func (e *env) logOnce(what string, err error) {
	e.Helper()
	if err != nil && e.said != what+err.Error() {
		e.said = what + err.Error()
		e.Logf("%s: %v; trying again until it succeeds", what, err)
	}
}

// rejoin subscribes as soon as the driver can.
func (e *env) rejoin(s driver.Subscription) *member {
	e.Helper()
	var src driver.Source
	e.eventually("Subscribe succeeds after the restart", func(ctx context.Context) bool {
		var err error
		src, err = e.d.Subscribe(ctx, s)
		e.logOnce("Subscribe", err)
		return err == nil
	})
	e.Cleanup(func() { _ = src.Close(e.cleanup()) })
	return &member{env: e, src: src, window: s.Window}
}

// resettle tries until the broker has confirmed or says that the delivery
// belongs to someone else.
func (m *member) resettle(msgs ...*driver.Message) {
	m.Helper()
	m.eventually("Settle is answered after the restart", func(ctx context.Context) bool {
		err := m.src.Settle(ctx, settlements(driver.Ack, 0, msgs...))
		m.logOnce("Settle", err)
		return err == nil || errors.Is(err, driver.ErrStale)
	})
}

// collect receives and acknowledges until all of missing have come, whatever
// else does.
func (m *member) collect(missing map[string]bool) []string {
	m.Helper()
	var got []string
	for len(missing) > 0 {
		msg := m.take(1)[0]
		got = append(got, string(msg.Body))
		delete(missing, string(msg.Body))
		m.resettle(msg)
	}
	return got
}

func restartKeepsMessages(e *env) {
	topic := e.topic(1)
	e.publish(topic, e.numbered("", 1, 50)...)
	e.h.Restart(e.TB)
	e.rejoin(e.subscription(topic, e.group())).collect(set(numbers(1, 50)))
}

func restartKeepsAcks(e *env) {
	topic, group := e.topic(1), e.group()
	e.publish(topic, e.numbered("", 1, 5)...)
	m := e.lease(topic, group, 5)
	m.ack(m.take(5)...)
	m.close()
	e.h.Restart(e.TB)
	s := e.subscription(topic, group)
	s.Lease = e.h.Lease
	e.rejoin(s).quietFor(e.h.Lease+e.h.Quiet, "it was acknowledged before the restart")
}

func restartSourceGoesOn(e *env) {
	topic := e.topic(1)
	m := e.join(topic, e.group())
	e.publish(topic, e.msg("", "1"))
	m.ack(m.takeOne("1"))
	waiting := m.receiving(e.ctx())
	e.h.Restart(e.TB)
	e.republish(topic, e.msg("", "2"))
	a := e.wantAnswer(waiting, "the restart")
	e.mustf(a.err, "Receive across a restart")
	if len(a.msgs) != 1 || string(a.msgs[0].Body) != "2" {
		e.Fatalf("received %v after the restart, want the message that was published then", bodies(a.msgs))
	}
	m.resettle(a.msgs...)
}

func restartPublisherGoesOn(e *env) {
	topic := e.topic(1)
	e.publish(topic, e.msg("", "1"))
	e.h.Restart(e.TB)
	e.republish(topic, e.msg("", "2"))
	e.rejoin(e.subscription(topic, e.group())).collect(set([]string{"1", "2"}))
}

func restartHeld(e *env) {
	topic, group := e.topic(1), e.group()
	e.publish(topic, e.numbered("", 1, 4)...)
	m := e.lease(topic, group, 4)
	held := m.take(4)
	e.h.Restart(e.TB)
	m.resettle(held[:2]...)
	if e.caps.OwnsShards { // what a member holds does not come again before it leaves
		m.close()
		m = e.rejoin(e.subscription(topic, group))
	}
	m.collect(set(bodies(held[2:])))
}

func restartOrdered(e *env) {
	topic, group := e.topic(1), e.group()
	e.publish(topic, e.numbered("key", 1, 6)...)
	s := e.leasedReader(topic, group, 0)
	m := e.subscribe(s)
	m.ack(m.takeOne("1"))
	m.takeRun(2, 4)
	e.h.Restart(e.TB)
	m.close()
	e.wantRising(e.rejoin(s), numbers(2, 6))
}

func restartEpochs(e *env) {
	l := e.leaser()
	before := l.long("a", "me")
	l.release(before)
	e.h.Restart(e.TB)
	var after driver.Lease
	e.eventually("Acquire succeeds after the restart", func(ctx context.Context) bool {
		var err error
		after, err = l.l.Acquire(ctx, l.scope, "a", "you", e.h.Lease)
		return err == nil
	})
	if after.Epoch <= before.Epoch {
		e.Errorf("epoch is %d after %d of the holder before the restart", after.Epoch, before.Epoch)
	}
}
