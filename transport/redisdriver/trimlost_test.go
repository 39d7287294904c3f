package redisdriver

import (
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/anywire/anywire/transport/driver"
)

// TestTrimWaitsForADeletedGroup has somebody delete a group while its members are
// away: others trim meanwhile, and it must find what it had not settled.
func TestTrimWaitsForADeletedGroup(t *testing.T) {
	t.Parallel()
	d, topic := shared(t), unique(t)
	aged(t, d, topic, agedEntries)
	s := sub(topic)
	s.Group = "other"
	other := subscribe(t, d, s)
	settle(t, other, driver.Ack, take(t, other, agedEntries+1)...)
	src := subscribe(t, d, sub(topic))
	settle(t, src, driver.Ack, take(t, src, 500)...)
	beat(t, src)
	closeSource(t, src)
	if err := d.client.XGroupDestroy(t.Context(), topic, "group").Err(); err != nil {
		t.Fatal(err)
	}
	meta := topicMeta{retentionAge: time.Hour}
	if n := trimmedTo(t, d, other, meta); n < agedEntries+1-500 {
		t.Fatalf("%d entries are left, want the %d that the deleted group had not settled", n, agedEntries+1-500)
	}
	src = subscribe(t, d, sub(topic))
	if m := take(t, src, 1); string(m[0].Body) != "500" {
		t.Errorf("the group goes on with %s, want 500", m[0].Body)
	}
	closeSource(t, src)
	if err := d.client.XGroupDestroy(t.Context(), topic, "group").Err(); err != nil {
		t.Fatal(err)
	}
	ago := time.Now().Add(-2 * DefaultGroupExpiry).UnixMilli()
	record := strconv.FormatInt(ago, 10) + " 0-0 0 0"
	if err := d.client.HSet(t.Context(), companion(topic, "groups"), "group", record).Err(); err != nil {
		t.Fatal(err)
	}
	if n := trimmedTo(t, d, other, meta); n > node+1 {
		t.Errorf("%d entries are left, want nearly none: nobody has seen the deleted group for so long", n)
	}
}

// TestEntriesTrimmedUnreadAreCounted has a stranger trim what the group has not read,
// while members are there and while they are away: each entry counts once.
func TestEntriesTrimmedUnreadAreCounted(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]driver.Subscription{"unordered": sub(unique(t)), "ordered": ordered(unique(t))} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := shared(t)
			vanished := func(src driver.Source) uint64 {
				beat(t, src)
				return src.(driver.LossTeller).Vanished()
			}
			trimTo := func(n int64) {
				t.Helper()
				if err := d.client.XTrimMaxLen(t.Context(), s.Topic, n).Err(); err != nil {
					t.Fatal(err)
				}
			}
			publish(t, d, s.Topic, "1", "2", "3", "4")
			src := subscribe(t, d, s)
			settle(t, src, driver.Ack, take(t, src, 4)...)
			closeSource(t, src)
			trimTo(2) // nothing that was not settled
			publish(t, d, s.Topic, "5", "6", "7", "8", "9")
			trimTo(2)
			src = subscribe(t, d, s)
			if n := vanished(src); n != 3 {
				t.Fatalf("%d messages are counted, want the three that were trimmed while nobody was there", n)
			}
			alarmed(t, src, "3 entries of stream")
			want(t, settled(t, src, 2), "8", "9")
			other := subscribe(t, d, sub(s.Topic)) // of the same group
			trimTo(0)
			if n := vanished(src) + other.(driver.LossTeller).Vanished(); n != 3 {
				t.Errorf("%d messages are counted, want no more than the three", n)
			}
			closeSource(t, other)
			publish(t, d, s.Topic, "10")
			want(t, settled(t, src, 1), "10")
			if n := vanished(src); n != 3 {
				t.Errorf("%d messages are counted, want no more than the three", n)
			}
		})
	}
}

// settled takes n messages and acknowledges them.
func settled(tb testing.TB, src driver.Source, n int) []*driver.Message {
	tb.Helper()
	if n == 0 {
		return nil
	}
	held := take(tb, src, n)
	settle(tb, src, driver.Ack, held...)
	return held
}

// TestMissedEntriesAreNeverCountedTwice reads, trims and deletes in any order: what
// is trimmed is counted exactly, and what is deleted one by one never too often, as
// the server does not always tell of it.
func TestMissedEntriesAreNeverCountedTwice(t *testing.T) {
	t.Parallel()
	d := shared(t)
	for seed := range uint64(24) {
		m := &missing{TB: t, d: d, topic: unique(t), deletes: seed%2 == 1, unread: map[string]bool{}}
		m.src = subscribe(t, d, sub(m.topic))
		random := rand.New(rand.NewPCG(seed, 0))
		for range 40 {
			m.step(random.IntN)
			if random.IntN(3) == 0 {
				beat(t, m.src)
			}
			m.check(seed, false)
		}
		settled(t, m.src, len(m.unread))
		beat(t, m.src)
		m.check(seed, !m.deletes)
		closeSource(t, m.src)
	}
}

// missing knows which entries a group never read.
type missing struct {
	testing.TB

	d       *Driver
	src     driver.Source
	topic   string
	deletes bool
	unread  map[string]bool
	lost    uint64
}

func (m *missing) step(random func(n int) int) {
	m.Helper()
	switch random(5) {
	case 0, 1:
		for range 1 + random(5) {
			m.unread[m.d.client.XAdd(m.Context(), &redis.XAddArgs{Stream: m.topic, Values: []string{"data", "x"}}).Val()] = true
		}
	case 2:
		for _, msg := range settled(m, m.src, random(len(m.unread)+1)) {
			delete(m.unread, msg.Position)
		}
	case 3:
		m.d.client.XTrimMaxLen(m.Context(), m.topic, int64(random(8)))
	case 4:
		for id := range m.unread {
			if m.deletes {
				m.d.client.XDel(m.Context(), m.topic, id)
			}
			break
		}
	}
	left := map[string]bool{}
	for _, e := range m.d.client.XRange(m.Context(), m.topic, "-", "+").Val() {
		left[e.ID] = true
	}
	for id := range m.unread {
		if !left[id] {
			delete(m.unread, id)
			m.lost++
		}
	}
}

func (m *missing) check(seed uint64, exactly bool) {
	m.Helper()
	if n := m.src.(driver.LossTeller).Vanished(); n > m.lost || exactly && n != m.lost {
		m.Errorf("seed %d: %d messages are counted, and %d were lost", seed, n, m.lost)
	}
}
