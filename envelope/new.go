package envelope

import (
	"maps"
	"reflect"
	"time"
)

// DefaultSource is the Source of an envelope that is given none.
const DefaultSource = "/anywire"

// New makes the envelope of a message. It encodes v, a [Raw] as it is and
// everything else as JSON, and stamps a new ID, [DefaultSource], the time, type
// and version. Then it applies the options, in order, and fills CorrelationID
// with the ID if none was given: the message begins a conversation.
//
// Errors have code [Invalid]: a nil v, a malformed wire type, a value that JSON
// cannot express, an option's refusal, a nil option.
func New(v Typed, opts ...Option) (*Envelope, error) {
	if isNil(v) {
		return nil, invalid("message is nil (%T)", v)
	}
	name, version, err := ParseType(v.WireType())
	if err != nil {
		return nil, err
	}
	e := &Envelope{
		ID:            NewID(),
		Source:        DefaultSource,
		Type:          name,
		SchemaVersion: version,
		Time:          time.Now().UTC().Round(0), // without the process's own clock
	}
	if e.ContentType, e.Data, err = encodeData(v); err != nil {
		return nil, err
	}
	for i, opt := range opts {
		if opt == nil {
			return nil, invalid("option %d of %d for %s is nil", i+1, len(opts), e.WireType())
		}
		if err := opt(e); err != nil {
			return nil, err
		}
	}
	if e.CorrelationID == "" {
		e.CorrelationID = e.ID
	}
	if err := e.Validate(); err != nil {
		return nil, err
	}
	return e, nil
}

// isNil reports whether v is nil or a nil pointer, whose WireType would panic.
func isNil(v Typed) bool {
	if v == nil {
		return true
	}
	value := reflect.ValueOf(v)
	return value.Kind() == reflect.Pointer && value.IsNil()
}

// Clone makes a copy whose fields and Extensions may be changed. Data is
// shared: replace it, never write into it.
func (e *Envelope) Clone() *Envelope {
	c := *e
	c.Extensions = maps.Clone(e.Extensions)
	return &c
}

// WireType is "name@version" of Type and SchemaVersion.
func (e *Envelope) WireType() string { return FormatType(e.Type, e.SchemaVersion) }

// CausedBy makes e an effect of in: CausationID is in's ID and Hops one more
// than in's; CorrelationID, Key and trace context are in's where e has none of
// its own. A CorrelationID that equals e's ID is what [New] fills in, and counts
// as none.
func (e *Envelope) CausedBy(in *Envelope) {
	e.CausationID = in.ID
	e.Hops = in.Hops + 1
	if e.CorrelationID == "" || e.CorrelationID == e.ID {
		e.CorrelationID = in.CorrelationID
		if e.CorrelationID == "" { // a foreign sender: the conversation starts there
			e.CorrelationID = in.ID
		}
	}
	if e.Key == "" {
		e.Key = in.Key
	}
	if e.TraceParent == "" {
		e.TraceParent, e.TraceState = in.TraceParent, in.TraceState
	}
}

// Immediate reports whether [WithImmediate] made the envelope.
func (e *Envelope) Immediate() bool { return e.immediate }
