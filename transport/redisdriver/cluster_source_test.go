package redisdriver

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/transport/driver"
)

// TestClusterConsuming reads shards that live on different nodes: no command and
// no script may cross slots.
func TestClusterConsuming(t *testing.T) {
	t.Parallel()
	const shards, n = 6, 60
	var addresses []string
	for _, node := range brokertest.RedisCluster(t) {
		addresses = append(addresses, node.Addrs[0])
	}
	url := "redis://" + strings.Join(addresses, ",") + "/0"
	onCluster := func(o *Options) { o.Cluster = true }
	d, _ := open(t, url, onCluster)
	dead, line := open(t, url, onCluster)
	topic := unique(t)
	if _, err := d.EnsureTopic(t.Context(), driver.Topic{Name: topic, Shards: shards}); err != nil {
		t.Fatal(err)
	}
	var msgs []*driver.Message
	for i := range n {
		text := strconv.Itoa(i)
		msgs = append(msgs, &driver.Message{Key: text, Body: []byte(text)})
	}
	if err := d.Publish(t.Context(), topic, msgs); err != nil {
		t.Fatal(err)
	}
	s := leased(topic)
	s.Window = n
	take(t, subscribe(t, dead, s), n/2)
	line.cut(true)
	drain(t, subscribe(t, d, s), n)

	s = sub(topic)
	s.Group, s.Window = "mixed", n
	src := subscribe(t, d, s)
	mixed := settlements(driver.Ack, take(t, src, n)...)
	for i := range n / 3 {
		mixed[3*i].Outcome, mixed[3*i+1].Outcome = driver.HandBack, driver.Nack
		mixed[3*i+1].Delay = 100 * time.Millisecond
	}
	if err := src.Settle(t.Context(), mixed); err != nil {
		t.Fatal(err)
	}
	settle(t, src, driver.Ack, take(t, src, 2*n/3)...)
	wantOwnedOnCluster(t, d, topic, shards)
}

func wantOwnedOnCluster(tb testing.TB, d *Driver, topic string, shards int) {
	tb.Helper()
	for shard := range shards {
		if _, err := d.Acquire(tb.Context(), topic, strconv.Itoa(shard), "me", time.Minute); err != nil {
			tb.Fatal(err)
		}
		s := ordered(topic)
		s.Group, s.Shards = "ordered", []int{shard}
		if m := take(tb, subscribe(tb, d, s), 1)[0]; m.Shard != shard {
			tb.Errorf("message of shard %d from the reader of shard %d", m.Shard, shard)
		}
	}
}
