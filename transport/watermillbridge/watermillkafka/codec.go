package watermillkafka

import (
	"sync/atomic"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/anywire/anywire/transport/driver"
)

// codec writes messages as docs/wire.md says, one header for each attribute, and
// the key as the record's; and it never fails to read, because the adapter stops a
// partition at the first record that cannot be read. What is in a record comes up
// as it is.
type codec struct{}

var _ kafka.MarshalerUnmarshaler = codec{}

const (
	prefix      = "ce_"
	contentType = "content-type"
	keyHeader   = prefix + "partitionkey"
)

// Marshal makes a record. Nil and empty payloads stay distinct.
func (codec) Marshal(topic string, m *message.Message) (*sarama.ProducerMessage, error) {
	record := &sarama.ProducerMessage{Topic: topic, Headers: make([]sarama.RecordHeader, 0, len(m.Metadata))}
	for name, value := range m.Metadata {
		record.Headers = append(record.Headers, sarama.RecordHeader{Key: []byte(name), Value: []byte(value)})
	}
	if key := m.Metadata[keyHeader]; key != "" {
		record.Key = sarama.StringEncoder(key)
	}
	if m.Payload != nil {
		record.Value = sarama.ByteEncoder(m.Payload)
	}
	return record, nil
}

// Unmarshal reads a record.
func (codec) Unmarshal(record *sarama.ConsumerMessage) (*message.Message, error) {
	m := message.NewMessage("", record.Value)
	for _, h := range record.Headers {
		if h != nil {
			m.Metadata[string(h.Key)] = string(h.Value)
		}
	}
	m.UUID = m.Metadata[prefix+"id"]
	return m, nil
}

// partitioner places keys as the Java client does, which sarama's own does not,
// and messages without a key on one partition after the other.
type partitioner struct{ next atomic.Uint32 }

var _ sarama.DynamicConsistencyPartitioner = (*partitioner)(nil)

func newPartitioner(string) sarama.Partitioner { return &partitioner{} }

// Partition is that of a record among n.
func (p *partitioner) Partition(record *sarama.ProducerMessage, n int32) (int32, error) {
	if record.Key == nil {
		return int32(p.next.Add(1) % uint32(n)), nil
	}
	key, err := record.Key.Encode()
	return int32(driver.ShardOf(string(key), int(n))), err
}

// RequiresConsistency is for records of which nothing is known.
func (*partitioner) RequiresConsistency() bool { return true }

// MessageRequiresConsistency: a key never moves to another partition because its
// own is away for a moment.
func (*partitioner) MessageRequiresConsistency(record *sarama.ProducerMessage) bool {
	return record.Key != nil
}
