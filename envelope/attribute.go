package envelope

import (
	"strconv"
	"strings"
	"time"
)

// attribute is one that has a field in [Envelope], in the order in which
// attributes are written.
type attribute uint8

const (
	attrSpecVersion attribute = iota
	attrID
	attrSource
	attrType
	attrSchemaVersion
	attrTime
	attrContentType
	attrDataSchema
	attrSubject
	attrKey
	attrExpires
	attrCorrelationID
	attrCausationID
	attrIdempotencyKey
	attrReplyTo
	attrTraceParent
	attrTraceState
	attrHops
	attrRedrive
	attributes // how many there are
)

const (
	noAttribute = attributes
	specVersion = "1.0"
)

// String is the attribute's name on the wire.
func (a attribute) String() string {
	switch a {
	case attrSpecVersion:
		return "specversion"
	case attrID:
		return "id"
	case attrSource:
		return "source"
	case attrType:
		return "type"
	case attrSchemaVersion:
		return "schemaversion"
	case attrTime:
		return "time"
	case attrContentType:
		return "datacontenttype"
	case attrDataSchema:
		return "dataschema"
	case attrSubject:
		return "subject"
	case attrKey:
		return "partitionkey"
	case attrExpires:
		return "expirytime"
	case attrCorrelationID:
		return "correlationid"
	case attrCausationID:
		return "causationid"
	case attrIdempotencyKey:
		return "idempotencykey"
	case attrReplyTo:
		return "replyto"
	case attrTraceParent:
		return "traceparent"
	case attrTraceState:
		return "tracestate"
	case attrHops:
		return "hops"
	case attrRedrive:
		return "redrive"
	default:
		return ""
	}
}

// attributeOf finds an attribute by its name on the wire.
func attributeOf(name string) attribute {
	switch name {
	case "specversion":
		return attrSpecVersion
	case "id":
		return attrID
	case "source":
		return attrSource
	case "type":
		return attrType
	case "schemaversion":
		return attrSchemaVersion
	case "time":
		return attrTime
	case "datacontenttype":
		return attrContentType
	case "dataschema":
		return attrDataSchema
	case "subject":
		return attrSubject
	case "partitionkey":
		return attrKey
	case "expirytime":
		return attrExpires
	case "correlationid":
		return attrCorrelationID
	case "causationid":
		return attrCausationID
	case "idempotencykey":
		return attrIdempotencyKey
	case "replyto":
		return attrReplyTo
	case "traceparent":
		return attrTraceParent
	case "tracestate":
		return attrTraceState
	case "hops":
		return attrHops
	case "redrive":
		return attrRedrive
	default:
		return noAttribute
	}
}

// text is the field of an attribute that is a string; nil for numbers, times
// and specversion.
func (e *Envelope) text(a attribute) *string {
	switch a {
	case attrID:
		return &e.ID
	case attrSource:
		return &e.Source
	case attrType:
		return &e.Type
	case attrContentType:
		return &e.ContentType
	case attrDataSchema:
		return &e.DataSchema
	case attrSubject:
		return &e.Subject
	case attrKey:
		return &e.Key
	case attrCorrelationID:
		return &e.CorrelationID
	case attrCausationID:
		return &e.CausationID
	case attrIdempotencyKey:
		return &e.IdempotencyKey
	case attrReplyTo:
		return &e.ReplyTo
	case attrTraceParent:
		return &e.TraceParent
	case attrTraceState:
		return &e.TraceState
	default:
		return nil
	}
}

// value is what is written for an attribute; empty: nothing.
func (e *Envelope) value(a attribute) string {
	switch a {
	case attrSpecVersion:
		return specVersion
	case attrSchemaVersion:
		return formatCount(e.SchemaVersion)
	case attrHops:
		return formatCount(e.Hops)
	case attrRedrive:
		return formatCount(e.Redrive)
	case attrTime:
		return formatTime(e.Time)
	case attrExpires:
		return formatTime(e.Expires)
	default:
		return *e.text(a)
	}
}

// formatCount writes a number; zero is not written.
func formatCount(n int) string {
	if n <= 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// formatTime writes RFC 3339 in UTC with nanoseconds; the zero time is not
// written.
func formatTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	var stack [len(time.RFC3339Nano) + 8]byte
	return string(t.UTC().AppendFormat(stack[:0], time.RFC3339Nano))
}

// parseTime reads RFC 3339 as strictly as the wire demands, in any zone.
func parseTime(value string) (time.Time, bool) {
	const date, hour = len("2006-01-02"), len("2006-01-02T15")
	if len(value) <= hour || value[hour] != ':' || strings.IndexByte(value, ',') >= 0 {
		return time.Time{}, false // time.Parse takes hours of one digit, and a comma for the point
	}
	if value[date] == 't' || value[len(value)-1] == 'z' {
		value = strings.ToUpper(value)
	}
	t, err := time.Parse(time.RFC3339Nano, value)
	if err != nil {
		return time.Time{}, false
	}
	t = t.UTC()
	return t, inRange(t) && !t.IsZero()
}

// inRange reports whether RFC 3339 can write t: years have four digits.
func inRange(t time.Time) bool {
	year := t.UTC().Year()
	return year >= 0 && year <= 9999
}
