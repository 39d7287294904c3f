package envelope

import (
	"context"
	"time"
)

// Typed is implemented by everything that leaves the process: messages, and
// later stored state. WireType answers "name@version", for example
// "research.task@1": a constant, declared on the value receiver so that a zero
// value can say it. [ParseType] gives the grammar.
type Typed interface{ WireType() string }

// Header is one name and value as a broker carries it. It is an alias of an
// unnamed struct so that a driver's headers and an envelope's are the same Go
// type without either package importing the other.
type Header = struct{ Name, Value string }

// Envelope is one message with everything that travels beside its payload: the
// attributes of CloudEvents 1.0 and the extensions that docs/wire.md lists.
//
// An envelope that was received is read-only, and so are its Extensions and
// Data: in memory they are shared with other receivers. [Envelope.Clone] makes
// a copy that may be changed.
type Envelope struct {
	// ID and Source identify the message: two messages with the same pair are
	// the same message. ID is a UUIDv7 unless it is given.
	ID, Source string
	// Type is the name of a wire type, SchemaVersion its version, from 1.
	Type          string
	SchemaVersion int
	// Hops counts the handlers that the conversation passed on its way here;
	// Redrive counts how often an operator sent it again from dead letters.
	Hops, Redrive int
	// Subject says what the message is about, in the words of its sender.
	Subject string
	// Key orders and partitions: messages of one key keep their order where an
	// agent asks for it.
	Key string
	// Time is when the message was made, Expires when it is no longer worth
	// handling. Zero means absent.
	Time, Expires time.Time
	// ContentType is the media type of Data, DataSchema a URI of its schema.
	ContentType, DataSchema string
	// CorrelationID names the conversation, CausationID the message that caused
	// this one.
	CorrelationID, CausationID string
	// IdempotencyKey says what may take effect only once; empty means the pair
	// of Source and ID.
	IdempotencyKey string
	// ReplyTo is the topic that an answer goes to.
	ReplyTo string
	// TraceParent and TraceState are W3C trace context.
	TraceParent, TraceState string
	// Extensions are attributes of the sender's own, by name: [a-z0-9]{1,20}.
	Extensions map[string]string
	// Data is the encoded payload. Nil means that there is none, which on some
	// brokers differs from an empty one.
	Data []byte

	// Topic, DeliverAt and Attempt stand beside the message. Topic is where it
	// goes to or came from, DeliverAt when it should be delivered at the
	// earliest, Attempt the number of the running attempt, from 1.
	Topic     string
	DeliverAt time.Time
	Attempt   int

	immediate bool
}

// Handler handles one message and answers with those it causes. Its error says
// what happens next: see [Reject], [RetryAfter] and [Error]. A handler must not
// change in, and must be safe for concurrent use.
type Handler func(ctx context.Context, in *Envelope) (out []*Envelope, err error)

// Middleware wraps a handler in another.
type Middleware func(Handler) Handler

// PublishFunc sends one message.
type PublishFunc func(ctx context.Context, e *Envelope) error

// PublishMiddleware wraps a PublishFunc in another.
type PublishMiddleware func(PublishFunc) PublishFunc

// Option sets something on an envelope that is being made. It refuses values
// that the wire does not carry.
type Option func(*Envelope) error
