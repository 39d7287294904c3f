package redisdriver

import (
	"strings"
	"testing"
	"time"

	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/transport/driver"
)

func openAs(tb testing.TB, consumer string) (*Driver, *mortal) {
	tb.Helper()
	return open(tb, brokertest.SharedRedis(tb).URL, func(o *Options) { o.Consumer = consumer })
}

// TestStableConsumerComesBack: what a process held when it died, its successor of
// the same name has at once, before what is new, however long the lease.
func TestStableConsumerComesBack(t *testing.T) {
	t.Parallel()
	for _, shards := range []int{1, 3} {
		topic := ensureTopic(t, shared(t), driver.Topic{Name: unique(t), Shards: shards}).Name
		dead, line := openAs(t, "worker-0")
		publish(t, dead, topic, "1", "2", "3", "4")
		src := subscribe(t, dead, sub(topic))
		settle(t, src, driver.Ack, take(t, src, 4)[0])
		line.cut(true)
		d, _ := openAs(t, "worker-0")
		publish(t, d, topic, "5")
		other, _ := openAs(t, "worker-1")
		bystander := subscribe(t, other, sub(topic))
		src = subscribe(t, d, sub(topic))
		again := take(t, src, 3)
		want(t, again, "2", "3", "4")
		for _, m := range again {
			if m.Deliveries != 2 {
				t.Errorf("message %s: delivery %d, want the second", m.Body, m.Deliveries)
			}
		}
		settle(t, src, driver.Ack, again...)
		want(t, settled(t, bystander, 1), "5")
		if n, err := d.client.XPending(t.Context(), streamOf(topic, driver.ShardOf("key", shards), shards), "group").Result(); err != nil || n.Count != 0 {
			t.Errorf("%d entries are pending, error %v; want none", n.Count, err)
		}
	}
}

// TestStableConsumerIsOne: within a process a second one is refused, another process
// is told of.
func TestStableConsumerIsOne(t *testing.T) {
	t.Parallel()
	topic := unique(t)
	d, _ := openAs(t, "worker-0")
	src := subscribe(t, d, leased(topic)).(*source)
	_, err := d.Subscribe(t.Context(), leased(topic))
	wantError(t, err, `consumer "worker-0" reads it already in this process`, topic)
	subscribe(t, d, leased(topic+".other"))
	closeSource(t, src)
	src = subscribe(t, d, leased(topic)).(*source)
	<-time.After(2 * shortLease / 3) // for two beats
	if err := src.Trouble(); err != nil {
		t.Errorf("nobody else is there: %v", err)
	}
	double, line := openAs(t, "worker-0")
	twin := subscribe(t, double, leased(topic)).(*source)
	for _, s := range []*source{src, twin} {
		awaits(t, "each tells of the other", func() bool {
			err := s.Trouble()
			return err != nil && strings.Contains(err.Error(), "handled twice")
		})
	}
	line.cut(true)
	awaits(t, "the other one is gone", func() bool { return src.Trouble() == nil })
	if err := (Options{Consumer: "a{b}"}).Validate(); err == nil {
		t.Error("a name that cannot be part of a key is taken")
	}
}
