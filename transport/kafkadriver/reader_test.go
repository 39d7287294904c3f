package kafkadriver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/anywire/anywire/transport/driver"
)

// fake is a Kafka in this process, with short heartbeats.
func fake(tb testing.TB, opts ...kfake.Opt) *kfake.Cluster {
	tb.Helper()
	cluster, err := kfake.NewCluster(append([]kfake.Opt{
		kfake.NumBrokers(1),
		kfake.BrokerConfigs(map[string]string{
			"group.consumer.session.timeout.ms": "6000", "group.consumer.heartbeat.interval.ms": "100",
		}),
	}, opts...)...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(cluster.Close)
	return cluster
}

// reader is a source that the test drives as the engine does.
type reader struct {
	testing.TB
	*source
}

func subscription(topic, group string) driver.Subscription {
	return driver.Subscription{Topic: topic, Group: group, Window: 100, Lease: 2 * time.Second, Drain: 10 * time.Second, Inbox: group + ".inbox"}
}

func ordered(topic, group string) driver.Subscription {
	sub := subscription(topic, group)
	sub.Ordered = true
	return sub
}

func subscribe(tb testing.TB, d *Driver, sub driver.Subscription) *reader {
	tb.Helper()
	src, err := d.Subscribe(patience(tb), sub)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), 10*time.Second)
		defer cancel()
		_ = src.Close(ctx)
	})
	return &reader{tb, src.(*source)}
}

// take receives n messages; errors are logged and passed over, as the engine does.
func (r *reader) take(n int) []*driver.Message {
	r.Helper()
	ctx := patience(r)
	var all []*driver.Message
	for len(all) < n {
		msgs, err := r.Receive(ctx, n-len(all))
		if ctx.Err() != nil || errors.Is(err, driver.ErrClosed) {
			r.Fatalf("%d of %d messages came: %v; %s", len(all), n, err, r.state())
		}
		if err != nil {
			r.Logf("Receive: %v", err)
		}
		all = append(all, msgs...)
	}
	return all
}

// state says what the source has.
func (r *reader) state() string {
	m := r.m
	m.mu.Lock()
	defer m.mu.Unlock()
	var text strings.Builder
	fmt.Fprintf(&text, "member: polling %v, last %v ago, dead %v", m.polling != nil, time.Since(m.polled), m.dead)
	for at, p := range m.parts {
		fmt.Fprintf(&text, "; %v: phase %d, base %d, head %d, tail %d, queued %d, back %d, unsettled %d, held %v, paused %v, stuck %v, "+
			"marks %d of %d", at, p.phase, p.offsets.base, p.offsets.head, p.tail, p.queued(), len(p.back), p.unsettled,
			p.held, p.paused, p.stuck, p.confirmed, p.marks)
	}
	return text.String()
}

// nothing fails if something comes soon.
func (r *reader) nothing() {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), 300*time.Millisecond)
	defer cancel()
	if msgs, _ := r.Receive(ctx, 10); len(msgs) > 0 {
		r.Fatalf("received %q", textsOf(msgs))
	}
}

// trouble is the next error of Receive.
func (r *reader) trouble() error {
	r.Helper()
	msgs, err := r.Receive(patience(r), 1)
	if err == nil {
		r.Fatalf("received %q, want an error", textsOf(msgs))
	}
	return err
}

func (r *reader) settle(outcome driver.Outcome, msgs ...*driver.Message) error {
	settlements := make([]driver.Settlement, 0, len(msgs))
	for _, m := range msgs {
		settlements = append(settlements, driver.Settlement{Token: m.Token, Outcome: outcome})
	}
	return r.Settle(patience(r), settlements)
}

func (r *reader) ack(msgs ...*driver.Message) {
	r.Helper()
	if err := r.settle(driver.Ack, msgs...); err != nil {
		r.Fatal(err)
	}
}

func (r *reader) close() {
	r.Helper()
	if err := r.Close(patience(r)); err != nil {
		r.Fatal(err)
	}
}

// keyed are messages of n keys, numbered from 0.
func keyed(keys, n int) []*driver.Message {
	msgs := make([]*driver.Message, 0, n)
	for i := range n {
		msgs = append(msgs, &driver.Message{Key: "k" + strconv.Itoa(i%keys), Body: []byte(strconv.Itoa(i))})
	}
	return msgs
}

func publish(tb testing.TB, d *Driver, topic string, msgs ...*driver.Message) {
	tb.Helper()
	if err := d.Publish(patience(tb), topic, msgs); err != nil {
		tb.Fatal(err)
	}
}

// await waits for a condition, as long as a busy machine may need.
func await(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 3*time.Minute)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			tb.Fatalf("%s: not in time", what)
		}
	}
}

func (d *Driver) memberCount(group string) int {
	d.groups.mu.Lock()
	defer d.groups.mu.Unlock()
	return len(d.groups.members[group])
}

func numbersOf(from, to int) []string {
	var list []string
	for i := from; i < to; i++ {
		list = append(list, strconv.Itoa(i))
	}
	return list
}

func wantTexts(tb testing.TB, msgs []*driver.Message, want []string) {
	tb.Helper()
	got := textsOf(msgs)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		tb.Errorf("got %s, want %s", fmt.Sprint(got), fmt.Sprint(want))
	}
}
