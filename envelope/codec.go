package envelope

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
)

const contentTypeJSON = "application/json"

// Raw is a message whose payload is already encoded. [New] takes it as it is, and
// [Envelope.Decode] fills one from any message.
type Raw struct {
	// Type is the wire type, "name@version".
	Type string
	// ContentType is the media type of Data; empty: not known.
	ContentType string
	// Data is the payload. It is shared with the envelope: never write into it.
	Data []byte
}

var (
	_ Typed          = Raw{}
	_ slog.LogValuer = Raw{}
	_ fmt.Stringer   = Raw{}
)

// WireType is Type.
func (r Raw) WireType() string { return r.Type }

// LogValue is the type and sizes, never the payload.
func (r Raw) LogValue() slog.Value {
	return slog.GroupValue(slog.String("type", r.Type), slog.String("content_type", r.ContentType), slog.Int("bytes", len(r.Data)))
}

// String is the type and the size, never the payload.
func (r Raw) String() string { return fmt.Sprintf("%s (%d bytes)", r.Type, len(r.Data)) }

// encodeData is the codec of New.
func encodeData(v Typed) (contentType string, data []byte, err error) {
	switch raw := v.(type) {
	case Raw:
		return raw.ContentType, raw.Data, nil
	case *Raw:
		return raw.ContentType, raw.Data, nil
	}
	data, err = json.Marshal(v)
	if err != nil {
		return "", nil, &Error{Code: Invalid, Message: "encode " + v.WireType() + " as JSON", Err: err}
	}
	return contentTypeJSON, data, nil
}

// Decode decodes the payload into a pointer. A *[Raw] takes every payload and
// shares Data; everything else takes JSON, which a missing content type stands
// for too. Members that the target does not have are ignored. Errors have code
// [Invalid].
func (e *Envelope) Decode(into any) error {
	if raw, ok := into.(*Raw); ok {
		*raw = Raw{Type: e.WireType(), ContentType: e.ContentType, Data: e.Data}
		return nil
	}
	if !isJSON(e.ContentType) {
		return invalid("decode %s: content type %s is not JSON: decode it into an *envelope.Raw", e.WireType(), quote(e.ContentType))
	}
	if err := json.Unmarshal(e.Data, into); err != nil {
		return &Error{Code: Invalid, Message: fmt.Sprintf("decode %s into %T", e.WireType(), into), Err: err}
	}
	return nil
}

// isJSON reports whether a media type is JSON. CloudEvents takes a missing one
// for it.
func isJSON(contentType string) bool {
	if contentType == "" || contentType == contentTypeJSON {
		return true
	}
	media, _, _ := strings.Cut(contentType, ";")
	media = strings.ToLower(strings.TrimSpace(media))
	return media == contentTypeJSON || media == "text/json" || strings.HasSuffix(media, "+json")
}
