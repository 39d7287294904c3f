package envelope

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// maxExtensionName is the longest name that may be set; longer ones that were
// received are kept.
const maxExtensionName = 20

// Validate reports the first attribute that the wire would not carry, with code
// [Invalid]: an empty id, source or type; a version outside 1 to 999999; a
// negative count; a time that RFC 3339 cannot write; control characters or
// invalid UTF-8; an extension whose name is not a-z and 0-9 or belongs to another
// attribute. Data is not looked at.
func (e *Envelope) Validate() error {
	if err := e.checkTexts(); err != nil {
		return err
	}
	switch {
	case e.ID == "":
		return invalid("id is empty")
	case e.Source == "":
		return invalid("source is empty: it says who sends, as in /agents/writer")
	case e.Type == "":
		return invalid("type is empty")
	case e.SchemaVersion < 1 || e.SchemaVersion > maxVersion:
		return invalid("schemaversion %d is not from 1 to %d", e.SchemaVersion, maxVersion)
	case e.Hops < 0 || e.Redrive < 0:
		return invalid("hops %d or redrive %d is negative", e.Hops, e.Redrive)
	}
	if err := checkTimes(e); err != nil {
		return err
	}
	if reason := checkContentType(e.ContentType); reason != "" {
		return invalid("datacontenttype %s %s", quote(e.ContentType), reason)
	}
	return checkExtensions(e.Extensions)
}

// checkTexts looks at all texts, and only where one is not plain, which it is.
func (e *Envelope) checkTexts() error {
	plain := true
	for _, text := range e.texts() {
		plain = plain && isPrintable(text)
	}
	if plain {
		return nil
	}
	for a := range attributes {
		text := e.text(a)
		if text == nil {
			continue
		}
		if reason := checkText(*text); reason != "" {
			return invalid("%s %s %s", a, quote(*text), reason)
		}
	}
	return nil
}

// texts are the attributes that are texts, in one piece: walking them by name
// costs more than looking at them.
func (e *Envelope) texts() [13]string {
	return [...]string{
		e.ID, e.Source, e.Type, e.Subject, e.Key, e.ContentType, e.DataSchema,
		e.CorrelationID, e.CausationID, e.IdempotencyKey, e.ReplyTo, e.TraceParent, e.TraceState,
	}
}

func checkTimes(e *Envelope) error {
	for _, t := range [...]time.Time{e.Time, e.Expires, e.DeliverAt} {
		if !t.IsZero() && !inRange(t) {
			return invalid("time %v is outside the years 0 to 9999", t)
		}
	}
	return nil
}

func checkExtensions(extensions map[string]string) error {
	for name, value := range extensions {
		if reason := checkReceivedName(name); reason != "" {
			return invalid("extension name %s %s", quote(name), reason)
		}
		if reason := checkExtensionValue(name, value); reason != "" {
			return invalid("extension %s: value %s %s", name, quote(value), reason)
		}
	}
	return nil
}

// checkExtensionName checks a name that is being set.
func checkExtensionName(name string) error {
	reason := checkReceivedName(name)
	switch {
	case reason != "":
	case len(name) > maxExtensionName:
		reason = fmt.Sprintf("has %d characters, at most %d are allowed", len(name), maxExtensionName)
	case isReserved(name):
		reason = "is reserved for anywire itself: choose another"
	}
	if reason != "" {
		return invalid("extension name %s %s", quote(name), reason)
	}
	return nil
}

// checkReceivedName says what is wrong with an extension's name, whatever its
// length.
func checkReceivedName(name string) string {
	for i := range len(name) {
		if c := name[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return "has characters other than a-z and 0-9"
		}
	}
	switch {
	case name == "":
		return "is empty"
	case name == "data":
		return "is the payload's own: choose another"
	case attributeOf(name) != noAttribute:
		return "has a field of its own: set that"
	}
	return ""
}

// checkText says what is wrong with the value of an attribute, reserved ones
// excepted.
func checkText(value string) string {
	if isPrintable(value) {
		return ""
	}
	return checkUnicode(value)
}

func checkUnicode(value string) string {
	if !utf8.ValidString(value) {
		return "is not UTF-8"
	}
	for _, r := range value {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return fmt.Sprintf("contains the control character %U", r)
		}
	}
	return ""
}

// checkContentType says what is wrong with the media type of a payload.
func checkContentType(contentType string) string {
	if !isPrintable(contentType) {
		return "is not printable ASCII"
	}
	if isCloudEvent(contentType) {
		return "marks a whole event in one document, not a payload"
	}
	return ""
}

// markerCloudEvent begins the content types of whole events.
const markerCloudEvent = "application/cloudevents"

// isCloudEvent reports whether a media type is CloudEvents' structured or
// batched mode in some format.
func isCloudEvent(contentType string) bool {
	const n = len(markerCloudEvent)
	return len(contentType) >= n && strings.EqualFold(contentType[:n], markerCloudEvent)
}
