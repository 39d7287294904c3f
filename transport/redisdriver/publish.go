package redisdriver

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/anywire/anywire/transport/driver"
)

// Publish stores msgs and waits for the server to confirm each.
func (d *Driver) Publish(ctx context.Context, topic string, msgs []*driver.Message) error {
	for _, m := range msgs {
		values := []any{}
		for _, h := range m.Headers {
			values = append(values, h.Name, h.Value)
		}
		values = append(values, keyField, m.Key, bodyField, m.Body)
		if err := d.client.XAdd(ctx, &redis.XAddArgs{Stream: topic, Values: values}).Err(); err != nil {
			return err
		}
	}
	return nil
}
