package watermillredis

import (
	"encoding/json"

	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/ThreeDotsLabs/watermill/message"
)

// codec writes messages as docs/wire.md says, one field for each attribute and
// the body in "data", so that clients without Watermill read them; and it never
// fails to read, because the adapter ends a subscription at the first entry that
// cannot be read. What is in an entry comes up as it is.
type codec struct{}

var _ redisstream.MarshallerUnmarshaller = codec{}

const (
	bodyField   = "data"
	packedField = "ce" // all attributes as one JSON object
	prefix      = "ce_"
	contentType = "content-type"
)

// Marshal gives the fields of a message. Metadata that would be taken for the
// body stays out; no attribute is called so.
func (codec) Marshal(_ string, m *message.Message) (map[string]any, error) {
	fields := make(map[string]any, len(m.Metadata)+1)
	for name, value := range m.Metadata {
		if name != bodyField && name != packedField {
			fields[name] = value
		}
	}
	if m.Payload != nil || len(fields) == 0 {
		fields[bodyField] = []byte(m.Payload) // an entry has one field at least
	}
	return fields, nil
}

// Unmarshal reads the fields of an entry.
func (codec) Unmarshal(values map[string]any) (*message.Message, error) {
	m := message.NewMessage("", nil)
	for name, value := range values {
		text, _ := value.(string)
		switch {
		case name == bodyField:
			m.Payload = []byte(text)
		case name == packedField && unpack(text, m.Metadata):
		default:
			m.Metadata[name] = text
		}
	}
	m.UUID = m.Metadata[prefix+"id"]
	return m, nil
}

// unpack reads the packed form of attributes.
func unpack(text string, into message.Metadata) bool {
	var attributes map[string]string
	if json.Unmarshal([]byte(text), &attributes) != nil {
		return false
	}
	for name, value := range attributes {
		if name == "datacontenttype" {
			into[contentType] = value
		} else {
			into[prefix+name] = value
		}
	}
	return true
}
