package watermillbridge

import (
	"maps"
	"slices"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/transport/driver"
)

// toMessage writes m as a Watermill message: headers are metadata, and its id is
// the UUID. A key without an attribute of its own gets one, since Watermill has
// no other place for it.
func (d *Driver) toMessage(m *driver.Message) *message.Message {
	metadata := make(message.Metadata, len(m.Headers)+1)
	for _, h := range m.Headers {
		metadata[h.Name] = h.Value
	}
	key := d.o.Headers.Prefix + attrKey
	if _, told := metadata[key]; m.Key != "" && !told {
		metadata[key] = m.Key
	}
	uuid, told := metadata[envelope.MetadataUUID]
	if !told {
		uuid = metadata[d.o.Headers.Prefix+attrID]
	}
	if uuid == "" {
		uuid = envelope.NewID()
	}
	if !d.o.Verbatim {
		delete(metadata, envelope.MetadataUUID)
	}
	w := message.NewMessage(uuid, m.Body)
	w.Metadata = metadata
	return w
}

const (
	attrID  = "id"
	attrKey = "partitionkey"
)

// toDriver is the way back. Metadata is sorted by name, so that the same message
// always has the same headers.
func (d *Driver) toDriver(w *message.Message) *driver.Message {
	headers := make([]driver.Header, 0, len(w.Metadata)+1)
	_, told := w.Metadata[envelope.MetadataUUID]
	if w.UUID != "" && !told && !d.o.Verbatim {
		headers = append(headers, driver.Header{Name: envelope.MetadataUUID, Value: w.UUID})
	}
	for _, name := range slices.Sorted(maps.Keys(w.Metadata)) {
		headers = append(headers, driver.Header{Name: name, Value: w.Metadata[name]})
	}
	return &driver.Message{
		Key:     w.Metadata[d.o.Headers.Prefix+attrKey],
		Headers: headers,
		Body:    w.Payload,
	}
}

// size is what Options.MaxBody counts.
func size(m *driver.Message) int {
	n := len(m.Key) + len(m.Body)
	for _, h := range m.Headers {
		n += len(h.Name) + len(h.Value)
	}
	return n
}
