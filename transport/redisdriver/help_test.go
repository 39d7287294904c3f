package redisdriver

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anywire/anywire/transport/driver"
)

// longLease does not end within a test.
const longLease = 10 * time.Minute

// unique is a name that no other test uses.
func unique(tb testing.TB) string {
	tb.Helper()
	return "t." + strings.ReplaceAll(strings.ToLower(tb.Name()), "/", ".") + "." + strings.ToLower(rand.Text()[:10])
}

func texts(bodies ...string) []*driver.Message {
	msgs := make([]*driver.Message, 0, len(bodies))
	for _, b := range bodies {
		msgs = append(msgs, &driver.Message{Key: "key", Body: []byte(b)})
	}
	return msgs
}

func publish(tb testing.TB, d driver.Driver, topic string, bodies ...string) {
	tb.Helper()
	if err := d.Publish(tb.Context(), topic, texts(bodies...)); err != nil {
		tb.Fatalf("Publish: %v", err)
	}
}

func sub(topic string) driver.Subscription {
	return driver.Subscription{Topic: topic, Group: "group", Window: 10, Lease: longLease}
}

func ordered(topic string) driver.Subscription {
	s := sub(topic)
	s.Ordered, s.Shards = true, []int{0}
	return s
}

func subscribe(tb testing.TB, d driver.Driver, s driver.Subscription) driver.Source {
	tb.Helper()
	src, err := d.Subscribe(tb.Context(), s)
	if err != nil {
		tb.Fatalf("Subscribe: %v", err)
	}
	tb.Cleanup(func() { _ = src.Close(context.WithoutCancel(tb.Context())) })
	return src
}

func closeSource(tb testing.TB, src driver.Source) {
	tb.Helper()
	if err := src.Close(tb.Context()); err != nil {
		tb.Errorf("Close: %v", err)
	}
}

// patience bounds what must happen.
func patience(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 30*time.Second)
	tb.Cleanup(cancel)
	return ctx
}

// take receives n messages, over passing errors.
func take(tb testing.TB, src driver.Source, n int) []*driver.Message {
	tb.Helper()
	ctx := patience(tb)
	var held []*driver.Message
	for len(held) < n {
		msgs, err := src.Receive(ctx, n-len(held))
		if ctx.Err() != nil || errors.Is(err, driver.ErrStale) || errors.Is(err, driver.ErrClosed) {
			tb.Fatalf("received %v of %d messages: %v", bodies(held), n, err)
		}
		if err != nil {
			tb.Logf("Receive: %v; calling again", err)
		}
		held = append(held, msgs...)
	}
	return held
}

func settlements(o driver.Outcome, msgs ...*driver.Message) []driver.Settlement {
	list := make([]driver.Settlement, 0, len(msgs))
	for _, m := range msgs {
		list = append(list, driver.Settlement{Token: m.Token, Outcome: o})
	}
	return list
}

func settle(tb testing.TB, src driver.Source, o driver.Outcome, msgs ...*driver.Message) {
	tb.Helper()
	if err := src.Settle(tb.Context(), settlements(o, msgs...)); err != nil {
		tb.Fatalf("Settle: %v", err)
	}
}

func bodies(msgs []*driver.Message) []string {
	list := make([]string, 0, len(msgs))
	for _, m := range msgs {
		list = append(list, string(m.Body))
	}
	return list
}

func want(tb testing.TB, msgs []*driver.Message, texts ...string) {
	tb.Helper()
	if got := bodies(msgs); !slices.Equal(got, texts) {
		tb.Fatalf("received %v, want %v", got, texts)
	}
}
