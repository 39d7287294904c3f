package envelope

import "fmt"

// The reserved attributes. Frameworks set and read them with
// [Envelope.SetReserved] and [Envelope.Reserved]; [WithExtension] refuses them.
const (
	// On copies in dead letters: the id of the entry, by which repeats collapse;
	// the reason, a [Code]; the error; the agent; its attempts; when it first and
	// last failed (RFC 3339); the host; the fingerprint of the stack; the topic
	// and position that the original had; and the headers of what could not be
	// decoded, as JSON.
	AttrDeadLetterID       = "dlid"
	AttrDeadLetterReason   = "dlreason"
	AttrDeadLetterError    = "dlerror"
	AttrDeadLetterAgent    = "dlagent"
	AttrDeadLetterAttempts = "dlattempts"
	AttrDeadLetterFirst    = "dlfirst"
	AttrDeadLetterLast     = "dllast"
	AttrDeadLetterHost     = "dlhost"
	AttrDeadLetterStack    = "dlstack"
	AttrDeadLetterTopic    = "dltopic"
	AttrDeadLetterPosition = "dlposition"
	AttrDeadLetterHeaders  = "dlheaders"
	// On delayed copies: when (RFC 3339) and in which topic they are due, and
	// how many attempts the message had.
	AttrDeliverAt = "deliverat"
	AttrDeliverTo = "deliverto"
	AttrAttempt   = "attempt"
)

// isReserved reports whether name is an attribute that only a framework sets.
func isReserved(name string) bool {
	switch name {
	case AttrDeliverAt, AttrDeliverTo, AttrAttempt,
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
