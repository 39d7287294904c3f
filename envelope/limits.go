package envelope

// The limits that stand for zero fields of [Limits]. Together they stay below
// the megabyte that common brokers take by default.
const (
	DefaultBodyLimit           = 900 << 10
	DefaultAttributeLimit      = 64
	DefaultAttributeBytesLimit = 16 << 10
)

// Limits bound a message, on the way out and on the way in. A field that is not
// positive stands for its default.
type Limits struct {
	// Body is the most bytes of Data.
	Body int
	// Attributes is the most attributes, extensions included.
	Attributes int
	// AttributeBytes is the most bytes of their names and values together,
	// before a binding adds its prefix and encoding.
	AttributeBytes int
}

// Check reports the first limit that e exceeds, with code [TooLarge] and the
// name of the setting. The attributes of dead letters do not count, so that what
// was within the limits can always become one.
func (l Limits) Check(e *Envelope) error {
	l = l.withDefaults()
	if len(e.Data) > l.Body {
		return tooLarge("body of %s has %d bytes, more than the limit of %d: raise limits.body on both sides or send a reference",
			e, len(e.Data), l.Body)
	}
	if len(e.Extensions) == 0 && int(attributes) <= l.Attributes && e.roughSize() <= l.AttributeBytes {
		return nil
	}
	count, size := e.measure()
	if count > l.Attributes {
		return tooLarge("%s has %d attributes, more than the limit of %d: raise limits.attributes on both sides",
			e, count, l.Attributes)
	}
	if size > l.AttributeBytes {
		return tooLarge("attributes of %s have %d bytes, more than the limit of %d: raise limits.attribute_bytes on both sides",
			e, size, l.AttributeBytes)
	}
	return nil
}

func (l Limits) withDefaults() Limits {
	if l.Body <= 0 {
		l.Body = DefaultBodyLimit
	}
	if l.Attributes <= 0 {
		l.Attributes = DefaultAttributeLimit
	}
	if l.AttributeBytes <= 0 {
		l.AttributeBytes = DefaultAttributeBytesLimit
	}
	return l
}

func tooLarge(format string, e *Envelope, actual, limit int) error {
	err := invalid(format, e.WireType()+" "+quote(e.ID), actual, limit)
	err.Code = TooLarge
	return err
}

// roughSize is at least the bytes of all attributes but extensions, without
// formatting any.
func (e *Envelope) roughSize() int {
	const namesTimesAndNumbers = 320
	size := namesTimesAndNumbers
	for _, text := range e.texts() {
		size += len(text)
	}
	return size
}

// measure counts what the limits count.
func (e *Envelope) measure() (count, size int) {
	for a := range attributes {
		if value := e.value(a); value != "" {
			count++
			size += len(a.String()) + len(value)
		}
	}
	for name, value := range e.Extensions {
		if !isDeadLetter(name) {
			count++
			size += len(name) + len(value)
		}
	}
	return count, size
}
