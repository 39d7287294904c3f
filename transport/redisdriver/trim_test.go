package redisdriver

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/anywire/anywire/transport/driver"
)

// aged writes entries that are a day old, and one of now.
func aged(tb testing.TB, d *Driver, topic string, n int) {
	tb.Helper()
	pipe := d.client.Pipeline()
	day := time.Now().Add(-24 * time.Hour).UnixMilli()
	for i := range n {
		pipe.XAdd(tb.Context(), &redis.XAddArgs{
			Stream: topic, ID: strconv.FormatInt(day, 10) + "-" + strconv.Itoa(i), Values: []string{"data", strconv.Itoa(i)},
		})
	}
	pipe.XAdd(tb.Context(), &redis.XAddArgs{Stream: topic, Values: []string{"data", "new"}})
	if _, err := pipe.Exec(tb.Context()); err != nil {
		tb.Fatal(err)
	}
}

// trimmedTo trims once and says how much is left.
func trimmedTo(tb testing.TB, d *Driver, src driver.Source, meta topicMeta) int64 {
	tb.Helper()
	s, _ := src.(*source)
	if err := d.trimStream(tb.Context(), s.streams[0], meta); err != nil {
		tb.Fatal(err)
	}
	n, err := d.client.XLen(tb.Context(), s.streams[0].name).Result()
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

const (
	agedEntries = 1500
	node        = 100 // entries that the server keeps together, and drops together
)

func TestTrimDropsWhatIsOldAndSettled(t *testing.T) {
	t.Parallel()
	d, topic := shared(t), unique(t)
	aged(t, d, topic, agedEntries)
	src := subscribe(t, d, sub(topic))
	if n := trimmedTo(t, d, src, topicMeta{retentionAge: time.Hour}); n != agedEntries+1 {
		t.Fatalf("%d entries are left, want all: the group has settled none", n)
	}
	held := take(t, src, agedEntries+1)
	settle(t, src, driver.Ack, held[:1000]...)
	if n := trimmedTo(t, d, src, topicMeta{retentionAge: 48 * time.Hour}); n != agedEntries+1 {
		t.Errorf("%d entries are left, want all: they are not old enough", n)
	}
	n := trimmedTo(t, d, src, topicMeta{retentionAge: time.Hour})
	if n < agedEntries+1-1000 || n > agedEntries+1-1000+node {
		t.Errorf("%d entries are left, want the %d from the first unsettled on", n, agedEntries+1-1000)
	}
	settle(t, src, driver.Ack, held[1000:]...)
	if n := trimmedTo(t, d, src, topicMeta{retentionAge: time.Hour}); n < 1 || n > node+1 {
		t.Errorf("%d entries are left, want the new one, and those kept beside it", n)
	}
}

func TestTrimBySize(t *testing.T) {
	t.Parallel()
	d, topic := shared(t), unique(t)
	aged(t, d, topic, agedEntries)
	src := subscribe(t, d, sub(topic))
	settle(t, src, driver.Ack, take(t, src, agedEntries+1)...)
	if n := trimmedTo(t, d, src, topicMeta{retentionAge: -1, retentionBytes: 1 << 30}); n != agedEntries+1 {
		t.Errorf("%d entries are left, want all: the topic is small", n)
	}
	if n := trimmedTo(t, d, src, topicMeta{retentionAge: -1, retentionBytes: 1}); n > node+1 {
		t.Errorf("%d entries are left, want nearly none", n)
	}
}

// TestTrimWaitsForEveryLiveGroup also lets a group expire.
func TestTrimWaitsForEveryLiveGroup(t *testing.T) {
	t.Parallel()
	d, topic := shared(t), unique(t)
	aged(t, d, topic, agedEntries)
	src := subscribe(t, d, sub(topic))
	settle(t, src, driver.Ack, take(t, src, agedEntries+1)...)
	if err := d.client.XGroupCreate(t.Context(), topic, "foreign", "0").Err(); err != nil {
		t.Fatal(err)
	}
	meta := topicMeta{retentionAge: time.Hour}
	if n := trimmedTo(t, d, src, meta); n != agedEntries+1 {
		t.Fatalf("%d entries are left, want all: a group has not read them", n)
	}
	ago := time.Now().Add(-2 * DefaultGroupExpiry).UnixMilli()
	record := strconv.FormatInt(ago, 10) + " 0-0 0 0"
	if err := d.client.HSet(t.Context(), companion(topic, "groups"), "foreign", record).Err(); err != nil {
		t.Fatal(err)
	}
	s, _ := src.(*source)
	_, expired, err := d.trimStep(t.Context(), s.streams[0], meta)
	if err != nil || !slices.Equal(expired, []string{"foreign"}) {
		t.Errorf("expired groups are %v, error %v; want the foreign one", expired, err)
	}
	if n := trimmedTo(t, d, src, meta); n > node+1 {
		t.Errorf("%d entries are left, want nearly none: nobody has seen the group for so long", n)
	}
}
