package kafkadriver

import (
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/anywire/anywire/transport/driver"
)

const (
	attributePrefix   = "ce_"
	contentTypeHeader = "content-type"

	attemptHeader   = attributePrefix + "attempt"
	deliverAtHeader = attributePrefix + "deliverat"
	deliverToHeader = attributePrefix + "deliverto"

	// recordOverhead is the most that a record's own fields take, without its
	// headers; batchOverhead what a batch adds.
	recordOverhead = 32
	batchOverhead  = 128
)

// toMessage is what a record says; Token and Revoked are the source's.
func toMessage(r *kgo.Record) *driver.Message {
	m := &driver.Message{
		Key: string(r.Key), Body: r.Value, Shard: int(r.Partition), Seq: uint64(r.Offset) + 1,
		Position: position(r), Published: r.Timestamp,
	}
	if len(r.Headers) > 0 {
		m.Headers = headersOf(r.Headers)
	}
	return m
}

// headersOf copies the values into one string, of which each header has a part.
func headersOf(headers []kgo.RecordHeader) []driver.Header {
	size := 0
	for i := range headers {
		size += len(headers[i].Value)
	}
	var all strings.Builder
	all.Grow(size)
	for i := range headers {
		all.Write(headers[i].Value)
	}
	list, rest := make([]driver.Header, len(headers)), all.String()
	for i := range headers {
		n := len(headers[i].Value)
		list[i].Name, list[i].Value = headers[i].Key, rest[:n]
		rest = rest[n:]
	}
	return list
}

// position is "partition/offset".
func position(r *kgo.Record) string {
	var b [32]byte
	text := strconv.AppendInt(b[:0], int64(r.Partition), 10)
	return string(strconv.AppendInt(append(text, '/'), r.Offset, 10))
}

// writer fills records. What the messages of one call say shares two arrays, so
// that a record costs no allocation of its own.
type writer struct {
	headers []kgo.RecordHeader
	text    []byte
}

// newWriter has room for msgs.
func newWriter(msgs ...*driver.Message) writer {
	headers, bytes := 0, 0
	for _, m := range msgs {
		headers += len(m.Headers)
		bytes += len(m.Key)
		for i := range m.Headers {
			bytes += len(m.Headers[i].Value)
		}
	}
	return writer{headers: make([]kgo.RecordHeader, 0, headers), text: make([]byte, 0, bytes)}
}

// bytes copies a text.
func (w *writer) bytes(s string) []byte {
	from := len(w.text)
	w.text = append(w.text, s...)
	return w.text[from:len(w.text):len(w.text)]
}

func (w *writer) header(name, value string) {
	w.headers = append(w.headers, kgo.RecordHeader{Key: name, Value: w.bytes(value)})
}

// fill writes m into r. A body of nil is a null value, an empty one is empty.
func (w *writer) fill(r *kgo.Record, topic string, m *driver.Message) {
	from := len(w.headers)
	for i := range m.Headers {
		w.header(m.Headers[i].Name, m.Headers[i].Value)
	}
	r.Topic, r.Value = topic, m.Body
	r.Headers = w.headers[from:len(w.headers):len(w.headers)]
	if m.Key != "" {
		r.Key = w.bytes(m.Key)
	}
}

// bodySize is what max_body bounds: headers and body.
func bodySize(m *driver.Message) int {
	n := len(m.Body)
	for i := range m.Headers {
		n += len(m.Headers[i].Name) + len(m.Headers[i].Value)
	}
	return n
}

// batchSize is the most that a batch of this record alone takes, before it is
// compressed.
func batchSize(headers, fieldBytes int) int {
	const perHeader = 2 * 5 // two lengths, as variable integers
	return batchOverhead + recordOverhead + headers*perHeader + fieldBytes
}
