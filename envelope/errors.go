package envelope

import (
	"fmt"
	"time"
)

// Code says what kind of failure an [Error] is. It is an error itself, so that
// errors.Is(err, envelope.Expired) asks for it. Codes travel in replies and dead
// letters; a handler may use its own.
type Code string

// The codes that anywire itself uses.
const (
	// Invalid: a value, a message or a call breaks a rule that the message names.
	Invalid Code = "invalid"
	// TooLarge: a message is over a limit. See [Limits].
	TooLarge Code = "too_large"
	// Rejected: a handler refused the message for good. See [Reject].
	Rejected Code = "rejected"
	// Retry: a handler wants the message again later. See [RetryAfter].
	Retry Code = "retry_after"
	// NoResponder: nobody is there who would answer a request.
	NoResponder Code = "no_responder"
	// HandlerLost: the process that handled an ephemeral request is gone.
	HandlerLost Code = "handler_lost"
	// Expired: the deadline or the expiry time passed.
	Expired Code = "expired"
	// Cancelled: the caller took the request back.
	Cancelled Code = "cancelled"
	// Unsupported: the transport or the agent cannot do what was asked for.
	Unsupported Code = "unsupported"
	// Incomplete: fewer answers came than were asked for.
	Incomplete Code = "incomplete"
	// LeaseLost: another worker may have the message by now.
	LeaseLost Code = "lease_lost"
	// NotAttempted: an earlier message of the same key failed, so this one was
	// not sent.
	NotAttempted Code = "not_attempted"
	// Restarted: a stream began again from its first item.
	Restarted Code = "restarted"
)

// The codes that stand only in dead letters, as the reason.
const (
	// Timeout: the last attempt took longer than the agent's timeout.
	Timeout Code = "timeout"
	// Panicked: the last attempt panicked.
	Panicked Code = "panic"
	// UnknownType: no handler of the agent takes the message's type.
	UnknownType Code = "unknown_type"
	// UnknownVersion: the agent takes the type, but not in this version.
	UnknownVersion Code = "unknown_version"
	// TooManyHops: the conversation passed more handlers than the limit.
	TooManyHops Code = "hops"
	// Exhausted: every retry failed.
	Exhausted Code = "exhausted"
	// Undecodable: the message is no envelope.
	Undecodable Code = "undecodable"
	// KeyReused: the message's idempotency key, or its identity, belongs to one
	// with another type, version or body.
	KeyReused Code = "key_reused"
	// BrokenRecord: the message's idempotency record cannot be read.
	BrokenRecord Code = "broken_record"
)

// Error is the code itself.
func (c Code) Error() string { return string(c) }

// Error is the one error type of anywire: a code to branch on, a message to
// read. A handler may return one of its own, as in
// &envelope.Error{Code: "quota", Message: "42 of 42 calls used"}: it is retried
// by policy and its code arrives in the reply or dead letter. Only [Rejected] and
// [Retry] change what happens to the message.
type Error struct {
	// Code is what kind of failure this is.
	Code Code
	// Message is for people. Empty: the code speaks for itself.
	Message string
	// After is the wait that [RetryAfter] asks for; zero otherwise.
	After time.Duration
	// Err is the cause; nil when there is none.
	Err error
}

// Error is the message, else the code, followed by the cause.
func (e *Error) Error() string {
	text := e.Message
	switch {
	case text != "":
	case e.Code == Retry && e.After > 0:
		text = "retry after " + e.After.String()
	case e.Code == Retry:
		text = "retry"
	default:
		text = string(e.Code)
	}
	if e.Err != nil {
		return text + ": " + e.Err.Error()
	}
	return text
}

// Is reports whether target is the error's code.
func (e *Error) Is(target error) bool {
	code, ok := target.(Code)
	return ok && code == e.Code
}

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Err }

// Reject makes a handler's error final: the message goes to the dead letters
// without another attempt. It is never nil, even for a nil err.
func Reject(err error) error { return &Error{Code: Rejected, Err: err} }

// RetryAfter asks that the message is handled again, but not before d from now;
// it counts as an attempt. A negative d is zero. It is never nil, even for a nil
// err.
func RetryAfter(d time.Duration, err error) error {
	return &Error{Code: Retry, After: max(d, 0), Err: err}
}

// invalid is an [Error] with code Invalid and a message.
func invalid(format string, args ...any) *Error {
	return &Error{Code: Invalid, Message: fmt.Sprintf(format, args...)}
}

// quote shows a value in an error message, cut where it is long.
func quote(value string) string {
	const most = 64
	if len(value) <= most {
		return fmt.Sprintf("%q", value)
	}
	return fmt.Sprintf("%q... (%d bytes)", value[:most], len(value))
}
