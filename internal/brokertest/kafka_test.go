package brokertest

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

func TestKafkaKeepsDataOverKill(t *testing.T) {
	t.Parallel()
	server := Kafka(t)
	client := kafkaClient(t, server, kgo.ConsumeTopics("kept"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if _, err := kadm.NewClient(client).CreateTopic(t.Context(), 1, 1, nil, "kept"); err != nil {
		t.Fatal(err)
	}
	record := &kgo.Record{Topic: "kept", Value: []byte("kept")}
	if err := client.ProduceSync(t.Context(), record).FirstErr(); err != nil {
		t.Fatal(err)
	}

	server.Kill(t)
	server.Start(t)

	fetches := client.PollRecords(t.Context(), 1)
	if err := fetches.Err0(); err != nil {
		t.Fatal(err)
	}
	if records := fetches.Records(); len(records) != 1 || string(records[0].Value) != "kept" {
		t.Fatalf("got %v after the restart, want the record", records)
	}
}

func TestSharedKafkaServesGroups(t *testing.T) {
	t.Parallel()
	server := SharedKafka(t)
	if server.Version != kafkaVersion {
		t.Errorf("version is %q, want %q", server.Version, kafkaVersion)
	}
	if SharedKafka(t) != server {
		t.Error("two shared servers")
	}
	client := kafkaClient(t, server, kgo.ConsumerGroup("g"), kgo.ConsumeTopics("groups"), kgo.ServerSideBalancer())
	if _, err := kadm.NewClient(client).CreateTopic(t.Context(), 1, 1, nil, "groups"); err != nil {
		t.Fatal(err)
	}
	if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "groups"}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if fetches := client.PollRecords(t.Context(), 1); fetches.NumRecords() != 1 || fetches.Err() != nil {
		t.Fatalf("got %d records, %v as a group, want 1", fetches.NumRecords(), fetches.Err())
	}
}

func kafkaClient(t *testing.T, server *Server, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(append(opts, kgo.SeedBrokers(server.Addrs...))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}
