package anywire

import (
	"context"
	"fmt"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/router"
)

// Publish sends v to topic and returns when the broker has it: nil means that it
// is as durable as the broker's settings make it. It works from [New] on and
// opens the topic's transport on first use. ctx bounds the wait, also for room in
// a bounded topic.
//
// Inside a handler it is refused with [Unsupported], since a retry would publish
// again: use [Emit], or [WithImmediate] to mean it.
func (a *App) Publish(ctx context.Context, topic string, v Typed, o ...SendOption) error {
	e, err := envelope.New(v, o...)
	if err != nil {
		return err
	}
	inHandler := router.Input(ctx) != nil
	switch {
	case inHandler && !e.Immediate():
		return &Error{Code: Unsupported, Message: fmt.Sprintf(
			"publish to %q inside a handler: a retry would publish again: use Emit, or WithImmediate to mean it", topic)}
	case topic == "":
		return &Error{Code: Invalid, Message: "publish without a topic"}
	case e.Topic != "" && e.Topic != topic:
		return &Error{Code: Invalid, Message: fmt.Sprintf("publish to %q, and WithTopic says %q: give one", topic, e.Topic)}
	}
	e.Topic = topic
	if !inHandler {
		return a.publisher().Publish(ctx, e)
	}
	_, err = a.publisher().Send(ctx, []*envelope.Envelope{e}, func(string) bool { return true })
	return err
}

// publisher is the way out, with the middlewares that there are by now.
func (a *App) publisher() *router.Sender {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.sender == nil {
		a.prepare()
		a.sender = router.NewSender(a.links.route, a.publishMiddleware...)
	}
	return a.sender
}
