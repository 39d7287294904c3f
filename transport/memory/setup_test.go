package memory_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/memory"
)

// newBroker closes itself at the end of the test.
func newBroker(tb testing.TB, o *memory.Options) *memory.Broker {
	tb.Helper()
	b := memory.New(o)
	tb.Cleanup(func() { must(tb, b.Close(context.WithoutCancel(tb.Context()))) })
	return b
}

// open returns a broker and one source on it.
func open(tb testing.TB, o *memory.Options, sub driver.Subscription) (*memory.Broker, driver.Source) {
	tb.Helper()
	b := newBroker(tb, o)
	return b, subscribe(tb, b, sub)
}

func subscribe(tb testing.TB, b *memory.Broker, sub driver.Subscription) driver.Source {
	tb.Helper()
	src, err := b.Subscribe(tb.Context(), sub)
	must(tb, err)
	return src
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// texts are messages without key, with the bodies from..to.
func texts(from, to int) []*driver.Message {
	var msgs []*driver.Message
	for i := from; i <= to; i++ {
		msgs = append(msgs, &driver.Message{Body: fmt.Append(nil, i)})
	}
	return msgs
}

func publish(tb testing.TB, b *memory.Broker, topic string, msgs ...*driver.Message) {
	tb.Helper()
	must(tb, b.Publish(tb.Context(), topic, msgs))
}

// receive takes what is there, at most n, and waits for it as long as a bubble's clock or the test allow.
func receive(tb testing.TB, src driver.Source, n int) []*driver.Message {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 24*time.Hour)
	defer cancel()
	msgs, err := src.Receive(ctx, n)
	must(tb, err)
	return slices.Clone(msgs)
}

// want fails unless these are the bodies, in this order.
func want(tb testing.TB, msgs []*driver.Message, bodies string) []*driver.Message {
	tb.Helper()
	if got := bodiesOf(msgs); got != bodies {
		tb.Fatalf("received %q, want %q", got, bodies)
	}
	return msgs
}

func bodiesOf(msgs []*driver.Message) string {
	var all []string
	for _, m := range msgs {
		all = append(all, string(m.Body))
	}
	return strings.Join(all, " ")
}

// quiet fails when a message comes within d.
func quiet(tb testing.TB, src driver.Source, d time.Duration) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), d)
	defer cancel()
	if msgs, err := src.Receive(ctx, 100); err == nil {
		tb.Fatalf("received %q, want nothing", bodiesOf(msgs))
	}
}

func settle(src driver.Source, o driver.Outcome, delay time.Duration, msgs ...*driver.Message) error {
	var batch []driver.Settlement
	for _, m := range msgs {
		batch = append(batch, driver.Settlement{Token: m.Token, Outcome: o, Delay: delay})
	}
	return src.Settle(context.Background(), batch)
}

func ack(tb testing.TB, src driver.Source, msgs ...*driver.Message) {
	tb.Helper()
	must(tb, settle(src, driver.Ack, 0, msgs...))
}
