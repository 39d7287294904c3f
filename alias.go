package anywire

import (
	"time"

	"github.com/anywire/anywire/envelope"
)

// The types of package envelope that handlers and callers touch.
type (
	// Typed is what a message implements: one method that says "name@version".
	Typed = envelope.Typed
	// Error is the coded error of this module.
	Error = envelope.Error
	// Code says what kind of failure an Error is; it is an error itself.
	Code = envelope.Code
	// SendOption sets something on one message that is sent.
	SendOption = envelope.Option
)

// The codes of errors, for errors.Is; package envelope says what each means.
const (
	Invalid      = envelope.Invalid
	TooLarge     = envelope.TooLarge
	Rejected     = envelope.Rejected
	NoResponder  = envelope.NoResponder
	HandlerLost  = envelope.HandlerLost
	Expired      = envelope.Expired
	Cancelled    = envelope.Cancelled
	Unsupported  = envelope.Unsupported
	Incomplete   = envelope.Incomplete
	LeaseLost    = envelope.LeaseLost
	NotAttempted = envelope.NotAttempted
	Restarted    = envelope.Restarted
)

// WithTopic sends an output to topic, in place of what the agent produces.
func WithTopic(topic string) SendOption { return envelope.WithTopic(topic) }

// WithKey sets the key that orders and partitions, in place of the input's.
func WithKey(key string) SendOption { return envelope.WithKey(key) }

// WithIdempotencyKey says what may take effect only once, whatever the message's
// id.
func WithIdempotencyKey(key string) SendOption { return envelope.WithIdempotencyKey(key) }

// WithDelay has the message delivered no earlier than d from now. A transport
// that cannot delay refuses it with [Unsupported].
func WithDelay(d time.Duration) SendOption { return envelope.WithDelay(d) }

// WithDeliverAt has the message delivered no earlier than t. A transport that
// cannot delay refuses it with [Unsupported].
func WithDeliverAt(t time.Time) SendOption { return envelope.WithDeliverAt(t) }

// WithExpiry says when the message is no longer worth handling: from then on it
// is settled without being handled.
func WithExpiry(t time.Time) SendOption { return envelope.WithExpiry(t) }

// WithExtension adds an attribute of the sender's own. The name is one to twenty
// of a-z and 0-9, and not one of the wire's own.
func WithExtension(name, value string) SendOption { return envelope.WithExtension(name, value) }

// WithImmediate lets [App.Publish] publish from inside a handler: at once, and
// again with every retry of the handler.
func WithImmediate() SendOption { return envelope.WithImmediate() }

// Reject makes a handler's error final: the message goes to the dead letters
// without another attempt. It is never nil, even for a nil err.
func Reject(err error) error { return envelope.Reject(err) }

// RetryAfter asks that the message is handled again after d; it counts as an
// attempt. It is never nil, even for a nil err.
func RetryAfter(d time.Duration, err error) error { return envelope.RetryAfter(d, err) }
