package kafkadriver

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/anywire/anywire/transport/driver"
)

// TestStuckIsToldWhileOthersFlow names a partition that stands still although
// another one has something all the time.
func TestStuckIsToldWhileOthersFlow(t *testing.T) {
	t.Parallel()
	d := shared(t)
	topic := topicOf(t, d, 2)
	const many = 3000
	var rs []*kgo.Record
	for i := range many {
		rs = append(rs, &kgo.Record{Topic: topic, Partition: 1, Value: []byte(strconv.Itoa(i))})
		if i < 300 {
			rs = append(rs, &kgo.Record{Topic: topic, Partition: 0, Value: []byte(strconv.Itoa(i))})
		}
	}
	c, err := kgo.NewClient(append(d.clientOptions(), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.ProduceSync(t.Context(), rs...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	src, err := d.Subscribe(t.Context(), driver.Subscription{Topic: topic, Group: unique(t), Window: 8, Lease: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close(patience(t))
	ctx := patience(t)
	got := [2]int{}
	for got[1] < many {
		if err := src.(driver.Teller).Trouble(); err != nil {
			if !strings.Contains(err.Error(), "offset 0 is not settled") {
				t.Errorf("trouble: %v", err)
			}
			return
		}
		msgs, err := src.Receive(ctx, 4)
		if err != nil {
			t.Fatalf("after %v: %v", got, err)
		}
		var s []driver.Settlement
		for _, m := range msgs {
			got[m.Shard]++
			if m.Shard == 0 && string(m.Body) == "0" {
				continue
			}
			s = append(s, driver.Settlement{Token: m.Token})
		}
		if err := src.Settle(ctx, s); err != nil {
			t.Fatal(err)
		}
	}
	t.Errorf("no word of the partition that stands still, after %v", got)
}
