package envelope

import "time"

// WithTopic sends the message to topic, in place of where it would go.
func WithTopic(topic string) Option {
	return func(e *Envelope) error {
		return setText(&e.Topic, "topic", topic, required)
	}
}

// WithKey sets the key that orders and partitions. Empty: no key.
func WithKey(key string) Option {
	return func(e *Envelope) error {
		return setText(&e.Key, attrKey.String(), key, optional)
	}
}

// WithIdempotencyKey says what may take effect only once: messages of one type
// with one key are one message to an agent that keeps records. Empty: the pair of
// Source and ID.
func WithIdempotencyKey(key string) Option {
	return func(e *Envelope) error {
		return setText(&e.IdempotencyKey, attrIdempotencyKey.String(), key, optional)
	}
}

// WithDelay delivers the message no earlier than d from now. Zero: at once.
func WithDelay(d time.Duration) Option {
	return func(e *Envelope) error {
		if d < 0 {
			return invalid("delay %v is negative", d)
		}
		e.DeliverAt = time.Time{}
		if d > 0 {
			e.DeliverAt = time.Now().Add(d).UTC().Round(0)
		}
		return nil
	}
}

// WithDeliverAt delivers the message no earlier than t; what is past is now. The
// zero time: at once.
func WithDeliverAt(t time.Time) Option {
	return func(e *Envelope) error { return setTime(&e.DeliverAt, AttrDeliverAt, t) }
}

// WithExpiry makes the message worthless from t on: it is then settled without
// being handled. The zero time: never.
func WithExpiry(t time.Time) Option {
	return func(e *Envelope) error { return setTime(&e.Expires, attrExpires.String(), t) }
}

// WithExtension adds an attribute of the sender's own. The name is one to twenty
// of a-z and 0-9, and none that the wire uses itself.
func WithExtension(name, value string) Option {
	return func(e *Envelope) error {
		if err := checkExtensionName(name); err != nil {
			return err
		}
		if reason := checkText(value); reason != "" {
			return invalid("extension %s: value %s %s", name, quote(value), reason)
		}
		if e.Extensions == nil {
			e.Extensions = make(map[string]string)
		}
		e.Extensions[name] = value
		return nil
	}
}

// WithImmediate allows a publish from inside a handler, beside its outputs: it
// happens at once, and again with every retry.
func WithImmediate() Option {
	return func(e *Envelope) error {
		e.immediate = true
		return nil
	}
}

// WithID gives the message an id of the sender's making. Together with the
// source it is the message's identity, so it must never be used for another.
func WithID(id string) Option {
	return func(e *Envelope) error { return setText(&e.ID, attrID.String(), id, required) }
}

// WithSource says who sends, as a URI reference such as "/agents/writer".
func WithSource(source string) Option {
	return func(e *Envelope) error {
		return setText(&e.Source, attrSource.String(), source, required)
	}
}

// WithSubject says what the message is about.
func WithSubject(subject string) Option {
	return func(e *Envelope) error {
		return setText(&e.Subject, attrSubject.String(), subject, optional)
	}
}

// WithCorrelationID puts the message into a conversation. Empty: it begins one.
func WithCorrelationID(id string) Option {
	return func(e *Envelope) error {
		return setText(&e.CorrelationID, attrCorrelationID.String(), id, optional)
	}
}

// WithDataSchema gives the URI of the payload's schema.
func WithDataSchema(uri string) Option {
	return func(e *Envelope) error {
		return setText(&e.DataSchema, attrDataSchema.String(), uri, optional)
	}
}

// presence says whether an option may clear its field.
type presence bool

const (
	optional presence = false
	required presence = true
)

func setText(field *string, name, value string, p presence) error {
	if p == required && value == "" {
		return invalid("%s is empty", name)
	}
	if reason := checkText(value); reason != "" {
		return invalid("%s %s %s", name, quote(value), reason)
	}
	*field = value
	return nil
}

func setTime(field *time.Time, name string, t time.Time) error {
	if !inRange(t) {
		return invalid("%s %v is outside the years 0 to 9999", name, t)
	}
	*field = t.UTC().Round(0)
	return nil
}
