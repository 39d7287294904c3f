package envelope

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"unicode/utf8"
)

const (
	// MetadataUUID is the header, or field, in which Watermill's adapters carry a
	// message's UUID. It is the ID of the envelope and no metadata.
	MetadataUUID = "_watermill_message_uuid"

	// AttrMetadata holds, as one JSON object, what a message of a plain client
	// said under names that no attribute can have.
	AttrMetadata = "wmmetadata"
)

// SetMetadata takes what a client that knows no CloudEvents says beside the
// payload: Watermill's metadata, or a broker's own headers.
//
//   - correlation_id, traceparent, tracestate and content-type become the
//     attributes of that meaning;
//   - names that [WithExtension] takes become extensions;
//   - the rest, and values that an attribute cannot carry, become one JSON object
//     in the attribute [AttrMetadata], sorted by name, in which what is not UTF-8
//     is written as "base64:" and its base64.
//
// Nothing is lost: [Envelope.Metadata] gives the same map back. SetMetadata changes
// Extensions, so a received envelope must be cloned before.
func (e *Envelope) SetMetadata(metadata map[string]string) {
	var rest map[string]string
	for name, value := range metadata {
		if e.setMetadatum(name, value) {
			continue
		}
		if rest == nil {
			rest = map[string]string{}
		}
		rest[asText(name)] = asText(value)
	}
	if rest == nil {
		return
	}
	object, err := json.Marshal(rest)
	if err != nil {
		panic("envelope: a map of strings is no JSON: " + err.Error()) // it always is
	}
	e.SetReserved(AttrMetadata, string(object))
}

// setMetadatum sets the attribute that name stands for, and reports whether there
// is one that can carry value.
func (e *Envelope) setMetadatum(name, value string) bool {
	if field := e.ofMetadata(name); field != nil {
		legal := value != "" && checkText(value) == ""
		if field == &e.ContentType {
			legal = legal && checkContentType(value) == ""
		}
		if legal {
			*field = value
		}
		return legal
	}
	if len(name) > maxExtensionName || isReserved(name) || checkReceivedName(name) != "" || checkText(value) != "" {
		return false
	}
	if e.Extensions == nil {
		e.Extensions = make(map[string]string)
	}
	e.Extensions[name] = value
	return true
}

// metadataNames are those that stand for an attribute with a field.
var metadataNames = [...]string{"correlation_id", "traceparent", "tracestate", "content-type"} //nolint:gochecknoglobals // a constant

// ofMetadata is the field that a name of metadata stands for, or nil.
func (e *Envelope) ofMetadata(name string) *string {
	switch name {
	case "correlation_id":
		return &e.CorrelationID
	case "traceparent":
		return &e.TraceParent
	case "tracestate":
		return &e.TraceState
	case "content-type":
		return &e.ContentType
	default:
		return nil
	}
}

// Metadata is the way back from [Envelope.SetMetadata]: what a client that knows no
// CloudEvents sees beside the payload. Reserved attributes, and attributes that no
// metadata stands for, are not in it. The map is the caller's.
func (e *Envelope) Metadata() map[string]string {
	metadata := e.restOfMetadata()
	for name, value := range e.Extensions {
		if !isReserved(name) {
			metadata[name] = value
		}
	}
	for _, name := range metadataNames {
		if value := *e.ofMetadata(name); value != "" {
			metadata[name] = value
		}
	}
	return metadata
}

// restOfMetadata is what the attribute AttrMetadata holds. What cannot be read
// there is metadata itself, under the attribute's name.
func (e *Envelope) restOfMetadata() map[string]string {
	object, ok := e.Extensions[AttrMetadata]
	if !ok {
		return map[string]string{}
	}
	var rest map[string]string
	if err := json.Unmarshal([]byte(object), &rest); err != nil {
		return map[string]string{AttrMetadata: object}
	}
	metadata := make(map[string]string, len(rest)+len(e.Extensions)+len(metadataNames))
	for name, value := range rest {
		metadata[ofText(name)] = ofText(value)
	}
	return metadata
}

// encoded marks base64 in the JSON object.
const encoded = "base64:"

// asText writes any bytes as a string of JSON.
func asText(s string) string {
	if utf8.ValidString(s) && !strings.HasPrefix(s, encoded) {
		return s
	}
	return encoded + base64.StdEncoding.EncodeToString([]byte(s))
}

// ofText is the way back from asText; what is no base64 stays as it is.
func ofText(s string) string {
	text, ok := strings.CutPrefix(s, encoded)
	if !ok {
		return s
	}
	bytes, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return s
	}
	return string(bytes)
}
