package drivertest

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/anywire/anywire/transport/driver"
)

func subscribeCases() []Case {
	return []Case{
		{
			Name:     "subscribe/starts-at-oldest",
			Sentence: "Start: the zero value is the oldest message.",
			run: func(e *env) {
				topic := e.topic(1)
				e.publish(topic, e.numbered("", 1, 5)...)
				e.join(topic, e.group()).gather(numbers(1, 5)...)
			},
		},
		{
			Name:     "subscribe/starts-now",
			Sentence: "Start says where a group that is new to a topic begins: StartNow skips what is there.",
			run:      subscribeNow,
		},
		{
			Name:     "subscribe/starts-at-a-time",
			Sentence: "StartTime: a group can start at a time.",
			Needs:    []Need{needStartTime},
			run:      subscribeAtTime,
		},
		{
			Name:     "subscribe/misses-nothing",
			Sentence: "Subscribe returns once messages that are published from now on cannot be missed.",
			run:      subscribeMissesNothing,
		},
		{
			Name:     "subscribe/resumes",
			Sentence: "Start is for a group that is new to a topic: an old one goes on where it was.",
			run:      func(e *env) { subscribeAgain(e, driver.Start{}) },
		},
		{
			Name:     "subscribe/start-now-resumes-too",
			Sentence: "Start is for a group that is new to a topic: what came while its members were away is not skipped.",
			run:      func(e *env) { subscribeAgain(e, driver.Start{At: driver.StartNow}) },
		},
		{
			Name:     "subscribe/groups-are-apart",
			Sentence: "Ack: the delivery is done, for this group; every group gets every message.",
			run:      subscribeGroupsApart,
		},
		{
			Name:     "subscribe/late-group",
			Sentence: "Start: the zero value is the oldest message, also of those that other groups have done.",
			Needs:    []Need{needDurable},
			run:      subscribeLateGroup,
		},
		{
			Name:     "subscribe/one-group-on-two-topics",
			Sentence: "Subscribe joins sub.Group on sub.Topic: the same name on another topic is another group.",
			run:      subscribeOneGroupTwoTopics,
		},
		{
			Name:     "subscribe/members-share",
			Sentence: "A delivery stays with one member: members of a group share messages without overlap.",
			Needs:    []Need{needLeases},
			run:      subscribeShare,
		},
		{
			Name:     "subscribe/missing-topic",
			Sentence: "A topic that does not exist is created, or refused with ErrNotFound.",
			run:      subscribeMissingTopic,
		},
		{
			Name:     "subscribe/ctx-bounds-the-call",
			Sentence: "ctx bounds the call, not the source.",
			run:      subscribeCtx,
		},
		{
			Name:     "subscribe/cancelled",
			Sentence: "ctx bounds the call: one that has ended joins nothing.",
			run:      subscribeCancelled,
		},
		{
			Name:     "subscribe/closed",
			Sentence: "The driver's errors wrap the sentinels of this package where one fits: Subscribe after Close is ErrClosed.",
			run:      subscribeClosed,
		},
		{
			Name:     "subscribe/ephemeral",
			Sentence: "Ephemeral groups vanish with their only member.",
			run:      subscribeEphemeral,
		},
		{
			Name:     "subscribe/group-names",
			Sentence: "A group's name is carried whole: dots, dashes, underscores and upper case tell groups apart.",
			run:      subscribeGroupNames,
		},
	}
}

func subscribeNow(e *env) {
	topic := e.topic(1)
	e.publish(topic, e.numbered("", 1, 3)...)
	s := e.subscription(topic, e.group())
	s.Start.At = driver.StartNow
	m := e.subscribe(s)
	e.publish(topic, e.msg("", "4"))
	m.ack(m.takeOne("4"))
	m.quiet("it was published before a group that starts now")
}

// subscribeAtTime takes the time from the broker's own clock: that of the first
// message that is later than another by more than any clock's grain. It stays
// unacknowledged: a broker that keeps nothing may drop what every group is done
// with, and the group that starts there comes after it.
func subscribeAtTime(e *env) {
	topic := e.topic(1)
	watch := e.join(topic, e.group())
	e.publish(topic, e.msg("", "0"))
	first := watch.takeOne("0")
	watch.ack(first)
	n := 0
	var start time.Time
	e.eventually("the broker's clock moves by 50 ms", func(context.Context) bool {
		n++
		e.publish(topic, e.msg("", strconv.Itoa(n)))
		next := watch.takeOne(strconv.Itoa(n))
		start = next.Published
		if start.Sub(first.Published) > 50*time.Millisecond {
			return true
		}
		watch.ack(next)
		return false
	})
	s := e.subscription(topic, e.group())
	s.Start = driver.Start{At: driver.StartTime, Time: start}
	e.subscribe(s).takeOne(strconv.Itoa(n))
}

func subscribeMissesNothing(e *env) {
	topic := e.topic(1)
	for i := range 5 {
		s := e.subscription(topic, e.group())
		s.Start.At = driver.StartNow
		m := e.subscribe(s)
		e.publish(topic, e.msg("", strconv.Itoa(i)))
		m.ack(m.takeOne(strconv.Itoa(i)))
		m.close()
	}
}

func subscribeAgain(e *env, start driver.Start) {
	topic, group := e.topic(1), e.group()
	e.publish(topic, e.numbered("", 1, 3)...)
	m := e.join(topic, group)
	m.ack(m.take(3)...)
	m.close()
	e.publish(topic, e.numbered("", 4, 5)...)
	s := e.subscription(topic, group)
	s.Start = start
	again := e.subscribe(s)
	again.gather("4", "5")
	again.quiet("everything was acknowledged")
}

func subscribeGroupsApart(e *env) {
	topic := e.topic(1)
	a, b := e.join(topic, e.group()), e.join(topic, e.group())
	e.publish(topic, e.numbered("", 1, 10)...)
	a.gather(numbers(1, 10)...)
	b.gather(numbers(1, 10)...)
}

func subscribeLateGroup(e *env) {
	topic := e.topic(1)
	e.publish(topic, e.numbered("", 1, 10)...)
	early := e.join(topic, e.group())
	early.gather(numbers(1, 10)...)
	early.close()
	e.join(topic, e.group()).gather(numbers(1, 10)...)
}

func subscribeOneGroupTwoTopics(e *env) {
	a, b, group := e.topic(1), e.topic(1), e.group()
	atA, atB := e.join(a, group), e.join(b, group)
	e.publish(a, e.numbered("", 1, 3)...)
	e.publish(b, e.numbered("", 11, 13)...)
	atA.gather(numbers(1, 3)...)
	atB.gather(numbers(11, 13)...)
}

func subscribeShare(e *env) {
	const each = 40
	e.holds(each)
	topic, group := e.topic(4), e.group()
	s := e.subscription(topic, group)
	s.Window = each // so that nobody fetches all of them
	a, b := e.subscribe(s), e.subscribe(s)
	e.publish(topic, e.keyed(2*each)...)
	held := slices.Concat(a.take(each), b.take(each))
	if n := len(set(bodies(held))); n != 2*each {
		e.Errorf("two members hold %d messages, but only %d different ones", len(held), n)
	}
	a.ack(held[:each]...)
	b.ack(held[each:]...)
}

func subscribeMissingTopic(e *env) {
	s := e.subscription(e.unique("missing"), e.group())
	src, err := e.d.Subscribe(e.ctx(), s)
	if errors.Is(err, driver.ErrNotFound) {
		return
	}
	e.mustf(err, "Subscribe to a topic that nobody made, want nil or ErrNotFound")
	m := &member{env: e, src: src, window: e.slots()}
	e.publish(s.Topic, e.msg("", "1"))
	m.ack(m.takeOne("1"))
	m.close()
}

func subscribeCtx(e *env) {
	topic := e.topic(1)
	ctx, cancel := context.WithCancel(e.ctx())
	src, err := e.d.Subscribe(ctx, e.subscription(topic, e.group()))
	e.mustf(err, "Subscribe")
	m := &member{env: e, src: src, window: e.slots()}
	cancel()
	m.quiet("nothing was published")
	e.publish(topic, e.msg("", "1"))
	m.ack(m.takeOne("1"))
	m.close()
}

func subscribeCancelled(e *env) {
	topic := e.topic(1)
	ctx, cancel := context.WithCancel(e.ctx())
	cancel()
	src, err := e.d.Subscribe(ctx, e.subscription(topic, e.group()))
	if err == nil {
		e.mustf(src.Close(e.ctx()), "Close of a source that came in spite of its ctx")
		return
	}
	e.wantIs(err, context.Canceled, "Subscribe with a ctx that had ended")
}

func subscribeClosed(e *env) {
	topic := e.topic(1)
	e.mustf(e.d.Close(e.ctx()), "Close")
	_, err := e.d.Subscribe(e.ctx(), e.subscription(topic, e.group()))
	e.wantIs(err, driver.ErrClosed, "Subscribe after Close")
}

// subscribeEphemeral finds the group's place forgotten after its member left.
func subscribeEphemeral(e *env) {
	topic := e.topic(1)
	keeper := e.join(topic, e.group()) // holds on to the messages where nothing else does
	s := e.subscription(topic, e.group())
	s.Ephemeral = true
	m := e.subscribe(s)
	e.publish(topic, e.numbered("", 1, 3)...)
	m.gather(numbers(1, 3)...)
	m.close()
	e.subscribe(s).gather(numbers(1, 3)...)
	keeper.gather(numbers(1, 3)...)
}

func subscribeGroupNames(e *env) {
	topic, base := e.topic(1), e.unique("g")
	var members []*member
	for _, suffix := range []string{".a.b", ".a-b", ".a_b", ".A.B", ".a", ".a.b.c"} {
		members = append(members, e.join(topic, base+suffix))
	}
	e.publish(topic, e.numbered("", 1, 3)...)
	for _, m := range members {
		m.gather(numbers(1, 3)...)
	}
}
