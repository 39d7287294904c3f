package kafkadriver_test

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/kafkadriver"
)

// A program that has a client already gives it to the driver, which takes over its
// options, and closes it itself.
func ExampleNew() {
	ctx := context.Background()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1)) // stands for brokers
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cluster.Close()
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	d := kafkadriver.New(client, nil)
	topic, err := d.EnsureTopic(ctx, driver.Topic{Name: "tasks.research", Shards: 2})
	fmt.Println(topic.Name, topic.Shards, err)
	err = d.Publish(ctx, topic.Name, []*driver.Message{{Key: "k", Body: []byte("first")}, {Key: "k", Body: []byte("second")}})
	fmt.Println(err)
	err = d.Browse(ctx, topic.Name, driver.Start{}, false, func(m *driver.Message) bool {
		fmt.Println(m.Position, m.Key, string(m.Body))
		return true
	})
	fmt.Println(err, d.Close(ctx))

	// Output:
	// tasks.research 2 <nil>
	// <nil>
	// 0/0 k first
	// 0/1 k second
	// <nil> <nil>
}
