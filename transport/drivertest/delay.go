package drivertest

import (
	"time"

	"github.com/anywire/anywire/transport/driver"
)

func delayCases() []Case {
	return []Case{
		{
			Name:     "delay/not-before",
			Sentence: "DelayedPublish: DeliverAt is the earliest time of delivery.",
			Needs:    []Need{needDelayedPublish},
			run:      delayNotBefore,
		},
		{
			Name:     "delay/overtaken",
			Sentence: "DeliverAt delays its message only: what is due comes.",
			Needs:    []Need{needDelayedPublish},
			run:      delayOvertaken,
		},
		{
			Name:     "delay/past",
			Sentence: "DeliverAt is the earliest time: one that has passed delays nothing.",
			Needs:    []Need{needDelayedPublish},
			run:      delayPast,
		},
		{
			Name:     "dedup/same-id",
			Sentence: "Dedup: DedupID is honoured: a second message with the same id is dropped, and its publish succeeds.",
			Needs:    []Need{needDedup},
			run:      dedupSame,
		},
		{
			Name:     "dedup/in-one-call",
			Sentence: "Dedup: DedupID is honoured within a call.",
			Needs:    []Need{needDedup},
			run:      dedupInCall,
		},
		{
			Name:     "dedup/other-id",
			Sentence: "Dedup: the id tells messages apart, not their content; no id is no duplicate.",
			Needs:    []Need{needDedup},
			run:      dedupOther,
		},
	}
}

func (e *env) delayed(body string, at time.Time) *driver.Message {
	m := e.msg("", body)
	m.DeliverAt = at
	return m
}

func delayNotBefore(e *env) {
	topic := e.topic(1)
	m := e.join(topic, e.group())
	start, delay := time.Now(), 3*e.h.Quiet
	e.publish(topic, e.delayed("1", start.Add(delay)))
	m.ack(m.takeOne("1"))
	e.wantNotBefore(start, delay)
}

func delayOvertaken(e *env) {
	topic := e.topic(1)
	m := e.join(topic, e.group())
	e.publish(topic, e.delayed("late", time.Now().Add(e.h.never())), e.msg("", "now"))
	m.ack(m.takeOne("now"))
	m.quiet("it is not due")
}

func delayPast(e *env) {
	topic := e.topic(1)
	e.publish(topic, e.delayed("1", time.Now().Add(-time.Hour)))
	e.join(topic, e.group()).takeOne("1")
}

func (e *env) identified(body, id string) *driver.Message {
	m := e.msg("", body)
	m.DedupID = id
	return m
}

func dedupSame(e *env) {
	topic, id := e.topic(1), e.unique("id")
	m := e.join(topic, e.group())
	e.publish(topic, e.identified("1", id))
	e.publish(topic, e.identified("again", id))
	m.gather("1")
	m.quiet("its id was published before")
}

func dedupInCall(e *env) {
	topic, id := e.topic(1), e.unique("id")
	m := e.join(topic, e.group())
	e.publish(topic, e.identified("1", id), e.identified("again", id), e.identified("2", id+"-2"))
	m.gather("1", "2")
	m.quiet("its id was published before")
}

func dedupOther(e *env) {
	topic, id := e.topic(1), e.unique("id")
	m := e.join(topic, e.group())
	a, b := e.identified("same", id+"-1"), e.identified("same", id+"-2")
	e.publish(topic, a, b, e.msg("", "same"), e.msg("", "same"))
	m.ack(m.take(4)...)
}
