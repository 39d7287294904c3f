package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/kafkadriver"
)

const kafkaMessages = 81_920 // a multiple of every number of publishers

func kafkaRows() []row {
	return []row{
		{
			name: "kafka", shape: "batches of 256", unit: "msg/s", goal: "≥ 0.7", peer: "raw franz-go",
			pair: both(through(openKafka, kafkaMessages, 1, 256), onKafka(rawKafka(kafkaMessages, 1, 256))),
		},
		{
			name: "kafka", shape: "512 single publishers", unit: "msg/s", goal: "≥ 0.5", peer: "raw franz-go",
			pair: both(through(openKafka, kafkaMessages, 512, 1), onKafka(rawKafka(kafkaMessages, 512, 1))),
		},
		{
			name: "kafka, against its Watermill adapter", shape: "8 single publishers", unit: "msg/s", goal: "≥ 20",
			peer: "watermill-kafka", pair: both(through(openKafka, kafkaMessages, 8, 1), adapterKafka(kafkaMessages/16, 8)),
		},
		latencyRow("kafka", openKafka, rawKafkaPublisher, 50, "≤ 1.05"),
		latencyRow("kafka", openKafka, rawKafkaPublisher, 99, "≤ 1.15"),
		cpuRow("kafka", openKafka, kafkaMessages, onKafka(rawKafka(kafkaMessages, 1, 256))),
	}
}

func openKafka(ctx context.Context) (driver.Driver, error) {
	brokers, err := running.url(ctx, "kafka")
	if err != nil {
		return nil, err
	}
	return kafkadriver.Open(ctx, kafkadriver.Options{Brokers: strings.Split(brokers, ",")})
}

// onKafka measures on a topic of one partition.
func onKafka(measure func(ctx context.Context, topic string, more func(...kgo.Opt) (*kgo.Client, error)) (float64, error)) measurement {
	return func(ctx context.Context) (float64, error) {
		brokers, err := running.url(ctx, "kafka")
		if err != nil {
			return 0, err
		}
		topic := fresh()
		client := func(opts ...kgo.Opt) (*kgo.Client, error) {
			return kgo.NewClient(append(opts, kgo.SeedBrokers(strings.Split(brokers, ",")...), kgo.ProducerLinger(0))...)
		}
		admin, err := client()
		if err != nil {
			return 0, err
		}
		defer admin.Close()
		if _, err := kadm.NewClient(admin).CreateTopic(ctx, 1, 1, nil, topic); err != nil {
			return 0, err
		}
		return measure(ctx, topic, client)
	}
}

// rawKafka does what a careful user of the client does: an idempotent producer,
// and a group that commits what it has handled.
func rawKafka(n, publishers, batch int) func(context.Context, string, func(...kgo.Opt) (*kgo.Client, error)) (float64, error) {
	return func(ctx context.Context, topic string, client func(...kgo.Opt) (*kgo.Client, error)) (float64, error) {
		producer, err := client(kgo.DefaultProduceTopic(topic))
		if err != nil {
			return 0, err
		}
		defer producer.Close()
		consumer, err := client(kgo.ConsumeTopics(topic), kgo.ConsumerGroup(topic), kgo.DisableAutoCommit(),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		if err != nil {
			return 0, err
		}
		handled, warm := newCounter(n+1), newCounter(1)
		consuming, stop := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() {
			ended <- rawKafkaConsume(consuming, consumer, func() {
				warm.add()
				handled.add()
			})
		}()
		defer consumer.Close()
		err = rawKafkaPublish(ctx, producer, 1, 1)
		if err == nil {
			err = warm.wait(ctx)
		}
		began := time.Now()
		if err == nil {
			err = inParallel(publishers, func() error { return rawKafkaPublish(ctx, producer, n/publishers, batch) })
		}
		if err == nil {
			err = handled.wait(ctx)
		}
		took := time.Since(began)
		stop()
		return float64(n) / took.Seconds(), errors.Join(err, <-ended)
	}
}

func rawKafkaConsume(ctx context.Context, c *kgo.Client, handled func()) error {
	for ctx.Err() == nil {
		found := c.PollRecords(ctx, window)
		err := found.Err()
		if err == nil {
			err = c.CommitRecords(ctx, found.Records()...)
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
		for range found.NumRecords() {
			handled()
		}
	}
	return nil
}

func rawKafkaPublish(ctx context.Context, c *kgo.Client, n, batch int) error {
	for n > 0 {
		records := make([]*kgo.Record, min(n, batch))
		n -= len(records)
		for i := range records {
			records[i] = rawRecord()
		}
		if err := c.ProduceSync(ctx, records...).FirstErr(); err != nil {
			return err
		}
	}
	return nil
}

func rawRecord() *kgo.Record {
	r := &kgo.Record{Value: body, Headers: make([]kgo.RecordHeader, 0, 11)}
	for _, h := range attributes() {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Name, Value: []byte(h.Value)})
	}
	return r
}

func rawKafkaPublisher(ctx context.Context) (publish func() error, done func(), err error) {
	_, err = onKafka(func(_ context.Context, topic string, client func(...kgo.Opt) (*kgo.Client, error)) (float64, error) {
		producer, err := client(kgo.DefaultProduceTopic(topic))
		if err != nil {
			return 0, err
		}
		publish = func() error { return producer.ProduceSync(ctx, rawRecord()).FirstErr() }
		done = producer.Close
		return 0, nil
	})(ctx)
	return publish, done, err
}

// adapterKafka is watermill-kafka with its defaults, reading from the oldest
// message.
func adapterKafka(n, publishers int) measurement {
	return onKafka(func(ctx context.Context, topic string, _ func(...kgo.Opt) (*kgo.Client, error)) (rate float64, err error) {
		url, err := running.url(ctx, "kafka")
		if err != nil {
			return 0, err
		}
		brokers := strings.Split(url, ",")
		publisher, err := kafka.NewPublisher(kafka.PublisherConfig{Brokers: brokers, Marshaler: kafka.DefaultMarshaler{}}, nil)
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, publisher.Close()) }()
		oldest := kafka.DefaultSaramaSubscriberConfig()
		oldest.Consumer.Offsets.Initial = sarama.OffsetOldest
		subscriber, err := kafka.NewSubscriber(kafka.SubscriberConfig{
			Brokers: brokers, Unmarshaler: kafka.DefaultMarshaler{}, ConsumerGroup: topic, OverwriteSaramaConfig: oldest,
		}, watermill.NopLogger{})
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, subscriber.Close()) }()
		return adapter(ctx, publisher, subscriber, topic, n, publishers)
	})
}
