// Package envelope is the message: its attributes, its payload, and how both
// are written for each kind of broker. It imports nothing but the standard
// library, and is what middleware, stores and gateways import.
//
// # A message
//
// A message type is a Go type with one method, which says its wire type:
//
//	type Task struct{ Topic string }
//
//	func (Task) WireType() string { return "research.task@1" }
//
// [New] makes an envelope of a value: it encodes the payload (JSON, or the bytes
// of a [Raw]), stamps id, source, time, type and version, and applies options:
//
//	e, err := envelope.New(Task{Topic: "postgres 17"}, envelope.WithKey("customer-42"))
//
// [Envelope.Decode] is the way back.
//
// # Identity
//
// The pair of Source and ID is the identity of a message: what carries the same
// pair is the same message ([Envelope.Identity]). CorrelationID names the
// conversation and CausationID the message that caused this one;
// [Envelope.CausedBy] hands both on. [Envelope.Fingerprint] hashes what a message
// says, [Envelope.DedupID] is what a broker may drop repeats by, and [OutputID]
// gives a handler's output the same id whenever the same output is made again.
//
// # The wire
//
// Envelopes are CloudEvents 1.0. A [Binding] describes how one kind of broker
// carries attributes, and maps both ways; [NATS], [HTTP] and [Kafka] are
// descriptions, the mapper is one. [MarshalStructured] and
// [UnmarshalStructured] are the JSON format, where attributes and payload are one
// document; Binding.Decode recognises it by its content type. docs/wire.md
// specifies everything for implementers in other languages, with test vectors in
// envelope/testdata.
//
// A [Plain] maps the messages of a topic that clients use as well which know no
// CloudEvents; [Envelope.SetMetadata] and [Envelope.Metadata] map what those say
// beside the payload, Watermill's metadata.
//
// # Errors
//
// There is one error type, [Error], and its [Code] is itself an error, so that
// errors.Is(err, envelope.Expired) asks for a code and errors.As gives the rest.
// A handler says what should happen with [Reject] and [RetryAfter]; every other
// error is retried by policy.
//
// # Secrets
//
// Envelopes and Raws print ids, types and sizes through fmt and log/slog, never a
// payload and never the value of an extension.
package envelope
