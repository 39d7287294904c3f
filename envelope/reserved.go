package envelope

import "fmt"

// The reserved attributes. Frameworks set and read them with
// [Envelope.SetReserved] and [Envelope.Reserved]; [WithExtension] refuses them.
const (
	AttrDeadLetterID       = "dlid"       // of the entry: repeats with one id are one entry
	AttrDeadLetterReason   = "dlreason"   // a [Code]
	AttrDeadLetterError    = "dlerror"    // the error's text, cut at 2 KiB
	AttrDeadLetterAgent    = "dlagent"    // whose dead letter it is
	AttrDeadLetterAttempts = "dlattempts" // that were made, decimal
	AttrDeadLetterFirst    = "dlfirst"    // when the first attempt began, RFC 3339
	AttrDeadLetterLast     = "dllast"     // when the last attempt failed, RFC 3339
	AttrDeadLetterHost     = "dlhost"     // where the last attempt ran
	AttrDeadLetterStack    = "dlstack"    // the fingerprint of a panic's stack
	AttrDeadLetterTopic    = "dltopic"    // that the original was read from
	AttrDeadLetterPosition = "dlposition" // that the original had there
	AttrDeadLetterHeaders  = "dlheaders"  // of what could not be decoded, as JSON

	AttrDeliverAt = "deliverat" // when a delayed copy is due, RFC 3339
	AttrDeliverTo = "deliverto" // the topic that a delayed copy goes to then
	AttrAttempt   = "attempt"   // how many attempts a delayed copy had, decimal
)

// isReserved reports whether name is an attribute that only a framework sets.
func isReserved(name string) bool {
	switch name {
	case AttrDeliverAt, AttrDeliverTo, AttrAttempt, AttrMetadata,
		"replycode", "replyerror", "frame", "frametoken", "frameend", "credit", "cancel":
		return true
	default:
		return isDeadLetter(name)
	}
}

// isDeadLetter reports whether name is an attribute of dead letters.
func isDeadLetter(name string) bool {
	switch name {
	case AttrDeadLetterID, AttrDeadLetterReason, AttrDeadLetterError, AttrDeadLetterAgent,
		AttrDeadLetterAttempts, AttrDeadLetterFirst, AttrDeadLetterLast, AttrDeadLetterHost,
		AttrDeadLetterStack, AttrDeadLetterTopic, AttrDeadLetterPosition, AttrDeadLetterHeaders:
		return true
	default:
		return false
	}
}

// Reserved is the value of a reserved attribute; empty: it is not set.
func (e *Envelope) Reserved(name string) string { return e.Extensions[name] }

// SetReserved sets a reserved attribute, or removes it where value is empty. It
// changes Extensions, so a received envelope must be cloned before. The value
// may hold control characters, as error texts do. A name that is not reserved is
// a programmer's error and panics.
func (e *Envelope) SetReserved(name, value string) {
	if !isReserved(name) {
		panic(fmt.Sprintf("envelope: %q is not a reserved attribute: use WithExtension", name))
	}
	if value == "" {
		delete(e.Extensions, name)
		return
	}
	if e.Extensions == nil {
		e.Extensions = make(map[string]string)
	}
	e.Extensions[name] = value
}
