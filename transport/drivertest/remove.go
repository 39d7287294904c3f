package drivertest

import (
	"context"
	"slices"

	"github.com/anywire/anywire/transport/driver"
)

func removeCases() []Case {
	needs := []Need{needBrowse, needRemover}
	return []Case{
		{
			Name:     "remove/gone",
			Sentence: "Remove deletes messages that Browse gave.",
			Needs:    needs,
			run:      removeGone,
		},
		{
			Name:     "remove/nothing-else",
			Sentence: "Remove deletes messages that Browse gave, and nothing else of the topic.",
			Needs:    needs,
			run:      removeNothingElse,
		},
		{
			Name:     "remove/twice",
			Sentence: "One that is gone already is no error.",
			Needs:    needs,
			run:      removeTwice,
		},
		{
			Name:     "remove/while-browsing",
			Sentence: "Remove deletes messages that Browse gave: a Browse that goes on sees the others.",
			Needs:    needs,
			run:      removeWhileBrowsing,
		},
		{
			Name:     "remove/a-group-goes-on",
			Sentence: "A delivery of one that a member holds may still be settled, and its group gets the others.",
			Needs:    needs,
			run:      removeAGroupGoesOn,
		},
		{
			Name:     "remove/missing-topic",
			Sentence: "Remove deletes messages of a topic: a missing one is ErrNotFound or empty.",
			Needs:    needs,
			run:      removeMissing,
		},
	}
}

func (e *env) remove(topic string, msgs ...*driver.Message) {
	e.Helper()
	e.mustf(e.d.(driver.Remover).Remove(e.ctx(), topic, msgs), "Remove of %d messages", len(msgs))
}

// wantLeft holds what a topic has against numbers, in any order.
func (e *env) wantLeft(topic string, want ...string) {
	e.Helper()
	got := bodies(e.browse(topic, driver.Start{}))
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		e.Errorf("Browse sees %v, want %v", got, want)
	}
}

func removeGone(e *env) {
	topic := e.topic(1)
	e.publish(topic, e.numbered("", 1, 10)...)
	e.remove(topic, e.browse(topic, driver.Start{})...)
	e.wantLeft(topic)
	e.publish(topic, e.msg("", "11"))
	e.wantLeft(topic, "11")
}

// removeNothingElse takes the oldest, some in the middle, and the newest, so that
// shortcuts for the oldest are tried as well.
func removeNothingElse(e *env) {
	topic := e.topic(3)
	e.publish(topic, e.keyed(30)...)
	all := e.browse(topic, driver.Start{})
	var gone []*driver.Message
	var left []string
	for i, m := range all {
		if i < 7 || i%4 == 0 || i == len(all)-1 {
			gone = append(gone, m)
		} else {
			left = append(left, string(m.Body))
		}
	}
	slices.Reverse(gone)
	e.remove(topic, gone...)
	e.wantLeft(topic, left...)
}

func removeTwice(e *env) {
	topic := e.topic(1)
	e.publish(topic, e.numbered("", 1, 5)...)
	all := e.browse(topic, driver.Start{})
	e.remove(topic, all[1:3]...)
	e.remove(topic, all[1:4]...)
	e.wantLeft(topic, "1", "5")
}

func removeWhileBrowsing(e *env) {
	topic := e.topic(1)
	e.publish(topic, e.numbered("", 1, 20)...)
	var got []*driver.Message
	err := e.d.(driver.Browser).Browse(e.ctx(), topic, driver.Start{}, false, func(m *driver.Message) bool {
		got = append(got, m)
		if len(got)%5 == 0 {
			e.remove(topic, got[len(got)-5:]...)
		}
		return true
	})
	e.mustf(err, "Browse")
	if seen := bodies(got); !slices.Equal(seen, numbers(1, 20)) {
		e.Errorf("Browse saw %v, want 1 to 20", seen)
	}
	e.wantLeft(topic)
}

func removeAGroupGoesOn(e *env) {
	topic, group := e.topic(1), e.group()
	e.publish(topic, e.numbered("", 1, 6)...)
	m := e.join(topic, group)
	held := m.take(2)
	taken := bodies(held)
	isTaken := func(msg *driver.Message) bool { return slices.Contains(taken, string(msg.Body)) }
	all := e.browse(topic, driver.Start{})
	one := all[slices.IndexFunc(all, isTaken)]
	another := all[slices.IndexFunc(all, func(msg *driver.Message) bool { return !isTaken(msg) })]
	e.remove(topic, one, another) // which may be on its way to the member
	m.ack(held...)
	e.publish(topic, e.msg("", "7"))
	want := slices.DeleteFunc(numbers(1, 7), func(s string) bool {
		return slices.Contains(taken, s) || s == string(another.Body)
	})
	var got []string
	e.eventually("the group has what was not removed", func(ctx context.Context) bool {
		msgs, err := m.receive(ctx, m.window)
		e.mustf(err, "Receive after %v", got)
		for _, msg := range msgs {
			if body := string(msg.Body); body != string(another.Body) {
				got = append(got, body)
			}
		}
		m.ack(msgs...)
		return len(got) >= len(want)
	})
	slices.Sort(got)
	if !slices.Equal(got, want) {
		e.Errorf("the group got %v after %v, want %v", got, taken, want)
	}
}

func removeMissing(e *env) {
	topic := e.topic(1)
	e.publish(topic, e.msg("", "1"))
	err := e.d.(driver.Remover).Remove(e.ctx(), e.unique("missing"), e.browse(topic, driver.Start{}))
	if err != nil {
		e.wantIs(err, driver.ErrNotFound, "Remove from a missing topic")
	}
	e.wantLeft(topic, "1")
}
