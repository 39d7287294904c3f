package redisdriver

import (
	"fmt"
	"strings"

	"github.com/anywire/anywire/transport/driver"
)

// The fields of an entry. Attributes stand in one field each, or together in
// packedField.
const (
	attributePrefix = "ce_"
	contentType     = "content-type"
	keyField        = attributePrefix + "partitionkey"
	bodyField       = "data"
	payloadField    = "payload" // the body's, where Watermill's adapter wrote it, or we did for its readers
	packedField     = "ce"
)

// checkHeaders refuses names that readers would take for something else.
func checkHeaders(headers []driver.Header) error {
	for i := range headers {
		if name := headers[i].Name; name == bodyField || name == packedField {
			return fmt.Errorf("header %q: on Redis this field holds something else: attributes begin with %s", name, attributePrefix)
		}
	}
	return nil
}

// decodeEntry makes a message of an entry's fields, names and values in turn.
// What it does not know comes up as it is; nothing is an error. Of several bodies
// or keys the first counts.
func decodeEntry(fields []string) *driver.Message {
	m := &driver.Message{}
	if len(fields) > 1 {
		m.Headers = make([]driver.Header, 0, len(fields)/2)
	}
	hasKey, hasBody := false, false
	add := func(name, value string) {
		if name == keyField && !hasKey {
			m.Key, hasKey = value, true
		}
		m.Headers = append(m.Headers, driver.Header{Name: name, Value: value})
	}
	for i := 0; i+1 < len(fields); i += 2 {
		name, value := fields[i], fields[i+1]
		switch {
		case name == bodyField && !hasBody:
			m.Body, hasBody = append(make([]byte, 0, len(value)), value...), true
		case name == packedField && unpack(value, add):
		default:
			add(name, value)
		}
	}
	if len(fields)%2 == 1 { // no server sends that
		add(fields[len(fields)-1], "")
	}
	if !hasBody {
		takePayload(m)
	}
	return m
}

// takePayload makes the body of the field in which Watermill's adapter has it.
func takePayload(m *driver.Message) {
	for i, h := range m.Headers {
		if h.Name == payloadField {
			m.Body = append(make([]byte, 0, len(h.Value)), h.Value...)
			m.Headers = append(m.Headers[:i], m.Headers[i+1:]...)
			return
		}
	}
}

// headerOf is the header of an attribute in the packed form.
func headerOf(attribute string) string {
	if attribute == "datacontenttype" {
		return contentType
	}
	return attributePrefix + attribute
}

// attributeOf is the name of a header in the packed form; false for one that is
// no attribute.
func attributeOf(header string) (string, bool) {
	if header == contentType {
		return "datacontenttype", true
	}
	attribute, ok := strings.CutPrefix(header, attributePrefix)
	return attribute, ok && attribute != "" && attribute != "datacontenttype"
}

// sizeOf is what MaxBody bounds.
func sizeOf(m *driver.Message) int {
	n := len(m.Key) + len(m.Body)
	for i := range m.Headers {
		n += len(m.Headers[i].Name) + len(m.Headers[i].Value)
	}
	return n
}
