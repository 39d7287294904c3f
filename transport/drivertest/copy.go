package drivertest

import (
	"strconv"

	"github.com/anywire/anywire/transport/driver"
)

// copyCases are about drivers that delay by publishing a copy.
func copyCases() []Case {
	copies := []Need{needDelaysByCopy, needDelayedNack}
	return []Case{
		{
			Name:     "copy/content",
			Sentence: "DelaysByCopy: the copy is the message, with the attribute \"attempt\" and Settlement.Headers.",
			Needs:    copies,
			run:      copyContent,
		},
		{
			Name:     "copy/again",
			Sentence: "DelaysByCopy: Settlement.Attempts and Headers stand in place of those of an earlier copy.",
			Needs:    copies,
			run:      copyAgain,
		},
		{
			Name:     "copy/settles-the-original",
			Sentence: "DelaysByCopy: a delayed Nack publishes a copy and settles the original.",
			Needs:    copies,
			run:      copySettles,
		},
		{
			Name:     "copy/to-any-member",
			Sentence: "DelaysByCopy: the copy comes back through Subscription.Inbox, to any member of the group.",
			Needs:    copies,
			run:      copyToAnyMember,
		},
		{
			Name:     "copy/of-this-group-alone",
			Sentence: "DelaysByCopy: the copy comes back through Subscription.Inbox: other groups of the topic do not get it.",
			Needs:    copies,
			run:      copyOfOneGroup,
		},
		{
			Name:     "copy/acknowledged",
			Sentence: "Ack: it is done, for this group: also what is a copy.",
			Needs:    copies,
			run:      copyAcknowledged,
		},
	}
}

// delayByCopy gives a message back as the engine does after that many attempts.
func (m *member) delayByCopy(attempts int, msg *driver.Message) {
	m.Helper()
	m.mustf(m.src.Settle(m.ctx(), []driver.Settlement{{
		Token: msg.Token, Outcome: driver.Nack, Delay: m.grain(), Attempts: attempts,
		Headers: []driver.Header{{Name: "x-origin", Value: strconv.Itoa(attempts)}},
	}}), "Settle of one with a delay")
}

// wantCopy wants the message with what a copy has after that many attempts.
func (e *env) wantCopy(got, original *driver.Message, attempts int) {
	e.Helper()
	want := *original
	n := strconv.Itoa(attempts)
	want.Headers = append([]driver.Header{
		{Name: e.caps.Headers.Prefix + "attempt", Value: n},
		{Name: "x-origin", Value: n},
	}, original.Headers...)
	e.wantSame(got, &want)
}

func copyContent(e *env) {
	topic := e.topic(1)
	original := e.msg("key", "1")
	e.publish(topic, original)
	m := e.join(topic, e.group())
	m.delayByCopy(3, m.takeOne("1"))
	again := m.takeOne("1")
	e.wantCopy(again, original, 3)
	m.ack(again)
}

func copyAgain(e *env) {
	topic := e.topic(1)
	original := e.msg("key", "1")
	e.publish(topic, original)
	m := e.join(topic, e.group())
	m.delayByCopy(3, m.takeOne("1"))
	m.delayByCopy(4, m.takeOne("1"))
	again := m.takeOne("1")
	e.wantCopy(again, original, 4)
	m.ack(again)
}

func copySettles(e *env) {
	topic, group := e.topic(1), e.group()
	e.publish(topic, e.numbered("", 1, 2)...)
	m := e.join(topic, group)
	held := m.take(2)
	m.mustf(m.src.Settle(e.ctx(), settlements(driver.Nack, e.h.never(), held...)), "Settle of two with a delay")
	m.close()
	e.join(topic, group).quiet("both are delayed")
}

func copyToAnyMember(e *env) {
	topic, group := e.topic(1), e.group()
	e.publish(topic, e.msg("", "1"))
	a := e.join(topic, group)
	a.delayByCopy(1, a.takeOne("1"))
	a.close()
	e.join(topic, group).gather("1")
}

func copyOfOneGroup(e *env) {
	topic := e.topic(1)
	e.publish(topic, e.msg("", "1"))
	m, other := e.join(topic, e.group()), e.join(topic, e.group())
	other.gather("1")
	m.delayByCopy(1, m.takeOne("1"))
	m.gather("1")
	other.quiet("it is the other group's copy")
}

func copyAcknowledged(e *env) {
	topic, group := e.topic(1), e.group()
	e.publish(topic, e.msg("", "1"))
	m := e.join(topic, group)
	m.delayByCopy(1, m.takeOne("1"))
	m.gather("1")
	m.quiet("the copy was acknowledged")
	m.close()
	e.join(topic, group).quiet("the copy was acknowledged")
}
