package idempotency

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/anywire/anywire/envelope"
)

// The format of recorded outputs: a version byte, then for each output its
// topic, the time of its delivery (seconds since 1970 and nanoseconds, those of
// the zero time: at once), its attributes as headers, and its payload. Numbers are varints; text and bytes
// follow their length; a payload's length is one more than it is, and 0 where
// there is none, since no payload and an empty one differ on the wire.
const outputsVersion = 1

// binding writes attributes as they are: values are not escaped.
var binding = envelope.NewBinding("", "", false) //nolint:gochecknoglobals // immutable

// MarshalOutputs writes outputs as a store keeps them. UnmarshalOutputs reads
// them back: the same ids, attributes and bytes.
func MarshalOutputs(outputs []*envelope.Envelope) []byte {
	size := 16
	for _, e := range outputs {
		size += 512 + len(e.Data)
	}
	doc := append(make([]byte, 0, size), outputsVersion)
	doc = binary.AppendUvarint(doc, uint64(len(outputs)))
	var headers []envelope.Header
	for _, e := range outputs {
		doc = appendText(doc, e.Topic)
		doc = binary.AppendVarint(doc, e.DeliverAt.Unix())
		doc = binary.AppendUvarint(doc, uint64(e.DeliverAt.Nanosecond()))
		headers = binding.Encode(headers[:0], e)
		doc = binary.AppendUvarint(doc, uint64(len(headers)))
		for _, h := range headers {
			doc = appendText(appendText(doc, h.Name), h.Value)
		}
		if e.Data == nil {
			doc = binary.AppendUvarint(doc, 0)
			continue
		}
		doc = binary.AppendUvarint(doc, uint64(len(e.Data))+1)
		doc = append(doc, e.Data...)
	}
	return doc
}

// UnmarshalOutputs reads what MarshalOutputs wrote. Payloads are parts of doc,
// which must not change any more. Its error wraps [ErrUnreadable].
func UnmarshalOutputs(doc []byte) ([]*envelope.Envelope, error) {
	r := unreader{rest: doc}
	if version := r.byte(); r.err == nil && version != outputsVersion {
		return nil, fmt.Errorf("outputs of version %d, this program knows %d: %w", version, outputsVersion, ErrUnreadable)
	}
	count := r.number()
	if r.err == nil && count > uint64(len(r.rest)) {
		r.err = errShort
	}
	var outputs []*envelope.Envelope
	for i := uint64(0); r.err == nil && i < count; i++ {
		outputs = append(outputs, r.output())
	}
	if r.err == nil && len(r.rest) > 0 {
		r.err = errors.New("bytes behind the last output")
	}
	if r.err != nil {
		return nil, fmt.Errorf("recorded outputs: %w: %w", r.err, ErrUnreadable)
	}
	return outputs, nil
}

func appendText(doc []byte, text string) []byte {
	doc = binary.AppendUvarint(doc, uint64(len(text)))
	return append(doc, text...)
}

var errShort = errors.New("it ends too early")

// unreader reads the fields of a document until one is wrong; then it answers
// zero values.
type unreader struct {
	rest []byte
	err  error
}

func (r *unreader) output() *envelope.Envelope {
	topic := string(r.bytes(r.number()))
	at := r.time()
	count := r.number()
	var headers []envelope.Header
	for i := uint64(0); r.err == nil && i < count; i++ {
		headers = append(headers, envelope.Header{Name: string(r.bytes(r.number())), Value: string(r.bytes(r.number()))})
	}
	var data []byte
	if n := r.number(); n > 0 {
		data = r.bytes(n - 1)
	}
	if r.err != nil {
		return nil
	}
	e := &envelope.Envelope{}
	if r.err = binding.Decode(headers, data, e); r.err != nil {
		return nil
	}
	e.Topic, e.DeliverAt = topic, at
	return e
}

func (r *unreader) time() time.Time {
	seconds, nanos := r.signed(), r.number()
	if r.err == nil && nanos >= uint64(time.Second) {
		r.err = fmt.Errorf("a second has no %d nanoseconds", nanos)
	}
	if r.err != nil {
		return time.Time{}
	}
	return time.Unix(seconds, int64(nanos)).UTC()
}

func (r *unreader) byte() byte {
	if b := r.bytes(1); len(b) == 1 {
		return b[0]
	}
	return 0
}

func (r *unreader) bytes(n uint64) []byte {
	if r.err == nil && n > uint64(len(r.rest)) {
		r.err = errShort
	}
	if r.err != nil {
		return nil
	}
	part := r.rest[:n:n]
	r.rest = r.rest[n:]
	return part
}

func (r *unreader) number() uint64 {
	n, size := binary.Uvarint(r.rest)
	return took(r, n, size)
}

func (r *unreader) signed() int64 {
	n, size := binary.Varint(r.rest)
	return took(r, n, size)
}

func took[N uint64 | int64](r *unreader, n N, size int) N {
	if r.err == nil && size <= 0 {
		r.err = errShort
	}
	if r.err != nil {
		return 0
	}
	r.rest = r.rest[size:]
	return n
}
