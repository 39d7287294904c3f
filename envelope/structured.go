package envelope

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// ContentTypeStructured is the content type of a whole event as one JSON
// document.
const ContentTypeStructured = "application/cloudevents+json"

// MarshalStructured writes e as one JSON document, in CloudEvents' JSON format:
// attributes as strings in the order of [Binding.Encode], then the payload. A
// payload that is JSON stands in "data" byte for byte; everything else, and JSON
// with space around it, which a reader would lose, in "data_base64". An envelope
// that is not valid is refused with code [Invalid].
func MarshalStructured(e *Envelope) ([]byte, error) {
	if err := e.Validate(); err != nil {
		return nil, err
	}
	out := make([]byte, 0, 512+len(e.Data))
	for a := range attributes {
		if value := e.value(a); value != "" {
			out = appendMember(out, a.String(), value)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(e.Extensions)) {
		out = appendMember(out, name, e.Extensions[name])
	}
	switch {
	case e.Data == nil:
	case isJSON(e.ContentType) && isBareJSON(e.Data):
		out = append(out, `,"data":`...)
		out = append(out, e.Data...)
	default:
		out = append(out, `,"data_base64":"`...)
		out = base64.StdEncoding.AppendEncode(out, e.Data)
		out = append(out, '"')
	}
	return append(out, '}'), nil
}

// appendMember appends a member whose value is a string.
func appendMember(out []byte, name, value string) []byte {
	separator := byte(',')
	if len(out) == 0 {
		separator = '{'
	}
	out = append(out, separator, '"')
	out = append(out, name...)
	out = append(out, `":"`...)
	for i := range len(value) {
		switch c := value[i]; {
		case c == '"' || c == '\\':
			out = append(out, '\\', c)
		case c < ' ': // in error texts
			out = fmt.Appendf(out, `\u%04x`, c)
		default:
			out = append(out, c)
		}
	}
	return append(out, '"')
}

// isBareJSON reports whether data is JSON without space around it.
func isBareJSON(data []byte) bool {
	return len(bytes.TrimSpace(data)) == len(data) && utf8.Valid(data) && json.Valid(data)
}

// UnmarshalStructured reads an event that is one JSON document, in CloudEvents'
// JSON format. Attributes may be strings, numbers or booleans; null means absent.
// Data of a JSON type is the document's bytes, of another type the text of a
// string. The caller limits the size of doc. Errors have code [Invalid] and name
// the member.
func UnmarshalStructured(doc []byte) (*Envelope, error) {
	e := new(Envelope)
	if err := decodeStructured(ContentTypeStructured, doc, e); err != nil {
		return nil, err
	}
	return e, nil
}

// decodeStructured reads a document of a content type that starts as those of
// CloudEvents do.
func decodeStructured(contentType string, doc []byte, into *Envelope) error {
	*into = Envelope{}
	if !isStructured(contentType) {
		return invalid("content type %s: of whole events only %s can be read", quote(contentType), ContentTypeStructured)
	}
	if !utf8.Valid(doc) {
		return invalid("event is not UTF-8")
	}
	var object json.RawMessage
	if err := json.Unmarshal(doc, &object); err != nil {
		return &Error{Code: Invalid, Message: "event is not JSON", Err: err}
	}
	d := document{reader: reader{e: into}}
	if err := d.read(object); err != nil {
		return err
	}
	if a := d.missing(); a != noAttribute {
		return invalid("event has no member %s", a)
	}
	return d.finish()
}

// isStructured reports whether a content type is one whole event as JSON, which
// NATS' binding marks without the suffix.
func isStructured(contentType string) bool {
	media, _, _ := strings.Cut(contentType, ";")
	media = strings.TrimSpace(media)
	return strings.EqualFold(media, ContentTypeStructured) || strings.EqualFold(media, markerCloudEvent)
}

// document reads the members of an event in any order.
type document struct {
	reader

	data, base64 json.RawMessage // as they stand there; nil: absent
}

// read goes through the members of an object that is known to be JSON.
func (d *document) read(object []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(object))
	if open, err := decoder.Token(); err != nil || open != json.Delim('{') {
		return invalid("event is JSON, but not an object")
	}
	seen := make(map[string]bool)
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return &Error{Code: Invalid, Message: "event is not JSON", Err: err}
		}
		name, _ := token.(string)
		if seen[name] {
			return invalid("event has two members %s", quote(name))
		}
		seen[name] = true
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return &Error{Code: Invalid, Message: "event is not JSON", Err: err}
		}
		if err := d.member(name, value); err != nil {
			return err
		}
	}
	return nil
}

// member takes one.
func (d *document) member(name string, value json.RawMessage) error {
	switch {
	case name == "data":
		d.data = value
		return nil
	case string(value) == "null":
		return nil
	case name == "data_base64":
		d.base64 = value
		return nil
	}
	text := string(value)
	switch value[0] {
	case '{', '[':
		return invalid("member %s: an attribute is a string, a number or a boolean", quote(name))
	case '"':
		if err := json.Unmarshal(value, &text); err != nil {
			return &Error{Code: Invalid, Message: "member " + quote(name), Err: err}
		}
	}
	if reason := d.attribute(name, text); reason != "" {
		return invalid("member %s: value %s %s", quote(name), quote(text), reason)
	}
	return nil
}

// attribute takes one, with or without a field.
func (d *document) attribute(name, value string) (reason string) {
	if a := attributeOf(name); a != noAttribute {
		return d.set(a, value)
	}
	return d.extend(name, value)
}

// finish takes the payload, whose reading depends on the content type.
func (d *document) finish() error {
	switch {
	case d.data != nil && d.base64 != nil:
		return invalid("event has both data and data_base64")
	case d.base64 != nil:
		return d.decodeBase64()
	case d.data == nil:
		return nil
	case isJSON(d.e.ContentType):
		d.e.Data = d.data
		return nil
	}
	var text *string
	if err := json.Unmarshal(d.data, &text); err != nil {
		return invalid("member data: content type %s is not JSON, so it must be a string", quote(d.e.ContentType))
	}
	if text != nil {
		d.e.Data = []byte(*text)
	}
	return nil
}

func (d *document) decodeBase64() error {
	var text string
	if err := json.Unmarshal(d.base64, &text); err != nil {
		return invalid("member data_base64 is not a string")
	}
	data, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return &Error{Code: Invalid, Message: "member data_base64", Err: err}
	}
	d.e.Data = data
	return nil
}
