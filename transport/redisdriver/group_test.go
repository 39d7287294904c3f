package redisdriver

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/transport/driver"
)

// alarmed receives until an error tells of the text, and returns what came before.
func alarmed(tb testing.TB, src driver.Source, text string) []*driver.Message {
	tb.Helper()
	ctx := patience(tb)
	var got []*driver.Message
	for {
		msgs, err := src.Receive(ctx, 10)
		got = append(got, msgs...)
		if err != nil && strings.Contains(err.Error(), text) {
			return got
		}
		if ctx.Err() != nil {
			tb.Fatalf("no error tells that %q", text)
		}
	}
}

func TestDestroyedGroupGoesOnWhereItHadSettled(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]driver.Subscription{"unordered": sub(unique(t)), "ordered": ordered(unique(t))} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, topic := shared(t), s.Topic
			publish(t, d, topic, "1", "2", "3", "4")
			src := subscribe(t, d, s)
			held := take(t, src, 3)
			settle(t, src, driver.Ack, held[0])
			beat(t, src)
			if err := d.client.XGroupDestroy(t.Context(), topic, "group").Err(); err != nil {
				t.Fatal(err)
			}
			got := alarmed(t, src, "the group was deleted")
			lost, err := src.Extend(t.Context(), []driver.Token{held[1].Token, held[2].Token})
			if err != nil || len(lost) != 2 {
				t.Errorf("Extend: lost %d, error %v; want both deliveries of the lost group", len(lost), err)
			}
			got = append(got, take(t, src, 3-len(got))...)
			want(t, got, "2", "3", "4")
		})
	}
}

// beat writes the record of the groups of a source now.
func beat(tb testing.TB, src driver.Source) {
	tb.Helper()
	s, _ := src.(*source)
	for _, st := range s.streams {
		s.beat(tb.Context(), st, time.Minute)
	}
}

func TestGroupDestroyedWhileNobodyWasThere(t *testing.T) {
	t.Parallel()
	d, topic := shared(t), unique(t)
	publish(t, d, topic, "1", "2")
	s := sub(topic)
	s.Start.At = driver.StartNow
	src := subscribe(t, d, s)
	publish(t, d, topic, "3", "4")
	held := take(t, src, 2)
	settle(t, src, driver.Ack, held[0])
	beat(t, src)
	closeSource(t, src)
	if err := d.client.XGroupDestroy(t.Context(), topic, "group").Err(); err != nil {
		t.Fatal(err)
	}
	want(t, take(t, subscribe(t, d, s), 1), "4")
}

func TestDeletedStreamIsMadeAgain(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]driver.Subscription{"unordered": sub(unique(t)), "ordered": ordered(unique(t))} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, topic := shared(t), s.Topic
			src := subscribe(t, d, s)
			publish(t, d, topic, "1", "2")
			take(t, src, 2)
			beat(t, src)
			if err := d.client.Del(t.Context(), topic).Err(); err != nil {
				t.Fatal(err)
			}
			publish(t, d, topic, "3") // makes a new stream, without the group
			got := alarmed(t, src, "the group was deleted")
			got = append(got, take(t, src, 1-len(got))...)
			want(t, got, "3")
			publish(t, d, topic, "4")
			want(t, take(t, src, 1), "4")
		})
	}
}

func TestEmptiedServer(t *testing.T) {
	t.Parallel()
	server := brokertest.Redis(t)
	d, _ := open(t, server.URL, nil)
	topic := unique(t)
	src := subscribe(t, d, sub(topic))
	publish(t, d, topic, "1")
	settle(t, src, driver.Ack, take(t, src, 1)...)
	if err := d.client.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	publish(t, d, topic, "2")
	want(t, take(t, src, 1), "2")
}

// TestDeletedStreamIsALoss counts what this member held of a stream that somebody
// deletes.
func TestDeletedStreamIsALoss(t *testing.T) {
	t.Parallel()
	d, topic := shared(t), unique(t)
	publish(t, d, topic, "1", "2", "3")
	src := subscribe(t, d, sub(topic))
	settle(t, src, driver.Ack, take(t, src, 3)[0])
	if err := d.client.Del(t.Context(), topic).Err(); err != nil {
		t.Fatal(err)
	}
	alarmed(t, src, "and whatever that held")
	if n := src.(driver.LossTeller).Vanished(); n != 2 {
		t.Errorf("%d messages are counted, want the two that were held", n)
	}
}

func consumers(tb testing.TB, d *Driver, topic string) []string {
	tb.Helper()
	list, err := d.client.XInfoConsumers(tb.Context(), topic, "group").Result()
	if err != nil {
		tb.Fatal(err)
	}
	var names []string
	for _, c := range list {
		names = append(names, c.Name)
	}
	return names
}

func TestOwnConsumerLeaves(t *testing.T) {
	t.Parallel()
	d, topic := shared(t), unique(t)
	publish(t, d, topic, "1", "2")
	src := subscribe(t, d, sub(topic))
	settle(t, src, driver.Ack, take(t, src, 2)[0])
	closeSource(t, src)
	if names := consumers(t, d, topic); !slices.Equal(names, []string{holding}) {
		t.Errorf("consumers are %v, want only the one that holds what was given back", names)
	}
	want(t, take(t, subscribe(t, d, sub(topic)), 1), "2")
}

// TestDeadConsumersAreRemoved also shows that what they had is not: removing a
// consumer drops its pending entries.
func TestDeadConsumersAreRemoved(t *testing.T) {
	t.Parallel()
	d, topic := shared(t), unique(t)
	publish(t, d, topic, "1")
	dead, line := open(t, brokertest.SharedRedis(t).URL, nil)
	take(t, subscribe(t, dead, leased(topic)), 1)
	line.cut(true)
	gone := consumers(t, d, topic)
	expired := redis.Z{Score: 1, Member: gone[0]}
	if err := d.client.ZAdd(t.Context(), companion(topic, "members:group"), expired).Err(); err != nil {
		t.Fatal(err)
	}
	src := subscribe(t, d, leased(topic))
	beat(t, src)
	if !slices.Contains(consumers(t, d, topic), gone[0]) {
		t.Fatal("a consumer that has a pending entry was removed: the entry is lost")
	}
	want(t, take(t, src, 1), "1")
	awaits(t, "the dead consumer is removed", func() bool {
		beat(t, src)
		return !slices.Contains(consumers(t, d, topic), gone[0])
	})
}

func TestEphemeralGroupOfADeadProcessIsRemoved(t *testing.T) {
	t.Parallel()
	d, topic := shared(t), unique(t)
	dead, line := open(t, brokertest.SharedRedis(t).URL, nil)
	s := sub(topic)
	s.Group, s.Ephemeral = "reply", true
	subscribe(t, dead, s)
	line.cut(true)
	src := subscribe(t, d, sub(topic))
	beat(t, src)
	if n := groups(t, d, topic); n != 2 {
		t.Fatalf("%d groups, want the ephemeral one to outlive its process for %v", n, ephemeralFor)
	}
	long := time.Now().Add(-2 * ephemeralFor).UnixMilli()
	record := strconv.FormatInt(long, 10) + " 0-0 0 " + strconv.FormatInt(ephemeralFor.Milliseconds(), 10)
	if err := d.client.HSet(t.Context(), companion(topic, "groups"), "reply", record).Err(); err != nil {
		t.Fatal(err)
	}
	beat(t, src)
	if n := groups(t, d, topic); n != 1 {
		t.Errorf("%d groups, want the ephemeral one removed", n)
	}
}

// TestEphemeralGroupsDoNotStay: whoever comes to a stream removes those of dead
// processes, be it a publisher of a topic that keeps everything, or a new reader.
func TestEphemeralGroupsDoNotStay(t *testing.T) {
	t.Parallel()
	d := shared(t)
	for name, c := range map[string]struct {
		age  time.Duration
		come func(topic string)
	}{
		"publisher":                  {0, func(topic string) { publishAgain(t, d, topic) }},
		"publisher without a bound":  {-1, func(topic string) { publishAgain(t, d, topic) }},
		"another group":              {-1, func(topic string) { subscribe(t, d, sub(topic)) }},
		"an ephemeral group":         {-1, func(topic string) { closeSource(t, subscribe(t, d, ephemeral(topic))) }},
		"the publisher's trim alone": {time.Hour, func(topic string) { publishAgain(t, d, topic) }},
	} {
		topic := ensureTopic(t, d, driver.Topic{Name: unique(t), RetentionAge: c.age}).Name
		aged(t, d, topic, agedEntries)
		leaveBehind(t, d, topic)
		c.come(topic)
		eventually(t, name+" removes the group", func() bool {
			list, err := d.client.XInfoGroups(t.Context(), topic).Result()
			return err == nil && !slices.ContainsFunc(list, func(g redis.XInfoGroup) bool { return g.Name == "reply" })
		})
		if n := d.client.Exists(t.Context(), companion(topic, "members:reply"), companion(topic, "due:reply")).Val(); n != 0 {
			t.Errorf("%s: %d keys of the group are left", name, n)
		}
		if c.age == time.Hour {
			eventually(t, "what the group held back is trimmed", func() bool { return length(t, d.client, topic) <= node+2 })
		}
	}
}

// TestDeadEphemeralGroupHoldsNothingBack, even where it may not be removed.
func TestDeadEphemeralGroupHoldsNothingBack(t *testing.T) {
	t.Parallel()
	server := brokertest.Redis(t)
	d, _ := open(t, server.URL, nil)
	topic := unique(t)
	aged(t, d, topic, agedEntries)
	src := subscribe(t, d, sub(topic))
	settle(t, src, driver.Ack, take(t, src, agedEntries+1)...)
	leaveBehind(t, d, topic)
	if err := d.client.Do(t.Context(), "acl", "setuser", "writer", "on", ">pw", "~*", "&*", "+@all", "-xgroup").Err(); err != nil {
		t.Fatal(err)
	}
	writer, _ := open(t, server.URL, func(o *Options) { o.User, o.Password = "writer", value.NewSecret("pw") })
	if n := trimmedTo(t, writer, src, topicMeta{retentionAge: time.Hour}); n > node+1 {
		t.Errorf("%d entries are left, want nearly none", n)
	}
	if n := groups(t, d, topic); n != 2 {
		t.Errorf("%d groups: the writer may remove none", n)
	}
}

func ephemeral(topic string) driver.Subscription {
	s := sub(topic)
	s.Group, s.Ephemeral = "other reply", true
	return s
}

// leaveBehind makes the ephemeral group reply of a process that died long ago.
func leaveBehind(tb testing.TB, d *Driver, topic string) {
	tb.Helper()
	long := strconv.FormatInt(time.Now().Add(-2*ephemeralFor).UnixMilli(), 10)
	if err := errors.Join(
		d.client.XGroupCreateMkStream(tb.Context(), topic, "reply", "0").Err(),
		d.client.HSet(tb.Context(), companion(topic, "groups"), "reply", long+" 0-0 0 "+strconv.FormatInt(ephemeralFor.Milliseconds(), 10)).Err(),
		d.client.ZAdd(tb.Context(), companion(topic, "members:reply"), redis.Z{Score: 1, Member: "dead"}).Err(),
	); err != nil {
		tb.Fatal(err)
	}
}

// publishAgain publishes what is not published for the first time: then a publisher
// looks after the topic.
func publishAgain(tb testing.TB, d *Driver, topic string) {
	tb.Helper()
	publish(tb, d, topic, "new")
	d.topics.mu.Lock()
	d.topics.known[topic].until = time.Now().Add(-time.Second)
	d.topics.mu.Unlock()
	publish(tb, d, topic, "newer")
}

func groups(tb testing.TB, d *Driver, topic string) int {
	tb.Helper()
	list, err := d.client.XInfoGroups(tb.Context(), topic).Result()
	if err != nil {
		tb.Fatal(err)
	}
	return len(list)
}

func TestZombieIsFenced(t *testing.T) {
	t.Parallel()
	d, topic := shared(t), unique(t)
	publish(t, d, topic, "1", "2", "3")
	zombie := subscribe(t, d, ordered(topic))
	held := take(t, zombie, 2)
	owner := subscribe(t, d, ordered(topic))
	want(t, take(t, owner, 2), "1", "2")
	if _, err := zombie.Receive(patience(t), 1); !errors.Is(err, driver.ErrStale) {
		t.Errorf("Receive of the old owner: %v, want ErrStale", err)
	}
	lost, err := zombie.Extend(t.Context(), []driver.Token{held[0].Token, held[1].Token})
	if err != nil || len(lost) != 2 {
		t.Errorf("Extend of the old owner: lost %d, error %v; want both", len(lost), err)
	}
	for _, o := range []driver.Outcome{driver.Ack, driver.Nack, driver.HandBack} {
		if err := zombie.Settle(t.Context(), settlements(o, held[0])); !errors.Is(err, driver.ErrStale) {
			t.Errorf("Settle with outcome %d of the old owner: %v, want ErrStale", o, err)
		}
	}
	closeSource(t, zombie)
	want(t, take(t, owner, 1), "3")
	if n := d.client.XPending(t.Context(), topic, "group").Val().Count; n != 3 {
		t.Errorf("%d entries are pending, want the 3 of the owner", n)
	}
}

// TestZombieInABlockingRead is fenced while it waits for the next message.
func TestZombieInABlockingRead(t *testing.T) {
	t.Parallel()
	d, topic := shared(t), unique(t)
	zombie := subscribe(t, d, ordered(topic))
	stale := make(chan error, 1)
	ctx, cancel := context.WithCancel(patience(t))
	defer cancel()
	go func() {
		_, err := zombie.Receive(ctx, 1)
		stale <- err
	}()
	s, _ := zombie.(*source)
	awaits(t, "the old owner waits", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.readers[0].blocked
	})
	owner := subscribe(t, d, ordered(topic))
	publish(t, d, topic, "1")
	want(t, take(t, owner, 1), "1")
	if err := <-stale; !errors.Is(err, driver.ErrStale) {
		t.Errorf("Receive of the old owner: %v, want ErrStale", err)
	}
}

// TestOrderedAfterUnordered takes over what consumers of other names had, and what
// was given back with a delay.
func TestOrderedAfterUnordered(t *testing.T) {
	t.Parallel()
	d, topic := shared(t), unique(t)
	publish(t, d, topic, "1", "2", "3", "4")
	before := subscribe(t, d, sub(topic))
	held := take(t, before, 3)
	s := settlements(driver.Nack, held[0])
	s[0].Delay = time.Hour
	if err := before.Settle(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	want(t, take(t, subscribe(t, d, ordered(topic)), 4), "1", "2", "3", "4")
}

// TestOrderedDelayHoldsTheShard keeps the order of a shard through a delay.
func TestOrderedDelayHoldsTheShard(t *testing.T) {
	t.Parallel()
	d, topic := shared(t), unique(t)
	publish(t, d, topic, "1", "2", "3")
	src := subscribe(t, d, ordered(topic))
	held := take(t, src, 2)
	s := settlements(driver.Nack, held[0])
	s[0].Delay = 500 * time.Millisecond
	start := time.Now()
	if err := src.Settle(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	want(t, take(t, src, 2), "1", "3")
	if took := time.Since(start); took < 400*time.Millisecond {
		t.Errorf("it came after %v, want not before its delay", took)
	}
}
