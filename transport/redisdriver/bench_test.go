package redisdriver

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/transport/driver"
)

// BenchmarkPublish compares the driver with go-redis, for messages of 256 bytes
// and 11 attributes: batches of 256, without and with keys that come again, and
// single messages of 256 publishers.
func BenchmarkPublish(b *testing.B) {
	const together = 256
	server := brokertest.SharedRedis(b)
	messages := func(key func(i int) string) []*driver.Message {
		msgs := make([]*driver.Message, together)
		for i := range msgs {
			msgs[i] = benchMessage(key(i))
		}
		return msgs
	}
	plain := messages(func(int) string { return "" })
	ordered := messages(func(i int) string { return fmt.Sprint(i % 16) })
	b.Run("batches/go-redis", func(b *testing.B) { benchClient(b, direct(b, server), plain) })
	for name, msgs := range map[string][]*driver.Message{"plain": plain, "ordered": ordered} {
		for _, attributes := range []string{attributesFields, attributesPacked} {
			b.Run("batches/"+name+"-"+attributes, func(b *testing.B) {
				d, _ := open(b, server.URL, func(o *Options) { o.Attributes = attributes })
				topic := unique(b)
				defer d.client.Del(b.Context(), topic)
				b.ReportAllocs()
				for b.Loop() {
					if err := d.Publish(b.Context(), topic, msgs); err != nil {
						b.Fatal(err)
					}
				}
				perMessage(b, together)
			})
		}
	}
	b.Run("singles", func(b *testing.B) {
		d, _ := open(b, server.URL, nil)
		topic := unique(b)
		defer d.client.Del(b.Context(), topic)
		b.ReportAllocs()
		var group sync.WaitGroup
		for range together {
			group.Go(func() {
				for range max(b.N/together, 1) {
					if err := d.Publish(b.Context(), topic, plain[:1]); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		group.Wait()
	})
}

// perMessage reports what one of n messages of an operation costs.
func perMessage(b *testing.B, n int) {
	b.Helper()
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/msg")
}

func benchMessage(key string) *driver.Message {
	m := &driver.Message{Key: key, Body: []byte(strings.Repeat("x", 256))}
	for i := range 11 {
		m.Headers = append(m.Headers, driver.Header{Name: fmt.Sprintf("ce_attribute%d", i), Value: "0198f0a2-1111-7abc-8def-000000000000"})
	}
	return m
}

func benchClient(b *testing.B, client *redis.Client, msgs []*driver.Message) {
	b.Helper()
	stream := unique(b)
	defer client.Del(b.Context(), stream)
	b.ReportAllocs()
	for b.Loop() {
		pipe := client.Pipeline()
		for _, m := range msgs {
			values := make([]any, 0, 2*len(m.Headers)+2)
			for _, h := range m.Headers {
				values = append(values, h.Name, h.Value)
			}
			pipe.XAdd(b.Context(), &redis.XAddArgs{Stream: stream, Values: append(values, bodyField, m.Body)})
		}
		if _, err := pipe.Exec(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	perMessage(b, len(msgs))
}
