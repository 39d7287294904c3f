package kafkadriver

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/anywire/anywire/transport/driver"
)

// A copy comes never early, and late by a second or a quarter of its delay at
// most, also behind another that came just before it and waits a whole rung.
func TestRungsArePreciseEnough(t *testing.T) {
	t.Parallel()
	for delay := 10 * time.Millisecond; delay < 30*time.Hour; delay = delay*11/10 + time.Millisecond {
		late, hops := time.Duration(0), 0
		for left := delay; left > 0; hops++ {
			on := rungFor(left)
			if on.wait > left {
				late, left = on.wait-left, 0
				continue
			}
			if left -= on.wait; left <= closeBy {
				left = 0
			}
		}
		if bound := max(time.Second, delay/4); late > bound {
			t.Errorf("a delay of %v may be late by %v, more than %v", delay, late, bound)
		}
		if hops > 30+int(delay/time.Hour) {
			t.Errorf("a delay of %v takes %d hops", delay, hops)
		}
	}
}

func TestDelayHeaders(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 5, 1, 12, 0, 0, 5, time.FixedZone("", 3600))
	r := &kgo.Record{Headers: []kgo.RecordHeader{
		{Key: "ce_id", Value: []byte("1")},
		{Key: "ce_deliverto", Value: []byte("old")},
		{Key: "ce_attempt", Value: []byte("1")},
		{Key: "x", Value: []byte("old")},
	}}
	got := headersOf(delayHeaders(delayCopy{
		record: r, to: "inbox", at: at, attempts: 2, headers: []driver.Header{{Name: "x", Value: "new"}},
	}))
	want := []driver.Header{
		{Name: "ce_id", Value: "1"},
		{Name: "x", Value: "new"},
		{Name: "ce_deliverat", Value: "2026-05-01T11:00:00.000000005Z"},
		{Name: "ce_deliverto", Value: "inbox"},
		{Name: "ce_attempt", Value: "2"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("headers %v, want %v", got, want)
	}
	if len(r.Headers) != 4 || string(r.Headers[3].Value) != "old" {
		t.Error("the record was changed")
	}
}

// await browses a topic until a message is there.
func awaitOne(tb testing.TB, d *Driver, topic string) *driver.Message {
	tb.Helper()
	var got *driver.Message
	ctx := patience(tb)
	err := d.Browse(ctx, topic, driver.Start{}, true, func(m *driver.Message) bool {
		got = m
		return false
	})
	if err != nil {
		tb.Fatalf("nothing came to topic %q: %v", topic, err)
	}
	return got
}

func delayed(body string, delay time.Duration) *driver.Message {
	return &driver.Message{
		Key: "k", Body: []byte(body), Headers: []driver.Header{{Name: "ce_id", Value: body}}, DeliverAt: time.Now().Add(delay),
	}
}

// A delay of 2.6 seconds hops; what comes out is the message and nothing else.
func TestDelayedPublish(t *testing.T) {
	t.Parallel()
	d := shared(t)
	topic := topicOf(t, d, 1)
	m := delayed("1", 2600*time.Millisecond)
	if err := d.Publish(t.Context(), topic, []*driver.Message{m}); err != nil {
		t.Fatal(err)
	}
	got := awaitOne(t, d, topic)
	if early := time.Until(m.DeliverAt); early > 0 {
		t.Errorf("it came %v too early", early)
	}
	if got.Key != m.Key || string(got.Body) != "1" || !slices.Equal(got.Headers, m.Headers) {
		t.Errorf("it came as %+v", got)
	}
}

// What a process delayed that is gone by now is forwarded by another of its
// system, which has only subscribed.
func TestOthersForward(t *testing.T) {
	t.Parallel()
	a := shared(t)
	topic := topicOf(t, a, 1)
	m := delayed("1", 3*time.Second)
	if err := a.Publish(t.Context(), topic, []*driver.Message{m}); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	b, _ := open(t, a.o.Brokers, func(o *Options) { o.System = a.o.System })
	src, err := b.Subscribe(t.Context(), driver.Subscription{Topic: topic, Group: unique(t), Window: 10, Lease: time.Second, Drain: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close(context.WithoutCancel(t.Context()))
	if got, err := src.Receive(patience(t), 1); err != nil || string(got[0].Body) != "1" {
		t.Errorf("received %v, %v", got, err)
	}
}

func TestDelayCopies(t *testing.T) {
	t.Parallel()
	d := shared(t)
	topic := topicOf(t, d, 1)
	errs := d.delayCopies(t.Context(), []delayCopy{
		{record: &kgo.Record{Key: []byte("k"), Value: []byte("1")}, to: topic, at: time.Now(), attempts: 7},
		{record: &kgo.Record{Value: make([]byte, 2*int(d.o.MaxBody))}, to: topic, at: time.Now()},
	})
	if errs[0] != nil || errs[1] == nil {
		t.Fatalf("errors %v", errs)
	}
	got := awaitOne(t, d, topic)
	if got.Key != "k" || string(got.Body) != "1" || !slices.Equal(got.Headers, []driver.Header{{Name: "ce_attempt", Value: "7"}}) {
		t.Errorf("it came as %+v", got)
	}
}

// What a topic refuses goes round, with nothing lost; what others wait for is not
// held up.
func TestRefusedCopiesGoRound(t *testing.T) {
	t.Parallel()
	d := shared(t)
	limit := "2000"
	small, healthy := unique(t), topicOf(t, d, 1)
	if _, err := d.adm.CreateTopics(t.Context(), 1, 1, map[string]*string{"max.message.bytes": &limit}, small); err != nil {
		t.Fatal(err)
	}
	var later rung
	for _, r := range rungs() {
		if r.wait == 4*time.Second {
			later = r
		}
	}
	if _, err := d.ladder.ensure(t.Context(), d.ladder.topicOf(later)); err != nil {
		t.Fatal(err)
	}
	large := delayCopy{record: &kgo.Record{Value: noise(4000)}, to: small, at: time.Now()}
	fine := delayCopy{record: &kgo.Record{Value: []byte("fine")}, to: healthy, at: time.Now()}
	for _, err := range d.delayCopies(t.Context(), []delayCopy{large, fine}) {
		if err != nil {
			t.Fatal(err)
		}
	}
	awaitOne(t, d, healthy)
	got := awaitOne(t, d, d.ladder.topicOf(later))
	if at, to, err := destination(got); err != nil || to != small || at.Sub(large.at).Abs() > time.Millisecond || len(got.Body) != 4000 {
		t.Errorf("the refused copy waits as %v to %q, %v", at, to, err)
	}
}

// A copy that says no destination is kept where an operator finds it.
func TestUnreadableCopiesAreParked(t *testing.T) {
	t.Parallel()
	d := shared(t)
	topic := topicOf(t, d, 1)
	foreign := &kgo.Record{Topic: d.ladder.topicOf(rungs()[0]), Value: []byte("foreign")}
	if _, err := d.ladder.ensure(t.Context(), foreign.Topic); err != nil {
		t.Fatal(err)
	}
	if err := d.client.ProduceSync(t.Context(), foreign).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if err := d.Publish(t.Context(), topic, []*driver.Message{delayed("1", time.Second)}); err != nil {
		t.Fatal(err)
	}
	awaitOne(t, d, topic)
	if got := awaitOne(t, d, d.o.System+ladderName(parked)); string(got.Body) != "foreign" {
		t.Errorf("parked %q", got.Body)
	}
}

// What was forwarded is deleted, since nothing else deletes it.
func TestForwardedCopiesAreDeleted(t *testing.T) {
	t.Parallel()
	d := shared(t)
	topic := topicOf(t, d, 1)
	if err := d.Publish(t.Context(), topic, []*driver.Message{delayed("1", time.Second)}); err != nil {
		t.Fatal(err)
	}
	awaitOne(t, d, topic)
	f := &forwarder{l: &d.ladder, d: d, topic: d.ladder.topicOf(rungs()[0])}
	ctx := patience(t)
	for {
		if err := f.trimNow(ctx); err != nil {
			t.Fatal(err)
		}
		starts, err := d.adm.ListStartOffsets(ctx, f.topic)
		if err != nil {
			t.Fatal(err)
		}
		if o, _ := starts.Lookup(f.topic, 0); o.Offset == 1 {
			return
		}
	}
}

// A rung that somebody deletes is made anew; only what it held is lost.
func TestRungIsDeleted(t *testing.T) {
	t.Parallel()
	d := shared(t)
	topic := topicOf(t, d, 1)
	if err := d.Publish(t.Context(), topic, []*driver.Message{delayed("1", time.Second)}); err != nil {
		t.Fatal(err)
	}
	awaitOne(t, d, topic)
	rung := d.ladder.topicOf(rungs()[0])
	if _, err := d.adm.DeleteTopics(t.Context(), rung); err != nil {
		t.Fatal(err)
	}
	ctx := patience(t)
	for len(seen(t, d, topic)) < 2 {
		if ctx.Err() != nil {
			t.Fatal("nothing is delayed any more")
		}
		_ = d.Publish(ctx, topic, []*driver.Message{delayed("2", time.Second)}) // fails at first
		pause(ctx, 200*time.Millisecond)
	}
	settings, err := d.settings(ctx, rung)
	if err != nil || settings.number(retentionAge) != -1 {
		t.Errorf("the new rung keeps messages for %d ms, %v", settings.number(retentionAge), err)
	}
}
