// Package idempotency remembers which messages were handled, so that none takes
// effect twice, however often it is delivered.
//
// A [Store] keeps one record for each message and consumer group. The agent's
// router begins the record before the handler runs, completes it with the
// handler's outputs before these are published, and settles it once they are
// confirmed. A crash anywhere in between is answered from the record: the same
// outputs, byte for byte, and no second run of a handler that has succeeded.
//
//	in progress ─Complete→ completed ─Settle→ settled
//	     │ ├──Release→ released (the next Begin acquires it)
//	     │ └──Fail→ failed (until an operator sends the message again)
//	     └─ its lease ends: the next Begin acquires it
//
// # Identity
//
// A record is named by the system, the consumer group, the type's name, and the
// message's idempotency key, else its source and id ([KeyOf]). Its fingerprint
// is the SHA-256 of type, version and payload as they were received: the same
// key with another fingerprint is a mistake of the sender and is refused.
//
// # Tokens
//
// Every acquisition has a random [Token]. What does not hold the record's token
// changes nothing: a process that was paused for longer than its lease cannot
// complete, so it cannot publish. Tokens are compared for equality, because a
// counter repeats after a record has expired.
//
// # Effects elsewhere
//
// A handler may start more than once, so what it does in other systems needs
// more than the record: [EffectKey] is the same for every attempt at one
// message, for services that take an idempotency key; [Step] runs a part of the
// handler once and remembers its result.
//
// # Without the router
//
// [Middleware] puts the same around any [envelope.Handler], for those who use
// the transport layer or Watermill directly.
package idempotency
