package memory_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/memory"
)

func statsOf(tb testing.TB, b *memory.Broker, topic string) memory.TopicStats {
	tb.Helper()
	for _, s := range b.Stats() {
		if s.Topic == topic {
			return s
		}
	}
	tb.Fatalf("no topic %q in %v", topic, b.Stats())
	return memory.TopicStats{}
}

func wantStored(tb testing.TB, b *memory.Broker, topic string, n int) {
	tb.Helper()
	if got := statsOf(tb, b, topic).Messages; got != n {
		tb.Fatalf("topic %q holds %d messages, want %d", topic, got, n)
	}
}

func TestRingKeepsTheNewest(t *testing.T) {
	t.Parallel()
	for _, shards := range []int{1, 4} {
		var told []string
		b := newBroker(t, &memory.Options{Capacity: 5, OnDrop: func(topic string) { told = append(told, topic) }})
		_, err := b.EnsureTopic(t.Context(), driver.Topic{Name: "t", Shards: shards})
		must(t, err)
		publish(t, b, "t", texts(1, memory.RingSize)...)
		if len(told) > 0 {
			t.Errorf("told of %q before anything was dropped", told)
		}
		publish(t, b, "t", texts(memory.RingSize+1, memory.RingSize+50)...)
		publish(t, b, "t", texts(memory.RingSize+51, memory.RingSize+51)...)
		if s := statsOf(t, b, "t"); s.Messages != memory.RingSize || s.Dropped != 51 || len(told) != 1 {
			t.Errorf("%d shards: %+v, told of %q; want %d messages, 51 dropped, told once", shards, s, told, memory.RingSize)
		}
		src := subscribe(t, b, driver.Subscription{Topic: "t", Group: "g"})
		got := map[string]bool{}
		for _, m := range receive(t, src, 2*memory.RingSize) {
			got[string(m.Body)] = true
		}
		if len(got) != memory.RingSize || got["51"] || !got["52"] || !got["10051"] {
			t.Errorf("%d shards: the first group got %d messages; the oldest should be 52", shards, len(got))
		}
	}
}

func TestRingBoundsWhatIsNotDue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBroker(t, nil)
		msgs := texts(1, memory.RingSize+3)
		for i, m := range msgs {
			m.DeliverAt = time.Now().Add(time.Duration(i+1) * time.Second)
		}
		publish(t, b, "t", msgs...)
		if s := statsOf(t, b, "t"); s.Messages != memory.RingSize || s.Dropped != 3 {
			t.Errorf("%+v, want %d messages and 3 dropped", s, memory.RingSize)
		}
		src := subscribe(t, b, driver.Subscription{Topic: "t", Group: "g"})
		want(t, receive(t, src, 1), "4") // those that were due first are gone
	})
}

func TestSettledByAllGroupsIsDropped(t *testing.T) {
	t.Parallel()
	b, one := open(t, nil, driver.Subscription{Topic: "t", Group: "one"})
	two := subscribe(t, b, driver.Subscription{Topic: "t", Group: "two"})
	publish(t, b, "t", texts(1, 200)...)
	ack(t, one, receive(t, one, 200)...)
	wantStored(t, b, "t", 200)
	held := receive(t, two, 200)
	ack(t, two, held[1:]...)
	wantStored(t, b, "t", 1)
	late := subscribe(t, b, driver.Subscription{Topic: "t", Group: "late"})
	want(t, receive(t, late, 10), "1")
	ack(t, two, held[0])
	wantStored(t, b, "t", 1)
}

func TestGroupThatStartsNowEmptiesTheRing(t *testing.T) {
	t.Parallel()
	b := newBroker(t, nil)
	publish(t, b, "t", texts(1, 5)...)
	src := subscribe(t, b, driver.Subscription{Topic: "t", Group: "g", Start: driver.Start{At: driver.StartNow}})
	wantStored(t, b, "t", 0)
	publish(t, b, "t", texts(6, 6)...)
	want(t, receive(t, src, 10), "6")
}

func TestEphemeralGroupLeavesTheRing(t *testing.T) {
	t.Parallel()
	b, src := open(t, nil, driver.Subscription{Topic: "t", Group: "g", Ephemeral: true})
	publish(t, b, "t", texts(1, 6)...)
	held := receive(t, src, 4)
	ack(t, src, held[0])
	must(t, settle(src, driver.HandBack, 0, held[1]))
	must(t, settle(src, driver.Nack, time.Hour, held[2]))
	must(t, src.Close(t.Context()))
	if s := statsOf(t, b, "t"); s.Groups != 0 || s.Messages != 5 {
		t.Errorf("%+v, want no group and the 5 messages that are not settled", s)
	}
	publish(t, b, "t", texts(7, 7+memory.RingSize)...)
	wantStored(t, b, "t", memory.RingSize)
}

func TestRetention(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		topic driver.Topic
		late  string // what a group finds that comes when 1 to 4 are settled
		aged  string // and one that comes after two hours
	}{
		{"none", driver.Topic{}, "", ""},
		{"age", driver.Topic{RetentionAge: time.Hour}, "1 2 3 4", ""},
		{"bytes", driver.Topic{RetentionBytes: 2}, "3 4", "3 4"},
		{"both", driver.Topic{RetentionAge: time.Hour, RetentionBytes: 3}, "2 3 4", ""},
		{"for ever", driver.Topic{RetentionAge: -1}, "1 2 3 4", "1 2 3 4"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBroker(t, nil)
				test.topic.Name = "t"
				_, err := b.EnsureTopic(t.Context(), test.topic)
				must(t, err)
				src := subscribe(t, b, driver.Subscription{Topic: "t", Group: "g"})
				publish(t, b, "t", texts(1, 4)...)
				ack(t, src, receive(t, src, 4)...)
				wantFound(t, b, "late", test.late)
				<-time.After(2 * time.Hour)
				synctest.Wait()
				wantStored(t, b, "t", len(strings.Fields(test.aged)))
				wantFound(t, b, "aged", test.aged)
			})
		})
	}
}

// wantFound settles what it finds, under a group that vanishes again.
func wantFound(t *testing.T, b *memory.Broker, group, bodies string) {
	t.Helper()
	src := subscribe(t, b, driver.Subscription{Topic: "t", Group: group, Ephemeral: true})
	if bodies == "" {
		quiet(t, src, time.Second)
	} else {
		ack(t, src, want(t, receive(t, src, 10), bodies)...)
	}
	must(t, src.Close(t.Context()))
}

func TestRetentionKeepsWhatIsNotSettled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBroker(t, nil)
		_, err := b.EnsureTopic(t.Context(), driver.Topic{Name: "t", RetentionAge: time.Minute})
		must(t, err)
		src := subscribe(t, b, driver.Subscription{Topic: "t", Group: "g", Lease: 24 * time.Hour})
		publish(t, b, "t", texts(1, 3)...)
		held := receive(t, src, 2)
		<-time.After(time.Hour)
		synctest.Wait()
		wantStored(t, b, "t", 3)
		ack(t, src, held...)
		wantStored(t, b, "t", 1)
		want(t, receive(t, src, 5), "3")
	})
}

func TestDeadLetterTopic(t *testing.T) {
	t.Parallel()
	b := newBroker(t, &memory.Options{Capacity: 1})
	publish(t, b, "a.dead", texts(1, memory.DeadLetters)...)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	err := b.Publish(ctx, "a.dead", texts(0, 0))
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), `"a.dead" is full: it holds 100000 dead letters`) {
		t.Errorf("Publish into a full dead-letter topic: %v", err)
	}
	now := subscribe(t, b, driver.Subscription{Topic: "a.dead", Group: "now", Start: driver.Start{At: driver.StartNow}})
	must(t, now.Close(t.Context()))
	wantStored(t, b, "a.dead", memory.DeadLetters)
	src := subscribe(t, b, driver.Subscription{Topic: "a.dead", Group: "g"})
	done := make(chan error)
	go func() { done <- b.Publish(t.Context(), "a.dead", texts(0, 0)) }()
	ack(t, src, receive(t, src, 1)...)
	must(t, <-done)
	wantStored(t, b, "a.dead", memory.DeadLetters)
}

func TestEnsureTopic(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name      string
		has, want driver.Topic
		err       string // empty: none
	}{
		{"the same", driver.Topic{Shards: 2, RetentionAge: time.Hour, RetentionBytes: 7}, driver.Topic{Shards: 2, RetentionAge: time.Hour, RetentionBytes: 7}, ""},
		{"for ever", driver.Topic{RetentionAge: -time.Hour}, driver.Topic{RetentionAge: -1}, ""},
		{"whatever it has", driver.Topic{Shards: 2, RetentionAge: time.Hour, RetentionBytes: 7}, driver.Topic{Require: true}, ""},
		{"shards", driver.Topic{Shards: 2}, driver.Topic{Shards: 3}, "has shards 2, not 3"},
		{"age", driver.Topic{RetentionAge: time.Hour}, driver.Topic{RetentionAge: time.Minute}, "has a retention age of 1h0m0s, not 1m0s"},
		{"bytes", driver.Topic{}, driver.Topic{RetentionBytes: 9}, "has retention bytes 0, not 9"},
		{"replicas", driver.Topic{}, driver.Topic{Replicas: 3}, "3 replicas: a topic in memory has 1"},
		{"one replica", driver.Topic{}, driver.Topic{Replicas: 1}, ""},
		{"negative shards", driver.Topic{}, driver.Topic{Shards: -1}, "-1 shards"},
		{"negative bytes", driver.Topic{}, driver.Topic{RetentionBytes: -1}, "-1 bytes"},
		{"dead letters", driver.Topic{Name: "x.dead"}, driver.Topic{Name: "x.dead", RetentionAge: -1}, ""},
		{"no name", driver.Topic{}, driver.Topic{Name: "-"}, "no name"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := newBroker(t, nil)
			for _, spec := range []*driver.Topic{&test.has, &test.want} {
				switch spec.Name {
				case "":
					spec.Name = "x"
				case "-":
					spec.Name = ""
				}
			}
			_, err := b.EnsureTopic(t.Context(), test.has)
			must(t, err)
			_, err = b.EnsureTopic(t.Context(), test.want)
			if test.err == "" {
				must(t, err)
			} else if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("error %v, want one with %q", err, test.err)
			}
		})
	}
}
