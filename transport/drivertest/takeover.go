package drivertest

import "github.com/anywire/anywire/transport/driver"

func takeoverCases() []Case {
	return []Case{
		{
			Name:     "takeover/close-gives-back",
			Sentence: "Close leaves the group: what was delivered and not settled becomes available to other members.",
			run:      takeoverClose,
		},
		{
			Name:     "takeover/resubscribe",
			Sentence: "Close leaves the group: what was not settled becomes available, also to the same process.",
			run:      takeoverResubscribe,
		},
		{
			Name:     "takeover/close-returns-what-was-fetched",
			Sentence: "A driver never drops what it has fetched: Close loses nothing that Receive had not returned.",
			run:      takeoverFetched,
		},
		{
			Name:     "takeover/close-disturbs-nobody",
			Sentence: "Close leaves the group: deliveries of other members stay theirs.",
			Needs:    []Need{needLeases},
			run:      takeoverUndisturbed,
		},
		{
			Name:     "takeover/killed",
			Sentence: "What a dead member held becomes available to others when its lease ends.",
			Needs:    []Need{needKill},
			run:      takeoverKilled,
		},
		{
			Name:     "takeover/killed-keeps-acks",
			Sentence: "Settle returns when the broker has confirmed: a death afterwards brings nothing back.",
			Needs:    []Need{needKill},
			run:      takeoverKilledAcked,
		},
		{
			Name:     "takeover/killed-publisher",
			Sentence: "Durable: messages survive the death of every client process.",
			Needs:    []Need{needKill, needDurable},
			run:      takeoverKilledPublisher,
		},
	}
}

func takeoverClose(e *env) {
	topic, group := e.topic(1), e.group()
	e.publish(topic, e.numbered("", 1, 5)...)
	a := e.lease(topic, group, 5)
	held := a.take(3)
	a.ack(held[0])
	b := e.lease(topic, group, 5)
	a.close()
	left := set(numbers(1, 5))
	delete(left, string(held[0].Body))
	b.gather(keys(left)...)
}

func takeoverResubscribe(e *env) {
	topic, group := e.topic(1), e.group()
	e.publish(topic, e.numbered("", 1, 3)...)
	for range 3 {
		m := e.lease(topic, group, 3)
		m.take(3)
		m.close()
	}
	e.lease(topic, group, 3).gather(numbers(1, 3)...)
}

func takeoverFetched(e *env) {
	const n = 50
	topic, group := e.topic(1), e.group()
	e.publish(topic, e.numbered("", 1, n)...)
	a := e.lease(topic, group, 5)
	first := a.take(1)[0]
	a.ack(first)
	a.close()
	left := set(numbers(1, n))
	delete(left, string(first.Body))
	e.lease(topic, group, 5).gather(keys(left)...)
}

func takeoverUndisturbed(e *env) {
	topic, group := e.topic(1), e.group()
	s := e.subscription(topic, group)
	s.Window = 1 // so that nobody fetches ahead
	a := e.subscribe(s)
	e.publish(topic, e.msg("", "1"))
	first := a.takeOne("1")
	b := e.subscribe(s)
	e.publish(topic, e.msg("", "2"))
	b.takeOne("2")
	b.close()
	c := e.subscribe(s)
	c.ack(c.takeOne("2"))
	c.quiet("the first member still holds it")
	a.ack(first)
	c.quiet("everything was acknowledged")
}

// doomed joins by a driver of its own, which can be killed.
func (e *env) doomed(topic, group string) (driver.Driver, *member) {
	e.Helper()
	d := e.open()
	s := e.subscription(topic, group)
	s.Lease = e.h.Lease
	return d, e.subscribeOn(d, s)
}

func takeoverKilled(e *env) {
	topic, group := e.topic(1), e.group()
	e.publish(topic, e.numbered("", 1, 5)...)
	d, a := e.doomed(topic, group)
	a.take(3)
	e.h.Kill(e.TB, d)
	e.lease(topic, group, 5).gather(numbers(1, 5)...)
}

func takeoverKilledAcked(e *env) {
	topic, group := e.topic(1), e.group()
	e.publish(topic, e.numbered("", 1, 3)...)
	d, a := e.doomed(topic, group)
	a.ack(a.take(3)...)
	e.h.Kill(e.TB, d)
	e.publish(topic, e.msg("", "4"))
	b := e.lease(topic, group, 3)
	b.gather("4")
	b.quietFor(e.h.Lease+e.h.Quiet, "everything was acknowledged")
}

func takeoverKilledPublisher(e *env) {
	topic := e.topic(1)
	d := e.open()
	e.mustf(d.Publish(e.ctx(), topic, e.numbered("", 1, 10)), "Publish")
	e.h.Kill(e.TB, d)
	e.join(topic, e.group()).gather(numbers(1, 10)...)
}
