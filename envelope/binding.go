package envelope

import (
	"maps"
	"slices"
	"strings"
)

// Binding describes how one kind of broker carries attributes as headers, and
// maps envelopes both ways. It is immutable and may be used by many goroutines;
// make one and keep it.
type Binding struct {
	prefix string
	// names are the headers of the attributes.
	names [attributes]string
	// mode is the header whose value may say that the body is a whole event.
	mode string
	// plainType: the content type has a header of the broker's own, whose value
	// is never percent-encoded.
	plainType bool
	// percent: values are percent-encoded, and names have no case.
	percent bool
}

// NewBinding describes a broker: the header of attribute x is prefix+x. The
// content type stands in its own header where the broker has one
// (contentTypeHeader), else (empty) among the others. Where percent is set,
// values are percent-encoded as CloudEvents' HTTP binding says, and header names
// have no case; otherwise values are UTF-8 as it is, and names exact.
func NewBinding(prefix, contentTypeHeader string, percent bool) *Binding {
	b := &Binding{prefix: prefix, mode: "content-type", percent: percent}
	for a := range attributes {
		b.names[a] = prefix + a.String()
	}
	if contentTypeHeader != "" && contentTypeHeader != b.names[attrContentType] {
		b.names[attrContentType] = contentTypeHeader
		b.mode = contentTypeHeader
		b.plainType = true
	}
	return b
}

// NATS is the binding for NATS: "ce-id", also "ce-datacontenttype", values
// percent-encoded.
func NATS() *Binding { return NewBinding("ce-", "", true) }

// HTTP is the binding for HTTP: "ce-id", but "Content-Type", values
// percent-encoded.
func HTTP() *Binding { return NewBinding("ce-", "Content-Type", true) }

// Kafka is the binding for Kafka: "ce_id", but "content-type", values as they
// are. The record's key repeats the attribute partitionkey.
func Kafka() *Binding { return NewBinding("ce_", "content-type", false) }

// Encode appends e's attributes to dst as headers: specversion first, those with
// a field in a fixed order, then extensions by name. Absent attributes have no
// header. The body is e.Data as it is. Encode checks nothing: [Envelope.Validate]
// says beforehand whether a receiver could read the result.
func (b *Binding) Encode(dst []Header, e *Envelope) []Header {
	dst = slices.Grow(dst, int(attributes)+len(e.Extensions))
	for a := range attributes {
		value := e.value(a)
		if value == "" {
			continue
		}
		if b.percent && (a != attrContentType || !b.plainType) {
			value = percentEncode(value)
		}
		dst = append(dst, Header{Name: b.names[a], Value: value})
	}
	if len(e.Extensions) == 0 {
		return dst
	}
	return b.encodeExtensions(dst, e.Extensions)
}

func (b *Binding) encodeExtensions(dst []Header, extensions map[string]string) []Header {
	for _, name := range slices.Sorted(maps.Keys(extensions)) {
		value := extensions[name]
		if b.percent {
			value = percentEncode(value)
		}
		dst = append(dst, Header{Name: b.prefix + name, Value: value})
	}
	return dst
}

// Decode replaces into by what headers and body say; Data is body itself, nil
// and empty kept distinct. Headers without the prefix are not attributes and are
// ignored; attributes that have no field become extensions; a message without
// schemaversion, as other CloudEvents senders make it, has version 1. Where the
// content type says application/cloudevents+json, the body is read as by
// [UnmarshalStructured] and attributes among the headers are ignored.
//
// Errors have code [Invalid] and name the header: a missing id, source, type or
// specversion, a specversion other than 1.0, malformed values, control characters
// outside of reserved attributes, an attribute given twice, a name that is none.
// What into then holds is undefined. What Decode accepts, [Envelope.Validate]
// accepts too, so that everything received can be sent on.
func (b *Binding) Decode(headers []Header, body []byte, into *Envelope) error {
	if contentType := b.structured(headers); contentType != "" {
		return decodeStructured(contentType, body, into)
	}
	*into = Envelope{Data: body}
	r := reader{e: into}
	for i := range headers {
		if err := b.decodeHeader(&r, &headers[i]); err != nil {
			return err
		}
	}
	if a := r.missing(); a != noAttribute {
		return invalid("header %s is missing", b.names[a])
	}
	return nil
}

// structured is the content type, if it says that the body is a whole event.
func (b *Binding) structured(headers []Header) string {
	for i := range headers {
		h := &headers[i]
		if len(h.Name) == len(b.mode) && b.same(h.Name, b.mode) && isCloudEvent(h.Value) {
			return h.Value
		}
	}
	return ""
}

// decodeHeader reads one header.
func (b *Binding) decodeHeader(r *reader, h *Header) error {
	n := len(b.prefix)
	var reason string
	switch {
	case b.plainType && len(h.Name) == len(b.mode) && b.same(h.Name, b.mode):
		reason = r.set(attrContentType, h.Value)
	case len(h.Name) <= n || !b.same(h.Name[:n], b.prefix):
		return nil
	default:
		reason = b.set(r, h.Name[n:], h.Value)
	}
	if reason != "" {
		return invalid("header %s: value %s %s", h.Name, quote(h.Value), reason)
	}
	return nil
}

// set takes an attribute whose name and value are as the header had them.
func (b *Binding) set(r *reader, name, value string) (reason string) {
	if b.percent {
		if value, reason = percentDecode(value); reason != "" {
			return reason
		}
	}
	a := attributeOf(name)
	if a == noAttribute && b.percent {
		name = strings.ToLower(name)
		a = attributeOf(name)
	}
	if a == noAttribute {
		return r.extend(name, value)
	}
	return r.set(a, value)
}

// same compares header names as the broker does.
func (b *Binding) same(x, y string) bool {
	return x == y || b.percent && strings.EqualFold(x, y)
}
