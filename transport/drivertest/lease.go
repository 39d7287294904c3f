package drivertest

import (
	"time"

	"github.com/anywire/anywire/transport/driver"
)

func leaseCases() []Case {
	return []Case{
		{
			Name:     "lease/ends",
			Sentence: "Lease is how long a delivery stays with this member without Extend.",
			Needs:    []Need{needLeases},
			run:      leaseEnds,
		},
		{
			Name:     "lease/ends-for-its-own-member",
			Sentence: "Lease is how long a delivery stays without Extend: a lone member gets it again.",
			Needs:    []Need{needLeases},
			run:      leaseEndsForOwn,
		},
		{
			Name:     "lease/extended",
			Sentence: "Extend renews the leases of deliveries, as often as it is called.",
			Needs:    []Need{needLeases},
			run:      leaseExtended,
		},
		{
			Name:     "lease/extended-each-for-itself",
			Sentence: "Extend renews the leases of the deliveries that it is given, and of no other.",
			Needs:    []Need{needLeases},
			run:      leaseExtendedEach,
		},
		{
			Name:     "lease/whole-batch",
			Sentence: "Lease: every delivery of a Receive stays with the member, not only the first.",
			Needs:    []Need{needLeases},
			run:      leaseWholeBatch,
		},
		{
			Name:     "lease/fresh-when-received",
			Sentence: "Lease is how long a delivery stays with this member: what waits in the driver does not age.",
			Needs:    []Need{needLeases},
			run:      leaseFresh,
		},
		{
			Name:     "lease/survives-a-slow-neighbour",
			Sentence: "Settle ends deliveries: those of others in the same Receive keep their lease.",
			Needs:    []Need{needLeases},
			run:      leaseNeighbour,
		},
		{
			Name:     "lease/content-comes-again",
			Sentence: "A redelivery is the message: key, headers and body as they were.",
			Needs:    []Need{needLeases},
			run:      leaseContent,
		},
		{
			Name:     "lease/outlives-the-lease-with-extend-and-owners",
			Sentence: "Extend renews: with OwnsShards a held delivery stays for several leases.",
			Needs:    []Need{needOwnsShards},
			run:      leaseOwnsShards,
		},
	}
}

// leaseEnds counts from before the publish: no lease can have begun earlier.
func leaseEnds(e *env) {
	topic, group := e.topic(1), e.group()
	a := e.lease(topic, group, 1)
	start := time.Now()
	e.publish(topic, e.msg("", "1"))
	a.takeOne("1")
	b := e.lease(topic, group, 1)
	b.ack(b.takeOne("1"))
	e.wantNotBefore(start, e.h.Lease)
}

func leaseEndsForOwn(e *env) {
	topic := e.topic(1)
	m := e.lease(topic, e.group(), 1)
	start := time.Now()
	e.publish(topic, e.msg("", "1"))
	m.takeOne("1")
	m.ack(m.takeOne("1"))
	e.wantNotBefore(start, e.h.Lease)
	m.quietFor(e.h.Lease+e.h.Quiet, "it was acknowledged")
}

// boundedLease skips where a delivery cannot be held for n leases.
func (e *env) boundedLease(n int) {
	e.Helper()
	if e.caps.MaxLease > 0 && time.Duration(n) > e.caps.MaxLease/e.h.Lease {
		e.skip("needs longer leases than MaxLease")
	}
}

func leaseExtended(e *env) {
	e.boundedLease(4)
	topic, group := e.topic(1), e.group()
	e.publish(topic, e.msg("", "1"))
	a := e.lease(topic, group, 1)
	held := a.takeOne("1")
	stop := a.keep(held)
	b := e.lease(topic, group, 1)
	b.quietFor(3*e.h.Lease, "the other member extends its lease")
	stop()
	b.ack(b.takeOne("1"))
}

func leaseExtendedEach(e *env) {
	e.boundedLease(3)
	topic, group := e.topic(1), e.group()
	e.publish(topic, e.numbered("", 1, 4)...)
	a := e.lease(topic, group, 4)
	held := a.take(4)
	stop := a.keep(held[0], held[2])
	b := e.lease(topic, group, 4)
	b.gather(string(held[1].Body), string(held[3].Body))
	b.quietFor(e.h.Lease, "the other member extends it")
	stop()
	a.ack(held[0], held[2])
}

func leaseWholeBatch(e *env) {
	topic, group := e.topic(1), e.group()
	a := e.lease(topic, group, 5)
	start := time.Now()
	e.publish(topic, e.numbered("", 1, 5)...)
	a.take(5)
	b := e.lease(topic, group, 5)
	first := b.take(1)
	e.wantNotBefore(start, e.h.Lease)
	b.ack(first...)
	var rest []string
	for _, n := range numbers(1, 5) {
		if n != string(first[0].Body) {
			rest = append(rest, n)
		}
	}
	b.gather(rest...)
}

// leaseFresh gives a driver that fetches ahead the time to let a lease end.
func leaseFresh(e *env) {
	e.boundedLease(3)
	topic, group := e.topic(1), e.group()
	e.publish(topic, e.numbered("", 1, 2)...)
	a := e.lease(topic, group, 2)
	held := a.take(1)
	a.keepFor(e.h.Lease+e.h.Lease/2, held...)
	held = append(held, a.take(1)...)
	stop := a.keep(held...)
	b := e.lease(topic, group, 2)
	b.quietFor(e.h.Lease, "the other member has just received it")
	stop()
	a.ack(held...)
}

func leaseNeighbour(e *env) {
	topic, group := e.topic(1), e.group()
	e.publish(topic, e.numbered("", 1, 3)...)
	a := e.join(topic, group)
	held := a.take(3)
	a.ack(held[0])
	a.handBack(held[1])
	a.ack(a.takeOne(string(held[1].Body)))
	b := e.join(topic, group)
	b.quiet("the other member holds it")
	a.ack(held[2])
}

func leaseContent(e *env) {
	topic := e.topic(1)
	want := e.msg("a key", "1")
	want.Headers = append(want.Headers, e.header("subject", "s"))
	e.publish(topic, want)
	m := e.lease(topic, e.group(), 1)
	e.wantSame(m.takeOne("1"), want)
	e.wantSame(m.takeOne("1"), want)
}

func leaseOwnsShards(e *env) {
	topic := e.topic(1)
	e.publish(topic, e.msg("", "1"))
	m := e.lease(topic, e.group(), 1)
	held := []*driver.Message{m.takeOne("1")}
	m.keepFor(3*e.h.Lease, held...)
	m.quiet("the member holds it")
	m.ack(held...)
	m.quiet("it was acknowledged")
}
