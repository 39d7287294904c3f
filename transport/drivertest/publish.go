package drivertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/anywire/anywire/transport/driver"
)

func publishCases() []Case {
	return []Case{
		{
			Name:     "publish/confirmed-is-stored",
			Sentence: "Publish stores msgs in topic and returns when the broker has confirmed them.",
			run:      publishConfirmed,
		},
		{
			Name:     "publish/call-order",
			Sentence: "Messages of one shard come in the broker's order: those of one call as they stand in it.",
			run:      publishCallOrder,
		},
		{
			Name:     "publish/calls-in-order",
			Sentence: "Messages of one shard come in the broker's order: a confirmed call before the next.",
			run:      publishCallsInOrder,
		},
		{
			Name:     "publish/empty-batch",
			Sentence: "Publish: nil means that every one is stored; of no messages, nothing is.",
			run:      publishEmpty,
		},
		{
			Name:     "publish/many-in-one-call",
			Sentence: "Publish: nil means that every one is as durable as the broker's settings make it.",
			run:      publishMany,
		},
		{
			Name:     "publish/concurrent",
			Sentence: "A Driver may be used by many goroutines at once.",
			run:      publishConcurrent,
		},
		{
			Name:     "publish/keeps-nothing",
			Sentence: "The driver must not keep msgs, their headers or the slice after it returned, except Message.Local and Body.",
			run:      publishKeepsNothing,
		},
		{
			Name:     "publish/leaves-messages-alone",
			Sentence: "A driver moves messages: those of the caller are as they were, also when the call fails.",
			run:      publishLeavesAlone,
		},
		{
			Name:     "publish/missing-topic",
			Sentence: "Publish: nil means stored, also when nobody made the topic before; otherwise it is ErrNotFound.",
			run:      publishMissingTopic,
		},
		{
			Name:     "publish/topics-are-apart",
			Sentence: "Publish stores msgs in topic, and in no other.",
			run:      publishTopicsApart,
		},
		{
			Name:     "publish/topic-names",
			Sentence: "A topic's name is carried whole: dots, dashes, underscores and upper case tell topics apart.",
			run:      publishTopicNames,
		},
		{
			Name:     "publish/odd-topic-names",
			Sentence: "A topic's name that the broker cannot carry is an error; a nil of Publish means stored.",
			run:      publishOddTopicNames,
		},
		{
			Name:     "publish/cancelled",
			Sentence: "When ctx ends first, Publish returns its error for what is unconfirmed.",
			run:      publishCancelled,
		},
		{
			Name:     "publish/closed",
			Sentence: "The driver's errors wrap the sentinels of this package where one fits: Publish after Close is ErrClosed.",
			run:      publishClosed,
		},
		{
			Name:     "publish/near-max-body",
			Sentence: "MaxBody is the most that the broker takes as headers and body together: what is below is stored.",
			Needs:    []Need{needMaxBody},
			run:      publishNearMax,
		},
		{
			Name:     "publish/too-large",
			Sentence: "MaxBody is the most that the broker takes: what is above is ErrTooLarge, and the driver goes on.",
			Needs:    []Need{needMaxBody},
			run:      publishTooLarge,
		},
		{
			Name:     "publish/batch-error-names-indexes",
			Sentence: "A BatchError names those that failed; those that it does not name succeeded.",
			Needs:    []Need{needMaxBody},
			run:      publishBatchError,
		},
		{
			Name:     "publish/nothing-of-a-key-after-a-failure",
			Sentence: "OrderedPublish: after a message fails, no later one of the same key and call is stored.",
			Needs:    []Need{needMaxBody, needOrderedPublish},
			run:      publishStopsAfterFailure,
		},
	}
}

func publishConfirmed(e *env) {
	topic := e.topic(1)
	e.publish(topic, e.numbered("", 1, 3)...)
	e.join(topic, e.group()).gather("1", "2", "3")
}

func publishCallOrder(e *env) {
	topic := e.topic(2)
	e.publish(topic, e.numbered("key", 1, 60)...)
	wantOrder(e, e.join(topic, e.group()).gather(numbers(1, 60)...), numbers(1, 60))
}

func publishCallsInOrder(e *env) {
	topic := e.topic(2)
	e.publishOne(topic, e.numbered("key", 1, 15)...)
	wantOrder(e, e.join(topic, e.group()).gather(numbers(1, 15)...), numbers(1, 15))
}

// wantOrder compares the first coming of each message with want.
func wantOrder(e *env, got, want []string) {
	e.Helper()
	if first := firsts(got); !slices.Equal(first, want) {
		e.Errorf("order is %v, want %v", first, want)
	}
}

// firsts drops repeats.
func firsts(texts []string) []string {
	seen := map[string]bool{}
	var out []string
	for _, t := range texts {
		if !seen[t] {
			out = append(out, t)
		}
		seen[t] = true
	}
	return out
}

func publishEmpty(e *env) {
	topic := e.topic(1)
	m := e.join(topic, e.group())
	e.mustf(e.d.Publish(e.ctx(), topic, nil), "Publish of no messages")
	e.mustf(e.d.Publish(e.ctx(), topic, []*driver.Message{}), "Publish of an empty slice")
	m.quiet("nothing was published")
}

func publishMany(e *env) {
	topic := e.topic(3)
	e.publish(topic, e.keyed(1000)...)
	e.join(topic, e.group()).gather(numbers(1, 1000)...)
}

func publishConcurrent(e *env) {
	const publishers, each = 8, 25
	topic := e.topic(2)
	msgs := e.keyed(publishers * each)
	errs := make(chan error, publishers)
	ctx := e.ctx()
	for part := range slices.Chunk(msgs, each) {
		go func() { errs <- publishAll(ctx, e.d, topic, part) }()
	}
	for range publishers {
		e.mustf(<-errs, "Publish from %d goroutines", publishers)
	}
	e.join(topic, e.group()).gather(numbers(1, publishers*each)...)
}

// publishAll makes one call per message.
func publishAll(ctx context.Context, d driver.Driver, topic string, msgs []*driver.Message) error {
	for _, m := range msgs {
		if err := d.Publish(ctx, topic, []*driver.Message{m}); err != nil {
			return err
		}
	}
	return nil
}

func publishKeepsNothing(e *env) {
	topic := e.topic(1)
	msgs := []*driver.Message{e.msg("key", "1"), e.msg("key", "2")}
	want := e.msg("key", "1")
	e.publish(topic, msgs...)
	msgs[0].Key, msgs[0].Body = "changed", []byte("changed")
	msgs[0].Headers[0] = driver.Header{Name: "changed", Value: "changed"}
	msgs[0], msgs[1] = nil, nil
	m := e.join(topic, e.group())
	first := m.take(1)[0]
	e.wantSame(first, want)
	m.ack(first) // a driver may have one message in flight
	m.takeOne("2")
}

func publishLeavesAlone(e *env) {
	topic := e.topic(1)
	sent := e.msg("key", "1")
	e.publish(topic, sent)
	e.wantUntouched(sent)
	ctx, cancel := context.WithCancel(e.ctx())
	cancel()
	refused := e.msg("key", "1")
	_ = e.d.Publish(ctx, topic, []*driver.Message{refused})
	e.wantUntouched(refused)
}

func (e *env) wantUntouched(m *driver.Message) {
	e.Helper()
	want := e.msg("key", "1")
	if m.Key != want.Key || string(m.Body) != "1" || !slices.Equal(m.Headers, want.Headers) {
		e.Errorf("after Publish the caller's message is %+v, want %+v", m, want)
	}
	if m.Token != nil || !m.Published.IsZero() || m.Seq != 0 || m.Deliveries != 0 {
		e.Errorf("Publish wrote fields of deliveries into the caller's message: %+v", m)
	}
}

func publishMissingTopic(e *env) {
	topic := e.unique("missing")
	err := e.d.Publish(e.ctx(), topic, []*driver.Message{e.msg("", "1")})
	if errors.Is(err, driver.ErrNotFound) {
		return
	}
	e.mustf(err, "Publish to a topic that nobody made, want nil or ErrNotFound")
	e.join(topic, e.group()).gather("1")
}

func publishTopicsApart(e *env) {
	a, b, group := e.topic(1), e.topic(1), e.group()
	atA, atB := e.join(a, group), e.join(b, group)
	e.publish(a, e.msg("", "for a"))
	e.publish(b, e.msg("", "for b"))
	atA.gather("for a")
	atB.gather("for b")
	atA.quiet("its only message was acknowledged")
	atB.quiet("its only message was acknowledged")
}

// publishTopicNames uses names that a careless escape would let collide.
func publishTopicNames(e *env) {
	base, group := e.unique("n"), e.group()
	var members []*member
	names := []string{base + ".a.b", base + ".a-b", base + ".c_d", base + ".A.B", base + ".a", base + ".a.b.c"}
	for _, name := range names {
		e.create(name, 1)
		members = append(members, e.join(name, group))
	}
	for _, name := range names {
		e.publish(name, e.msg("", name))
	}
	for i, name := range names {
		members[i].gather(name)
	}
	for i, name := range names {
		members[i].quiet("everything of " + name + " was acknowledged")
	}
}

func publishOddTopicNames(e *env) {
	base := e.unique("odd")
	for _, odd := range []string{" with space", "*", ".>", "/slash", "ü-ключ", "%41", ":1", "{tag}", strings.Repeat("x", 300)} {
		topic := base + odd
		err := e.d.Publish(e.ctx(), topic, []*driver.Message{e.msg("", topic)})
		if err != nil {
			e.Logf("topic %q is refused: %v", topic, err)
			continue
		}
		e.join(topic, e.group()).gather(topic)
	}
}

func publishCancelled(e *env) {
	topic := e.topic(1)
	ctx, cancel := context.WithCancelCause(e.ctx())
	cancel(nil)
	e.wantCancelled(topic, "1", e.d.Publish(ctx, topic, []*driver.Message{e.msg("", "1")}), context.Canceled)
	late, stop := context.WithTimeout(e.ctx(), -time.Second)
	defer stop()
	e.wantCancelled(topic, "2", e.d.Publish(late, topic, []*driver.Message{e.msg("", "2")}), context.DeadlineExceeded)
	e.publish(topic, e.msg("", "3"))
}

// wantCancelled accepts a driver that stored the message all the same and says
// so: then it must be there.
func (e *env) wantCancelled(topic, body string, err, want error) {
	e.Helper()
	if err != nil {
		e.wantIs(err, want, "Publish with a ctx that had ended")
		return
	}
	m := e.join(topic, e.group())
	for {
		got := m.take(1)[0]
		m.ack(got)
		if string(got.Body) == body {
			return
		}
	}
}

func publishClosed(e *env) {
	topic := e.topic(1)
	e.mustf(e.d.Close(e.ctx()), "Close")
	err := e.d.Publish(e.ctx(), topic, []*driver.Message{e.msg("", "1")})
	e.wantIs(err, driver.ErrClosed, "Publish after Close")
}

// most is the largest body that the suite makes: some brokers have no bound
// worth trying.
const most = 64 << 20

// sized is a message of n bytes, headers and key included.
func (e *env) sized(n int) *driver.Message {
	e.Helper()
	if n > most {
		e.skip(fmt.Sprintf("MaxBody is over %d bytes", most))
	}
	m := e.msg("key", "x")
	used := len(m.Key) + len(m.Headers[0].Name) + len(m.Headers[0].Value)
	m.Body = make([]byte, n-used)
	for i := range m.Body {
		m.Body[i] = byte(i * 31)
	}
	return m
}

func publishNearMax(e *env) {
	topic := e.topic(1)
	want := e.sized(e.caps.MaxBody - 1024) // room for what the broker adds
	e.publish(topic, want)
	e.wantSame(e.join(topic, e.group()).take(1)[0], want)
}

func publishTooLarge(e *env) {
	topic := e.topic(1)
	m := e.join(topic, e.group())
	err := e.d.Publish(e.ctx(), topic, []*driver.Message{e.sized(e.caps.MaxBody + 1024)})
	e.wantIs(err, driver.ErrTooLarge, "Publish over MaxBody")
	e.publish(topic, e.msg("", "after"))
	m.gather("after")
}

func publishBatchError(e *env) {
	topic := e.topic(1)
	m := e.join(topic, e.group())
	msgs := []*driver.Message{e.msg("a", "0"), e.sized(e.caps.MaxBody + 1024), e.msg("b", "2")}
	failed := e.batchError(e.d.Publish(e.ctx(), topic, msgs), len(msgs))
	if failed == nil {
		return // a plain error: none is known to be stored
	}
	e.wantIs(failed[1], driver.ErrTooLarge, "message 1 of the batch")
	var want []string
	for i, m := range msgs {
		if _, bad := failed[i]; !bad {
			want = append(want, string(m.Body))
		}
	}
	m.gather(want...)
}

// batchError checks the shape of the error of a call with n parts, one of which
// was too large.
func (e *env) batchError(err error, n int) driver.BatchError {
	e.Helper()
	e.wantIs(err, driver.ErrTooLarge, "Publish of a batch with one message over MaxBody")
	var failed driver.BatchError
	if !errors.As(err, &failed) {
		return nil
	}
	for i := range failed {
		if i < 0 || i >= n {
			e.Errorf("the BatchError names index %d of a batch of %d", i, n)
		}
	}
	return failed
}

func publishStopsAfterFailure(e *env) {
	topic := e.topic(1)
	m := e.join(topic, e.group())
	msgs := []*driver.Message{e.msg("key", "before"), e.sized(e.caps.MaxBody + 1024), e.msg("key", "after")}
	failed := e.batchError(e.d.Publish(e.ctx(), topic, msgs), len(msgs))
	if _, named := failed[2]; failed != nil && !named {
		e.Errorf("message 2 follows a failed one of its key and is not named in %v", failed)
	}
	e.publish(topic, e.msg("key", "last"))
	for {
		got := m.take(1)[0]
		m.ack(got)
		switch string(got.Body) {
		case "after":
			e.Fatalf("received the message that follows a failed one of its key")
		case "last":
			return
		}
	}
}
