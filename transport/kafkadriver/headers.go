package kafkadriver

import (
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/anywire/anywire/transport/driver"
)

const (
	attributePrefix   = "ce_"
	contentTypeHeader = "content-type"

	attemptHeader   = attributePrefix + "attempt"
	deliverAtHeader = attributePrefix + "deliverat"
	deliverToHeader = attributePrefix + "deliverto"
)

// toMessage is what a record says; Token and Revoked are the source's.
func toMessage(r *kgo.Record) *driver.Message {
	m := &driver.Message{
		Key: string(r.Key), Body: r.Value, Shard: int(r.Partition), Seq: uint64(r.Offset) + 1,
		Position:  strconv.Itoa(int(r.Partition)) + "/" + strconv.FormatInt(r.Offset, 10),
		Published: r.Timestamp,
	}
	if len(r.Headers) > 0 {
		m.Headers = make([]driver.Header, len(r.Headers))
		for i, h := range r.Headers {
			m.Headers[i] = driver.Header{Name: h.Key, Value: string(h.Value)}
		}
	}
	return m
}
