package integration

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// hands are those of an operator, with the broker's own tools.
type hands interface {
	deleteTopic(ctx context.Context, topic string) error
	deleteGroup(ctx context.Context, topic, group string) error
	// trim deletes all that a topic holds.
	trim(ctx context.Context, topic string) error
	// jam has a topic refuse every message until clear.
	jam(ctx context.Context, topic string) error
	clear(ctx context.Context, topic string) error
}

// hands connects an operator to the server at url.
func (b *broker) hands(t *testing.T, url string) hands {
	t.Helper()
	switch b.server() {
	case "nats":
		nc, err := nats.Connect(url)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		return natsHands{js}
	case "redis":
		o, err := redis.ParseURL(url)
		if err != nil {
			t.Fatal(err)
		}
		client := redis.NewClient(o)
		t.Cleanup(func() { _ = client.Close() })
		return redisHands{client}
	default:
		client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(url, ",")...))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
		return kafkaHands{kadm.NewClient(client)}
	}
}

type natsHands struct{ js jetstream.JetStream }

var _ hands = natsHands{}

func (h natsHands) stream(ctx context.Context, topic string) (jetstream.Stream, error) {
	name, err := h.js.StreamNameBySubject(ctx, topic)
	if err != nil {
		return nil, err
	}
	return h.js.Stream(ctx, name)
}

func (h natsHands) deleteTopic(ctx context.Context, topic string) error {
	name, err := h.js.StreamNameBySubject(ctx, topic)
	if err != nil {
		return err
	}
	return h.js.DeleteStream(ctx, name)
}

// deleteGroup deletes all consumers: tests have one group on a topic.
func (h natsHands) deleteGroup(ctx context.Context, topic, _ string) error {
	stream, err := h.stream(ctx, topic)
	if err != nil {
		return err
	}
	names := stream.ConsumerNames(ctx)
	for name := range names.Name() {
		if err := stream.DeleteConsumer(ctx, name); err != nil {
			return err
		}
	}
	return names.Err()
}

func (h natsHands) trim(ctx context.Context, topic string) error {
	stream, err := h.stream(ctx, topic)
	if err != nil {
		return err
	}
	return stream.Purge(ctx)
}

func (h natsHands) jam(ctx context.Context, topic string) error   { return h.most(ctx, topic, 1) }
func (h natsHands) clear(ctx context.Context, topic string) error { return h.most(ctx, topic, -1) }

func (h natsHands) most(ctx context.Context, topic string, size int32) error {
	stream, err := h.stream(ctx, topic)
	if err != nil {
		return err
	}
	c := stream.CachedInfo().Config
	c.MaxMsgSize = size
	_, err = h.js.UpdateStream(ctx, c)
	return err
}

type redisHands struct{ client *redis.Client }

var _ hands = redisHands{}

func (h redisHands) deleteTopic(ctx context.Context, topic string) error {
	return h.client.Del(ctx, topic).Err()
}

func (h redisHands) deleteGroup(ctx context.Context, topic, group string) error {
	n, err := h.client.XGroupDestroy(ctx, topic, group).Result()
	if err == nil && n != 1 {
		err = fmt.Errorf("no group %s on %s", group, topic)
	}
	return err
}

func (h redisHands) trim(ctx context.Context, topic string) error {
	return h.client.XTrimMaxLen(ctx, topic, 0).Err()
}

// jam puts something else in the stream's place.
func (h redisHands) jam(ctx context.Context, topic string) error {
	_, err := h.client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Rename(ctx, topic, topic+".aside")
		p.Set(ctx, topic, "no stream", 0)
		return nil
	})
	return err
}

func (h redisHands) clear(ctx context.Context, topic string) error {
	return h.client.Rename(ctx, topic+".aside", topic).Err()
}

type kafkaHands struct{ admin *kadm.Client }

var _ hands = kafkaHands{}

func (h kafkaHands) deleteTopic(ctx context.Context, topic string) error {
	_, err := h.admin.DeleteTopic(ctx, topic)
	return err
}

// deleteGroup is refused while the group has members.
func (h kafkaHands) deleteGroup(ctx context.Context, _, group string) error {
	_, err := h.admin.DeleteGroup(ctx, group)
	return err
}

func (h kafkaHands) trim(ctx context.Context, topic string) error {
	ends, err := h.admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return err
	}
	answers, err := h.admin.DeleteRecords(ctx, ends.Offsets())
	if err != nil {
		return err
	}
	return answers.Error()
}

func (h kafkaHands) jam(ctx context.Context, topic string) error {
	return h.alter(ctx, topic, kadm.AlterConfig{Op: kadm.SetConfig, Name: "max.message.bytes", Value: new("1")})
}

func (h kafkaHands) clear(ctx context.Context, topic string) error {
	return h.alter(ctx, topic, kadm.AlterConfig{Op: kadm.DeleteConfig, Name: "max.message.bytes"})
}

func (h kafkaHands) alter(ctx context.Context, topic string, c kadm.AlterConfig) error {
	answers, err := h.admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{c}, topic)
	if err != nil {
		return err
	}
	for _, a := range answers {
		err = errors.Join(err, a.Err)
	}
	return err
}
