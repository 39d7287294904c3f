package watermillbridge

import (
	"fmt"
	"maps"
	"slices"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/anywire/anywire/envelope"
)

// DefaultType is the wire type of plain messages, unless the options name
// another.
const DefaultType = "watermill.message@1"

// converter maps messages of one topic, both ways. It is the mapping of plain
// topics (envelope.Plain), with a Watermill message in the place of a broker's.
type converter struct {
	plain   *envelope.Plain
	binding *envelope.Binding
	source  string
	name    string
	version int
}

func newConverter(topic, wireType string) (*converter, error) {
	if wireType == "" {
		wireType = DefaultType
	}
	name, version, err := envelope.ParseType(wireType)
	if err != nil {
		return nil, err
	}
	binding := envelope.Kafka()
	plain, err := envelope.NewPlain(binding, topic, wireType, false)
	if err != nil {
		return nil, err
	}
	return &converter{plain: plain, binding: binding, source: "/topics/" + topic, name: name, version: version}, nil
}

// fromMessage makes the envelope of a message: the event that its metadata
// describes, else a plain one. A message without UUID gets an id.
func (c *converter) fromMessage(w *message.Message) (*envelope.Envelope, error) {
	uuid := w.UUID
	if uuid == "" {
		uuid = envelope.NewID()
	}
	headers := make([]envelope.Header, 0, len(w.Metadata)+1)
	headers = append(headers, envelope.Header{Name: envelope.MetadataUUID, Value: uuid})
	for _, name := range slices.Sorted(maps.Keys(w.Metadata)) {
		if name != envelope.MetadataUUID {
			headers = append(headers, envelope.Header{Name: name, Value: w.Metadata[name]})
		}
	}
	e := &envelope.Envelope{}
	if err := c.plain.Decode(headers, w.Payload, "", e); err != nil {
		return nil, fmt.Errorf("message %q: %w", uuid, err)
	}
	return e, nil
}

// toMessage is the way back. A plain message is as it was published; any other
// has its attributes as metadata too, named as on Kafka ("ce_type").
func (c *converter) toMessage(e *envelope.Envelope) *message.Message {
	w := message.NewMessage(e.ID, e.Data)
	if c.isPlain(e) {
		w.Metadata = e.Metadata()
		return w
	}
	headers, _ := c.plain.Encode(nil, e)
	for _, h := range headers {
		if h.Name != envelope.MetadataUUID {
			w.Metadata[h.Name] = h.Value
		}
	}
	return w
}

func (c *converter) isPlain(e *envelope.Envelope) bool {
	return e.Type == c.name && e.SchemaVersion == c.version && e.Source == c.source
}

// rawMessage is what cannot be read, as it came: its handler has to judge it.
func rawMessage(headers []envelope.Header, body []byte) *message.Message {
	w := message.NewMessage(envelope.NewID(), body)
	for _, h := range headers {
		if h.Name == envelope.MetadataUUID {
			w.UUID = h.Value
			continue
		}
		w.Metadata[h.Name] = h.Value
	}
	return w
}
