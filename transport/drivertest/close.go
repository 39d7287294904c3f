package drivertest

import (
	"context"
	"runtime"
	"time"

	"github.com/anywire/anywire/transport/driver"
)

func closeCases() []Case {
	return []Case{
		{
			Name:     "close/driver-twice",
			Sentence: "Driver.Close: closing twice is harmless.",
			run: func(e *env) {
				e.mustf(e.d.Close(e.ctx()), "Close")
				e.mustf(e.d.Close(e.ctx()), "Close, again")
			},
		},
		{
			Name:     "close/source-twice",
			Sentence: "Source.Close leaves the group; leaving it twice is harmless.",
			run: func(e *env) {
				m := e.join(e.topic(1), e.group())
				m.close()
				m.close()
			},
		},
		{
			Name:     "close/at-once",
			Sentence: "Close may be called while Receive, Settle and Extend run, by several goroutines.",
			run:      closeConcurrently,
		},
		{
			Name:     "close/one-of-two-drivers",
			Sentence: "Driver.Close frees what the driver itself opened: other drivers go on.",
			Needs:    []Need{needKill}, // which says that drivers share a broker
			run:      closeOneOfTwo,
		},
		{
			Name:     "close/one-source-of-two",
			Sentence: "Source.Close leaves its group: the driver's other sources go on.",
			run:      closeOneSource,
		},
		{
			Name:     "close/leaves-no-goroutines",
			Sentence: "Driver.Close frees what the driver itself opened; 100 subscribe and close cycles leave nothing.",
			run:      closeLeaks,
			alone:    true,
		},
	}
}

func closeConcurrently(e *env) {
	topic := e.topic(1)
	m := e.join(topic, e.group())
	e.publish(topic, e.numbered("", 1, 5)...)
	held := m.take(3)
	blocked := e.join(topic, e.group())
	blocked.gather(numbers(1, 5)...)
	waiting := blocked.receiving(e.ctx())
	ctx, errs := e.ctx(), make(chan error, 4)
	for _, src := range []driver.Source{m.src, m.src, blocked.src, blocked.src} {
		go func() {
			_, _ = m.src.Extend(ctx, tokens(held))
			errs <- src.Close(ctx)
		}()
	}
	for range 4 {
		e.mustf(<-errs, "Close from several goroutines")
	}
	e.wantIs(e.wantAnswer(waiting, "Close").err, driver.ErrClosed, "Receive during Close")
}

func closeOneOfTwo(e *env) {
	topic := e.topic(1)
	m := e.join(topic, e.group())
	other := e.open()
	e.mustf(other.Publish(e.ctx(), topic, e.numbered("", 1, 1)), "Publish by the other driver")
	e.mustf(other.Close(e.ctx()), "Close of the other driver")
	e.publish(topic, e.msg("", "2"))
	m.gather("1", "2")
}

func closeOneSource(e *env) {
	topic := e.topic(1)
	a, b := e.join(topic, e.group()), e.join(topic, e.group())
	e.publish(topic, e.msg("", "1"))
	a.gather("1")
	a.close()
	e.publish(topic, e.msg("", "2"))
	b.gather("1", "2")
}

// closeLeaks counts goroutines after a first cycle, which may start what the
// driver keeps, and allows for tests beside this one. A broker that takes long
// for a cycle gets fewer of them.
func closeLeaks(e *env) {
	const cycles, fewest = 100, 10
	topic := e.topic(1)
	e.publish(topic, e.msg("", "1"))
	e.cycle(topic)
	before := runtime.NumGoroutine()
	until := time.Now().Add(2 * e.h.Patience)
	n := 0
	for n < cycles && (n < fewest || time.Now().Before(until)) {
		e.cycle(topic)
		n++
	}
	leaked := func(context.Context) bool { return runtime.NumGoroutine() <= before+n/2 }
	ctx := e.within(e.h.Patience)
	for !leaked(ctx) {
		if !pause(ctx, e.h.Quiet/10) {
			stacks := make([]byte, 1<<16)
			e.Fatalf("%d goroutines after %d subscribe and close cycles, %d before:\n%s", runtime.NumGoroutine(), n, before,
				stacks[:runtime.Stack(stacks, true)])
		}
	}
}

// cycle subscribes, receives and closes.
func (e *env) cycle(topic string) {
	e.Helper()
	s := e.subscription(topic, e.group())
	s.Ephemeral = true
	src, err := e.d.Subscribe(e.ctx(), s)
	e.mustf(err, "Subscribe")
	m := &member{env: e, src: src, window: s.Window}
	m.take(1)
	m.close()
}
