package envelope

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// Plain maps the messages of a topic that clients without CloudEvents use as
// well, both ways: what they write is taken for one type, and what is written for
// them has, beside the attributes, what Watermill's adapter for that kind of
// broker expects. It is immutable and may be used by many goroutines.
type Plain struct {
	binding      *Binding
	fields       bool
	topic        string
	source, name string
	version      int
}

// The fields of Watermill's adapter for Redis Streams, beside [MetadataUUID].
const (
	fieldMetadata = "metadata" // a map in MessagePack
	fieldPayload  = "payload"
)

// NewPlain describes a topic whose plain messages are of a wire type,
// "name@version", and come from "/topics/" and the topic. The binding is the
// broker's. Where fields is set, a message of that broker is fields by name and
// nothing else, as in a Redis stream: the body stands in the field "data", else
// in "payload", and every other field is a header. Errors have code [Invalid].
func NewPlain(b *Binding, topic, wireType string, fields bool) (*Plain, error) {
	name, version, err := ParseType(wireType)
	if err != nil {
		return nil, err
	}
	if reason := checkText(topic); topic == "" || reason != "" {
		return nil, invalid("topic %s of plain messages is empty, or %s", quote(topic), reason)
	}
	return &Plain{binding: b, fields: fields, topic: topic, source: "/topics/" + topic, name: name, version: version}, nil
}

// Encode appends e's headers to dst: its attributes as by [Binding.Encode], and
// what a plain client reads: its ID as [MetadataUUID] and its [Envelope.Metadata],
// one header each, or in the fields of Watermill's adapter for Redis Streams. Then
// body is nil, since one of those fields holds it; otherwise it is e.Data.
//
// What a header of the broker cannot carry as it is, and names of attributes,
// stay out of the metadata's headers; the attributes have them.
func (p *Plain) Encode(dst []Header, e *Envelope) (headers []Header, body []byte) {
	dst = p.binding.Encode(dst, e)
	metadata := e.Metadata()
	if p.fields {
		dst = append(dst, Header{MetadataUUID, e.ID}, Header{fieldMetadata, string(packMap(metadata))})
		if e.Data != nil {
			dst = append(dst, Header{fieldPayload, string(e.Data)})
		}
		return dst, nil
	}
	if p.binding.fits(MetadataUUID, e.ID) {
		dst = append(dst, Header{MetadataUUID, e.ID})
	}
	for _, name := range slices.Sorted(maps.Keys(metadata)) {
		if value := metadata[name]; name != MetadataUUID && !p.binding.owns(name) && p.binding.fits(name, value) {
			dst = append(dst, Header{name, value})
		}
	}
	return dst, e.Data
}

// Decode replaces into by what headers and body say. A CloudEvent is read as by
// [Binding.Decode]. Everything else is plain: its ID is its [MetadataUUID], or the
// topic and the position, which must then be the same for every delivery; the
// other headers are metadata ([Envelope.SetMetadata]); Data is body. Where a
// message is fields and has no body, Data is all of them as one JSON object.
//
// A client that copies all headers of a message to one of its own makes what
// looks like the same event twice: where UUID and the attribute id are both there
// and differ, the message is plain.
//
// Errors have code [Invalid]: as by [Binding.Decode], a plain message with neither
// UUID nor position, a UUID that is no text, metadata that cannot be read.
func (p *Plain) Decode(headers []Header, body []byte, position string, into *Envelope) error {
	if body == nil && p.fields {
		headers, body = takePayload(headers)
	}
	if p.isEvent(headers) {
		return p.binding.Decode(headers, body, into)
	}
	*into = Envelope{Source: p.source, Type: p.name, SchemaVersion: p.version, Data: body}
	uuid, metadata, err := p.metadata(headers, into)
	if err != nil {
		return err
	}
	if p.fields && body == nil {
		return p.finish(into, uuid, position, setFields(into, metadata))
	}
	into.SetMetadata(metadata)
	return p.finish(into, uuid, position, nil)
}

// takePayload takes the body out of the field in which Watermill's adapter has it,
// where the driver did not.
func takePayload(headers []Header) (rest []Header, body []byte) {
	i := slices.IndexFunc(headers, func(h Header) bool { return h.Name == fieldPayload })
	if i < 0 {
		return headers, nil
	}
	return slices.Concat(headers[:i], headers[i+1:]), []byte(headers[i].Value)
}

// Identify is the headers that a copy of a received message needs to be the same
// message at another position: nil, unless its ID is the position's.
func (p *Plain) Identify(headers []Header, e *Envelope) []Header {
	identified := func(h Header) bool { return h.Name == MetadataUUID && h.Value != "" }
	if p.isEvent(headers) || slices.ContainsFunc(headers, identified) {
		return nil
	}
	return []Header{{MetadataUUID, e.ID}}
}

// finish gives the message its identity.
func (p *Plain) finish(into *Envelope, uuid, position string, err error) error {
	into.ID = uuid
	switch {
	case err != nil:
		return err
	case uuid != "":
		if reason := checkText(uuid); reason != "" {
			return invalid("header %s: value %s %s", MetadataUUID, quote(uuid), reason)
		}
	case position == "":
		return invalid("message is plain, without a header %s, and the broker does not say where it stands: nothing identifies it", MetadataUUID)
	default:
		into.ID = p.topic + "/" + position
		if reason := checkText(position); reason != "" {
			return invalid("position %s %s", quote(position), reason)
		}
	}
	return nil
}

// setFields makes all fields the payload.
func setFields(into *Envelope, fields map[string]string) error {
	texts := make(map[string]string, len(fields))
	for name, value := range fields {
		texts[asText(name)] = asText(value)
	}
	data, err := json.Marshal(texts)
	if err != nil {
		return &Error{Code: Invalid, Message: "fields as JSON", Err: err}
	}
	into.ContentType, into.Data = contentTypeJSON, data
	return nil
}

// isEvent reports whether the message is a CloudEvent of its own.
func (p *Plain) isEvent(headers []Header) bool {
	if p.binding.structured(headers) != "" {
		return true
	}
	event, uuid, id := false, "", ""
	for i := range headers {
		h := &headers[i]
		switch {
		case h.Name == MetadataUUID:
			uuid = h.Value
		case p.binding.same(h.Name, p.binding.names[attrSpecVersion]):
			event = true
		case p.binding.same(h.Name, p.binding.names[attrID]):
			id = h.Value
		}
	}
	if event && uuid != "" && p.binding.percent {
		if decoded, reason := percentDecode(id); reason == "" {
			id = decoded
		}
	}
	return event && (uuid == "" || id == "" || uuid == id)
}

// metadata sorts the headers of a plain message. What a delayed copy carries for
// itself goes into the envelope; of headers with one name the last one counts, as
// for Watermill.
func (p *Plain) metadata(headers []Header, into *Envelope) (uuid string, metadata map[string]string, err error) {
	metadata = make(map[string]string, len(headers))
	for i := range headers {
		h := &headers[i]
		switch name, isAttribute := p.binding.attribute(h.Name); {
		case h.Name == MetadataUUID:
			uuid = h.Value
		case isAttribute && (name == AttrAttempt || name == AttrDeliverAt || name == AttrDeliverTo):
			r := reader{e: into}
			if reason := p.binding.set(&r, name, h.Value); reason != "" {
				return "", nil, invalid("header %s: value %s %s", h.Name, quote(h.Value), reason)
			}
		default:
			metadata[p.binding.plainName(h.Name)] = h.Value
		}
	}
	packed, ok := metadata[fieldMetadata]
	if !p.fields || !ok || uuid == "" {
		return uuid, metadata, nil
	}
	delete(metadata, fieldMetadata)
	unpacked, reason := unpackMap(packed)
	if reason != "" {
		return "", nil, invalid("field %s: value %s %s", fieldMetadata, quote(packed), reason)
	}
	maps.Copy(metadata, unpacked)
	return uuid, metadata, nil
}

// attribute is the name of the attribute that a header stands for.
func (b *Binding) attribute(header string) (name string, ok bool) {
	n := len(b.prefix)
	if n == 0 || len(header) <= n || !b.same(header[:n], b.prefix) {
		return "", false
	}
	if name = header[n:]; b.percent {
		name = strings.ToLower(name)
	}
	return name, true
}

// owns reports whether a header of that name is read as an attribute.
func (b *Binding) owns(header string) bool {
	_, isAttribute := b.attribute(header)
	return isAttribute || b.same(header, b.mode)
}

// plainName is a header's name as metadata: that of the content type has one
// spelling.
func (b *Binding) plainName(header string) string {
	if b.same(header, b.mode) {
		return "content-type"
	}
	return header
}

// fits reports whether a header may have this name and value as they are. Where
// values are percent-encoded, plain ones must do without what would need it, and
// the server's own names are not for others.
func (b *Binding) fits(name, value string) bool {
	if !b.percent {
		return name != ""
	}
	const servers = "nats-"
	if name == "" || !isHeaderSafe(name) || strings.Contains(name, ":") ||
		len(name) >= len(servers) && strings.EqualFold(name[:len(servers)], servers) {
		return false
	}
	return checkText(value) == "" && strings.TrimSpace(value) == value
}
