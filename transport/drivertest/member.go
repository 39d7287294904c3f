package drivertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/anywire/anywire/transport/driver"
)

// member is one member of a group, used as the engine uses a source.
type member struct {
	*env

	src    driver.Source
	window int
}

// subscription is an unordered one from the oldest message, with a lease that
// does not end within the case.
func (e *env) subscription(topic, group string) driver.Subscription {
	return driver.Subscription{
		Topic: topic, Group: group, Inbox: group + ".inbox", Window: e.slots(), Lease: e.h.never(), Drain: e.h.Patience,
	}
}

func (e *env) slots() int {
	if n := e.caps.MaxInFlight; n > 0 && n < 100 {
		return n
	}
	return 100
}

func (e *env) join(topic, group string) *member {
	e.Helper()
	return e.subscribe(e.subscription(topic, group))
}

// lease joins with the shortest lease and a window of what the case will hold,
// so that a driver that fetches ahead takes nothing from other members.
func (e *env) lease(topic, group string, window int) *member {
	e.Helper()
	e.holds(window)
	s := e.subscription(topic, group)
	s.Lease, s.Window = e.h.Lease, window
	return e.subscribe(s)
}

func (e *env) subscribe(s driver.Subscription) *member {
	e.Helper()
	return e.subscribeOn(e.d, s)
}

func (e *env) subscribeOn(d driver.Driver, s driver.Subscription) *member {
	e.Helper()
	src, err := d.Subscribe(e.ctx(), s)
	e.mustf(err, "Subscribe(%s, %s)", s.Topic, s.Group)
	e.Cleanup(func() { _ = src.Close(e.cleanup()) })
	return &member{env: e, src: src, window: s.Window}
}

// receive calls Receive until it answers with messages or for good.
func (m *member) receive(ctx context.Context, limit int) ([]*driver.Message, error) {
	said := ""
	for {
		msgs, err := m.src.Receive(ctx, limit)
		if err == nil || ctx.Err() != nil || !passing(err) {
			return slices.Clone(msgs), err
		}
		if said != err.Error() {
			said = err.Error()
			m.Logf("Receive: %s; calling again until it ends", said)
		}
		if !pause(ctx, m.h.Quiet/10) {
			return nil, ctx.Err()
		}
	}
}

// passing says whether the engine would call Receive again.
func passing(err error) bool {
	for _, end := range []error{
		driver.ErrClosed, driver.ErrStale, driver.ErrDenied,
		context.Canceled, context.DeadlineExceeded,
	} {
		if errors.Is(err, end) {
			return false
		}
	}
	return true
}

// take receives n messages and holds them.
func (m *member) take(n int) []*driver.Message {
	m.Helper()
	m.holds(n)
	ctx := m.ctx()
	var held []*driver.Message
	for len(held) < n {
		msgs, err := m.receive(ctx, n-len(held))
		if err != nil {
			m.Fatalf("received %d of %d messages %v: %v", len(held), n, bodies(held), err)
		}
		if len(msgs) == 0 {
			m.Fatalf("Receive returned neither a message nor an error")
		}
		held = append(held, msgs...)
	}
	return held
}

// takeOne receives one message and fails unless it is the one with this body.
func (m *member) takeOne(body string) *driver.Message {
	m.Helper()
	got := m.take(1)[0]
	if string(got.Body) != body {
		m.Fatalf("received message %q, want %q", got.Body, body)
	}
	return got
}

// holds skips a case that needs more unsettled messages than the driver allows.
func (e *env) holds(n int) {
	e.Helper()
	if e.caps.MaxInFlight > 0 && n > e.caps.MaxInFlight {
		e.skip("needs more unsettled messages than MaxInFlight")
	}
}

// gather receives and acknowledges until each of want has come, and returns the
// bodies in the order of their coming, repeats included. Others are errors.
func (m *member) gather(want ...string) []string {
	m.Helper()
	ctx := m.ctx()
	missing := set(want)
	var got []string
	for len(missing) > 0 {
		msgs, err := m.receive(ctx, m.window)
		if err != nil {
			m.Fatalf("after %d messages, %s are missing: %v", len(got), some(missing), err)
		}
		for _, msg := range msgs {
			got = append(got, string(msg.Body))
			delete(missing, string(msg.Body))
			if !slices.Contains(want, string(msg.Body)) {
				m.Errorf("received %q, which is none of %v", msg.Body, want)
			}
		}
		m.ack(msgs...)
	}
	return got
}

// quiet fails when a message comes within the harness's quiet time.
func (m *member) quiet(why string) {
	m.Helper()
	m.quietFor(m.h.Quiet, why)
}

func (m *member) quietFor(d time.Duration, why string) {
	m.Helper()
	msgs, err := m.receive(m.within(d), 1)
	if len(msgs) > 0 {
		m.Fatalf("received %q, though %s", bodies(msgs), why)
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		m.Fatalf("Receive returned error %v, want it to wait until its ctx ends", err)
	}
}

func (m *member) ack(msgs ...*driver.Message) {
	m.Helper()
	m.settle(driver.Ack, 0, msgs...)
}

func (m *member) nack(after time.Duration, msgs ...*driver.Message) {
	m.Helper()
	m.settle(driver.Nack, after, msgs...)
}

func (m *member) handBack(msgs ...*driver.Message) {
	m.Helper()
	m.settle(driver.HandBack, 0, msgs...)
}

func (m *member) settle(o driver.Outcome, after time.Duration, msgs ...*driver.Message) {
	m.Helper()
	m.mustf(m.src.Settle(m.ctx(), settlements(o, after, msgs...)), "Settle of %d messages", len(msgs))
}

func settlements(o driver.Outcome, after time.Duration, msgs ...*driver.Message) []driver.Settlement {
	s := make([]driver.Settlement, 0, len(msgs))
	for _, m := range msgs {
		s = append(s, driver.Settlement{Token: m.Token, Outcome: o, Delay: after})
	}
	return s
}

func tokens(msgs []*driver.Message) []driver.Token {
	all := make([]driver.Token, 0, len(msgs))
	for _, m := range msgs {
		all = append(all, m.Token)
	}
	return all
}

func (m *member) close() {
	m.Helper()
	m.mustf(m.src.Close(m.ctx()), "Source.Close")
}

// keep extends the leases of msgs, three times per lease, until the returned
// function is called; that one fails the case if a lease was lost.
func (m *member) keep(msgs ...*driver.Message) (stop func()) {
	ctx, cancel := context.WithCancel(m.Context())
	held, ended := tokens(msgs), make(chan struct{})
	var lost []driver.Token
	go func() {
		defer close(ended)
		lost = m.extend(ctx, held)
	}()
	join := func() { cancel(); <-ended }
	m.Cleanup(join)
	return func() {
		m.Helper()
		join()
		m.wantKept(lost)
	}
}

// keepFor is keep for a fixed time.
func (m *member) keepFor(d time.Duration, msgs ...*driver.Message) {
	m.Helper()
	m.wantKept(m.extend(m.within(d), tokens(msgs)))
}

func (m *member) wantKept(lost []driver.Token) {
	m.Helper()
	if len(lost) > 0 {
		m.Errorf("Extend says that %d leases are lost, which were renewed in time", len(lost))
	}
}

// extend renews until ctx ends or a lease is lost. A failed call is tried again
// at the next beat, as the engine does.
func (m *member) extend(ctx context.Context, held []driver.Token) []driver.Token {
	for ctx.Err() == nil {
		call, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.h.Patience)
		lost, err := m.src.Extend(call, held)
		cancel()
		if err != nil {
			m.Logf("Extend: %v; calling again", err)
		}
		if len(lost) > 0 {
			return lost
		}
		pause(ctx, m.h.Lease/3)
	}
	return nil
}

func set(texts []string) map[string]bool {
	s := make(map[string]bool, len(texts))
	for _, t := range texts {
		s[t] = true
	}
	return s
}

// some names what is missing, the first few of it.
func some(missing map[string]bool) string {
	const few = 10
	all := keys(missing)
	if len(all) <= few {
		return fmt.Sprint(all)
	}
	return fmt.Sprintf("%v and %d more", all[:few], len(all)-few)
}

func keys(s map[string]bool) []string {
	all := make([]string, 0, len(s))
	for t := range s {
		all = append(all, t)
	}
	slices.Sort(all)
	return all
}
