package drivertest

import (
	"context"
	"time"

	"github.com/anywire/anywire/transport/driver"
)

func lagCases() []Case {
	needs := []Need{needLag}
	return []Case{
		{
			Name:     "lag/waiting",
			Sentence: "Lag.Waiting: not delivered yet.",
			Needs:    needs,
			run:      lagWaiting,
		},
		{
			Name:     "lag/pending",
			Sentence: "Lag.Pending: delivered and not settled.",
			Needs:    needs,
			run:      lagPending,
		},
		{
			Name:     "lag/oldest",
			Sentence: "Lag.Oldest: when the oldest unsettled message was published; zero: none.",
			Needs:    needs,
			run:      lagOldest,
		},
		{
			Name:     "lag/per-group",
			Sentence: "Lag is what a group has not settled, each for itself.",
			Needs:    needs,
			run:      lagPerGroup,
		},
		{
			Name:     "lag/without-members",
			Sentence: "Lagger counts what a group has before it, also while no member is there.",
			Needs:    needs,
			run:      lagWithoutMembers,
		},
	}
}

// wantLag waits until ok: counts may follow with a delay.
func (e *env) wantLag(topic, group, what string, ok func(driver.Lag) bool) {
	e.Helper()
	var last driver.Lag
	e.Cleanup(func() {
		if e.Failed() {
			e.Logf("the last Lag of %s was %+v", group, last)
		}
	})
	e.eventually("Lag shows "+what, func(ctx context.Context) bool {
		lag, err := e.d.(driver.Lagger).Lag(ctx, topic, group)
		e.mustf(err, "Lag")
		last = lag
		return ok(lag)
	})
}

func settled(l driver.Lag) bool { return l.Waiting == 0 && l.Pending == 0 && l.Oldest.IsZero() }

func lagWaiting(e *env) {
	topic, group := e.topic(2), e.group()
	m := e.join(topic, group)
	e.wantLag(topic, group, "nothing", settled)
	e.publish(topic, e.keyed(10)...)
	e.wantLag(topic, group, "10 messages", func(l driver.Lag) bool { return l.Waiting+l.Pending == 10 })
	m.gather(numbers(1, 10)...)
	e.wantLag(topic, group, "nothing, when all is acknowledged", settled)
}

func lagPending(e *env) {
	topic, group := e.topic(1), e.group()
	e.publish(topic, e.numbered("", 1, 10)...)
	s := e.subscription(topic, group)
	s.Window = 4
	m := e.subscribe(s)
	held := m.take(4)
	e.wantLag(topic, group, "4 pending and 6 waiting", func(l driver.Lag) bool {
		if e.caps.OwnsShards { // such a broker knows what is committed, not what is delivered
			return l.Pending+l.Waiting == 10
		}
		return l.Pending == 4 && l.Waiting == 6
	})
	m.ack(held[1:]...)
	e.wantLag(topic, group, "7 messages", func(l driver.Lag) bool { return l.Pending+l.Waiting == 7 })
}

func lagOldest(e *env) {
	topic, group := e.topic(1), e.group()
	e.publish(topic, e.numbered("", 1, 3)...)
	m := e.join(topic, group)
	held := m.take(3)
	near := func(l driver.Lag) bool {
		return l.Oldest.Sub(held[0].Published).Abs() <= time.Second
	}
	e.wantLag(topic, group, "the time of the oldest that is held", near)
	m.ack(held...)
	e.wantLag(topic, group, "nothing, when all is acknowledged", settled)
}

func lagPerGroup(e *env) {
	topic, done, behind := e.topic(1), e.group(), e.group()
	m := e.join(topic, done)
	e.join(topic, behind)
	e.publish(topic, e.numbered("", 1, 5)...)
	m.gather(numbers(1, 5)...)
	e.wantLag(topic, done, "nothing of the group that is done", settled)
	e.wantLag(topic, behind, "5 messages of the other", func(l driver.Lag) bool { return l.Waiting+l.Pending == 5 })
}

func lagWithoutMembers(e *env) {
	topic, group := e.topic(1), e.group()
	e.publish(topic, e.numbered("", 1, 5)...)
	m := e.join(topic, group)
	m.ack(m.take(2)...)
	m.close()
	e.wantLag(topic, group, "3 messages", func(l driver.Lag) bool { return l.Waiting+l.Pending == 3 })
	e.join(topic, group).gather(numbers(3, 5)...)
}
