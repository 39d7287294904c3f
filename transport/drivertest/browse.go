package drivertest

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/anywire/anywire/transport/driver"
)

func browseCases() []Case {
	needs := []Need{needBrowse}
	return []Case{
		{
			Name:     "browse/all",
			Sentence: "Browse calls fn for each message from start on, until what was there at the call has been seen.",
			Needs:    needs,
			run:      browseAll,
		},
		{
			Name:     "browse/in-order",
			Sentence: "Browse calls fn in the broker's order within a shard.",
			Needs:    needs,
			run:      browseInOrder,
		},
		{
			Name:     "browse/content",
			Sentence: "Browse reads a topic: its messages are whole.",
			Needs:    needs,
			run:      browseContent,
		},
		{
			Name:     "browse/settles-nothing",
			Sentence: "Browser reads a topic without a group and without settling.",
			Needs:    needs,
			run:      browseSettlesNothing,
		},
		{
			Name:     "browse/stops",
			Sentence: "Browse calls fn until fn returns false.",
			Needs:    needs,
			run:      browseStops,
		},
		{
			Name:     "browse/empty",
			Sentence: "Browse ends when what was there at the call has been seen: of nothing, at once.",
			Needs:    needs,
			run:      browseEmpty,
		},
		{
			Name:     "browse/from-now",
			Sentence: "Browse calls fn for each message from start on: StartNow skips what is there.",
			Needs:    needs,
			run:      browseFromNow,
		},
		{
			Name:     "browse/follow",
			Sentence: "Browse with follow goes on with what is published, until ctx ends.",
			Needs:    needs,
			run:      browseFollow,
		},
		{
			Name:     "browse/from-a-time",
			Sentence: "Browse calls fn for each message from start on: from a time.",
			Needs:    []Need{needBrowse, needStartTime},
			run:      browseFromTime,
		},
		{
			Name:     "browse/missing-topic",
			Sentence: "Browse reads: a missing topic is ErrNotFound or empty.",
			Needs:    needs,
			run:      browseMissing,
		},
	}
}

// browse reads what is there, and ends it as ctx-bound calls end.
func (e *env) browse(topic string, start driver.Start) []*driver.Message {
	e.Helper()
	var got []*driver.Message
	err := e.d.(driver.Browser).Browse(e.ctx(), topic, start, false, func(m *driver.Message) bool {
		got = append(got, m)
		return true
	})
	e.mustf(err, "Browse(%s)", topic)
	return got
}

func browseAll(e *env) {
	topic := e.topic(3)
	e.publish(topic, e.keyed(30)...)
	got := bodies(e.browse(topic, driver.Start{}))
	want := numbers(1, 30)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		e.Errorf("Browse saw %v, want each of 1 to 30 once", got)
	}
}

func browseInOrder(e *env) {
	topic := e.topic(2)
	e.publish(topic, e.numbered("key", 1, 20)...)
	if got := bodies(e.browse(topic, driver.Start{})); !slices.Equal(got, numbers(1, 20)) {
		e.Errorf("Browse saw %v, want 1 to 20 in order", got)
	}
}

func browseContent(e *env) {
	topic := e.topic(1)
	want := e.msg("a key", "1")
	want.Headers = append(want.Headers, e.header("subject", "s"))
	e.publish(topic, want)
	got := e.browse(topic, driver.Start{})
	if len(got) != 1 {
		e.Fatalf("Browse saw %d messages, want 1", len(got))
	}
	e.wantSame(got[0], want)
	if got[0].Published.IsZero() {
		e.Errorf("Published is zero")
	}
}

func browseSettlesNothing(e *env) {
	topic, group := e.topic(1), e.group()
	e.publish(topic, e.numbered("", 1, 5)...)
	m := e.join(topic, group)
	held := m.take(2)
	if got := e.browse(topic, driver.Start{}); len(got) != 5 {
		e.Errorf("Browse saw %v, want 1 to 5, also those that a group holds", bodies(got))
	}
	m.handBack(held...)
	m.gather(numbers(1, 5)...)
	m.quiet("everything was acknowledged")
}

func browseStops(e *env) {
	topic := e.topic(1)
	e.publish(topic, e.numbered("", 1, 10)...)
	n := 0
	err := e.d.(driver.Browser).Browse(e.ctx(), topic, driver.Start{}, true, func(*driver.Message) bool {
		n++
		return n < 3
	})
	e.mustf(err, "Browse that fn ended")
	if n != 3 {
		e.Errorf("fn was called %d times, want 3: it returned false at the third", n)
	}
}

func browseEmpty(e *env) {
	if got := e.browse(e.topic(1), driver.Start{}); len(got) > 0 {
		e.Errorf("Browse saw %v in an empty topic", bodies(got))
	}
}

func browseFromNow(e *env) {
	topic := e.topic(1)
	e.publish(topic, e.numbered("", 1, 3)...)
	if got := e.browse(topic, driver.Start{At: driver.StartNow}); len(got) > 0 {
		e.Errorf("Browse from now saw %v", bodies(got))
	}
}

func browseFollow(e *env) {
	topic := e.topic(1)
	e.publish(topic, e.numbered("", 1, 2)...)
	ctx, cancel := context.WithCancel(e.ctx())
	defer cancel()
	seen, done := make(chan string, 10), make(chan error, 1)
	go func() {
		done <- e.d.(driver.Browser).Browse(ctx, topic, driver.Start{}, true, func(m *driver.Message) bool {
			seen <- string(m.Body)
			return true
		})
	}()
	e.wantSeen(seen, "1")
	e.wantSeen(seen, "2")
	e.publish(topic, e.msg("", "3"))
	e.wantSeen(seen, "3")
	cancel()
	select {
	case err := <-done:
		if err != nil && !errors.Is(err, context.Canceled) {
			e.Errorf("Browse whose ctx ended: %v, want nil or ctx's error", err)
		}
	case <-e.ctx().Done():
		e.Fatalf("Browse goes on, though its ctx ended")
	}
}

func (e *env) wantSeen(seen <-chan string, want string) {
	e.Helper()
	select {
	case got := <-seen:
		if got != want {
			e.Fatalf("Browse saw %q, want %q", got, want)
		}
	case <-e.ctx().Done():
		e.Fatalf("Browse has not seen %q within %v", want, e.h.Patience)
	}
}

func browseFromTime(e *env) {
	topic := e.topic(1)
	e.publish(topic, e.msg("", "0"))
	n := 0
	var all []*driver.Message
	e.eventually("the broker's clock moves by 50 ms", func(context.Context) bool {
		n++
		e.publish(topic, e.msg("", strconv.Itoa(n)))
		all = e.browse(topic, driver.Start{})
		return all[len(all)-1].Published.Sub(all[0].Published) > 50*time.Millisecond
	})
	last := all[len(all)-1]
	got := e.browse(topic, driver.Start{At: driver.StartTime, Time: last.Published})
	if len(got) == 0 || got[len(got)-1].Position != last.Position || string(got[0].Body) == "0" {
		e.Errorf("Browse from the time of message %s saw %v", last.Body, bodies(got))
	}
}

func browseMissing(e *env) {
	called := false
	err := e.d.(driver.Browser).Browse(e.ctx(), e.unique("missing"), driver.Start{}, false, func(*driver.Message) bool {
		called = true
		return true
	})
	if err != nil {
		e.wantIs(err, driver.ErrNotFound, "Browse of a missing topic")
	}
	if called {
		e.Errorf("Browse saw a message in a topic that nobody made")
	}
}
