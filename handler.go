package anywire

import (
	"context"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/router"
)

// Envelope is the message that a handler with this context handles: its
// attributes, and in Attempt the number of the running attempt, from 1. It is
// read-only. Outside a handler it is nil.
func Envelope(ctx context.Context) *envelope.Envelope { return router.Input(ctx) }

// Emit adds one more output to what the running handler answers. It is published
// when the handler has returned without an error, to the topic of [WithTopic],
// else to what the agent produces. Key, correlation and trace are the input's
// unless an option says otherwise; id and source are always the agent's own.
//
// An error says what is wrong with the message, and fails the attempt even if
// the handler ignores it. Outside a handler, and after it has returned, Emit is
// an error. It may be called by several goroutines of one handler.
func Emit(ctx context.Context, v Typed, o ...SendOption) error {
	e, err := envelope.New(v, o...)
	if err != nil {
		return router.Refuse(ctx, err)
	}
	return router.Emit(ctx, e)
}
