package kafkadriver

import (
	"errors"
	"testing"

	"github.com/anywire/anywire/transport/driver"
)

// A topic that is deleted under a group ends its source, whether something of it is
// to be settled or not; whoever subscribes again reads the topic that is made then.
func TestDeletedTopicEndsItsSource(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{protocolConsumer, protocolClassic} {
		for name, settling := range map[string]bool{"settling": true, "idle": false} {
			t.Run(protocol+"/"+name, func(t *testing.T) {
				t.Parallel()
				deletedTopic(t, protocol, settling)
			})
		}
	}
}

func deletedTopic(t *testing.T, protocol string, settling bool) {
	t.Helper()
	cluster := fake(t)
	d, _ := open(t, cluster.ListenAddrs(), func(o *Options) { o.Protocol = protocol })
	topic, group := topicOf(t, d, 1), unique(t)
	publish(t, d, topic, keyed(10, 10)...)
	r := subscribe(t, d, ordered(topic, group))
	held := r.take(10)
	r.ack(held[:5]...)
	if err := cluster.DeleteTopic(topic); err != nil {
		t.Fatal(err)
	}
	if settling {
		await(t, "a settlement says that the topic is gone", func() bool {
			err := r.settle(driver.Ack, held[5:]...)
			return errors.Is(err, driver.ErrClosed) || errors.Is(err, driver.ErrStale)
		})
	} else {
		_ = r.settle(driver.HandBack, held[5:]...)
	}
	await(t, "Receive says that the topic is gone", func() bool {
		_, err := r.Receive(patience(t), 10)
		return errors.Is(err, driver.ErrClosed)
	})
	r.close()
	again, _ := open(t, cluster.ListenAddrs(), nil)
	publish(t, again, topic, keyed(10, 10)...)
	next := subscribe(t, d, ordered(topic, group))
	wantTexts(t, next.take(10), numbersOf(0, 10))
}
