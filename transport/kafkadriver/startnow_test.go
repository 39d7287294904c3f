package kafkadriver

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/anywire/anywire/transport/driver"
)

// TestStartIsForNewGroupsOnly gives a topic more partitions while a group that
// began with what is new is away: what those hold is all new to it.
func TestStartIsForNewGroupsOnly(t *testing.T) {
	t.Parallel()
	d := shared(t)
	topic := topicOf(t, d, 1)
	s := driver.Subscription{
		Topic: topic, Group: unique(t), Window: 10, Lease: time.Minute, Start: driver.Start{At: driver.StartNow},
	}
	src, err := d.Subscribe(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if err := src.Close(patience(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := d.adm.CreatePartitions(t.Context(), 1, topic); err != nil {
		t.Fatal(err)
	}
	client, err := kgo.NewClient(append(d.clientOptions(), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.ProduceSync(patience(t), &kgo.Record{Topic: topic, Partition: 1, Value: []byte("1")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	restarted := shared(t)
	again, err := restarted.Subscribe(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = again.Close(patience(t)) }()
	msgs, err := again.Receive(patience(t), 10)
	if err != nil || len(msgs) != 1 || string(msgs[0].Body) != "1" {
		t.Errorf("received %v, error %v; want what the new partition got while the group was away", textsOf(msgs), err)
	}
}
