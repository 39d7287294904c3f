package envelope

import (
	"fmt"
	"log/slog"
)

var (
	_ slog.LogValuer = (*Envelope)(nil)
	_ fmt.Stringer   = (*Envelope)(nil)
)

// LogValue is a group of ids, type and sizes. It never holds the payload, and
// of extensions only how many there are.
func (e *Envelope) LogValue() slog.Value {
	if e == nil {
		return slog.StringValue("none")
	}
	const most = 10
	attrs := make([]slog.Attr, 0, most)
	attrs = append(attrs,
		slog.String("id", e.ID),
		slog.String("source", e.Source),
		slog.String("type", e.WireType()),
	)
	for _, a := range [...]slog.Attr{
		slog.String("topic", e.Topic),
		slog.String("correlation", e.CorrelationID),
		slog.String("causation", e.CausationID),
	} {
		if a.Value.String() != "" {
			attrs = append(attrs, a)
		}
	}
	for _, a := range [...]slog.Attr{
		slog.Int("attempt", e.Attempt),
		slog.Int("redrive", e.Redrive),
		slog.Int("extensions", len(e.Extensions)),
	} {
		if a.Value.Int64() != 0 {
			attrs = append(attrs, a)
		}
	}
	return slog.GroupValue(append(attrs, slog.Int("bytes", len(e.Data)))...)
}

// String is the wire type, id, source and size, never the payload.
func (e *Envelope) String() string {
	if e == nil {
		return "no envelope"
	}
	return fmt.Sprintf("%s %s from %s (%d bytes)", e.WireType(), e.ID, e.Source, len(e.Data))
}
