package kafkadriver

import (
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/transport/driver"
)

// BenchmarkPublish compares Publish with the client itself, which has the same
// headers and body, by publishers at once and messages per call.
func BenchmarkPublish(b *testing.B) {
	names := make([]string, 11)
	for i := range names {
		names[i] = "ce_attribute" + strconv.Itoa(i)
	}
	for _, shape := range []struct {
		name                string
		publishers, perCall int
		linger              time.Duration
	}{
		{"one", 1, 1, 0},
		{"batches", 1, 256, 0},
		{"singles", 512, 1, 0},
		{"singles linger=1ms", 512, 1, time.Millisecond},
		{"singles linger=2ms", 512, 1, 2 * time.Millisecond},
	} {
		b.Run(shape.name+"/ours", func(b *testing.B) {
			d, _ := open(b, brokertest.SharedKafka(b).Addrs, func(o *Options) { o.Linger = valueOf(shape.linger) })
			topic := topicOf(b, d, 1)
			m := &driver.Message{Body: make([]byte, 256)}
			for _, name := range names {
				m.Headers = append(m.Headers, driver.Header{Name: name, Value: "value of an attribute"})
			}
			msgs := make([]*driver.Message, shape.perCall)
			for i := range msgs {
				msgs[i] = m
			}
			inParallel(b, shape.publishers, shape.perCall, func() error { return d.Publish(b.Context(), topic, msgs) })
		})
		b.Run(shape.name+"/raw", func(b *testing.B) {
			d := shared(b)
			client, err := kgo.NewClient(append(d.clientOptions(), kgo.ProducerLinger(shape.linger), kgo.DefaultProduceTopic(topicOf(b, d, 1)))...)
			if err != nil {
				b.Fatal(err)
			}
			defer client.Close()
			inParallel(b, shape.publishers, shape.perCall, func() error {
				records := make([]*kgo.Record, shape.perCall)
				for i := range records {
					r := &kgo.Record{Value: make([]byte, 256), Headers: make([]kgo.RecordHeader, 0, 11)}
					for _, name := range names {
						r.Headers = append(r.Headers, kgo.RecordHeader{Key: name, Value: []byte("value of an attribute")})
					}
					records[i] = r
				}
				return client.ProduceSync(b.Context(), records...).FirstErr()
			})
		})
	}
}

// inParallel shares b.N messages among publishers.
func inParallel(b *testing.B, publishers, perCall int, publish func() error) {
	b.Helper()
	if err := publish(); err != nil {
		b.Fatal(err)
	}
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for range publishers {
		wg.Go(func() {
			for left.Add(-int64(perCall)) > -int64(perCall) {
				if err := publish(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}
