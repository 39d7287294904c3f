package router

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
)

// Sender publishes envelopes to their Topic, on whichever transport it lives. It
// is safe for concurrent use.
type Sender struct {
	route   func(topic string) (*transport.Transport, error)
	wrapped envelope.PublishFunc // nil: no middleware
}

// NewSender returns a sender that asks route where a topic lives, with
// middlewares around every envelope, outermost first.
func NewSender(route func(topic string) (*transport.Transport, error), middleware ...envelope.PublishMiddleware) *Sender {
	s := &Sender{route: route}
	if len(middleware) == 0 {
		return s
	}
	s.wrapped = s.one
	for _, m := range slices.Backward(middleware) {
		s.wrapped = m(s.wrapped)
	}
	return s
}

// Send publishes es, in their order per topic, and returns when the brokers have
// confirmed them. It returns those that failed, in order, and why the first of
// them did. Inside one process a topic for which overflow says so takes more
// than its bound instead of letting the sender wait; a nil overflow always waits.
func (s *Sender) Send(
	ctx context.Context, es []*envelope.Envelope, overflow func(topic string) bool,
) ([]*envelope.Envelope, error) {
	if s.wrapped != nil {
		return s.sendWrapped(ctx, es, overflow)
	}
	if sameTopic(es) {
		return s.batch(ctx, es, overflow)
	}
	var failed []*envelope.Envelope
	var errs []error
	for _, topic := range topicsOf(es) {
		left, err := s.batch(ctx, ofTopic(es, topic), overflow)
		if err != nil {
			failed, errs = append(failed, left...), append(errs, err)
		}
	}
	return failed, errors.Join(errs...)
}

// Publish publishes one envelope to its Topic and waits for room where there is
// none.
func (s *Sender) Publish(ctx context.Context, e *envelope.Envelope) error {
	if s.wrapped != nil {
		return s.wrapped(ctx, e)
	}
	return s.one(ctx, e)
}

// sendWrapped stops at the first failure, so that nothing overtakes it.
func (s *Sender) sendWrapped(
	ctx context.Context, es []*envelope.Envelope, overflow func(string) bool,
) ([]*envelope.Envelope, error) {
	for i, e := range es {
		each := ctx
		if overflow != nil && overflow(e.Topic) {
			each = driver.WithOverflow(ctx)
		}
		if err := s.wrapped(each, e); err != nil {
			return es[i:], err
		}
	}
	return nil, nil
}

func (s *Sender) one(ctx context.Context, e *envelope.Envelope) error {
	t, err := s.at(e.Topic)
	if err != nil {
		return err
	}
	return t.Publish(ctx, e.Topic, e)
}

// batch publishes envelopes of one topic.
func (s *Sender) batch(
	ctx context.Context, es []*envelope.Envelope, overflow func(string) bool,
) ([]*envelope.Envelope, error) {
	t, err := s.at(es[0].Topic)
	if err != nil {
		return es, err
	}
	if overflow != nil && t.Capabilities().InProcess && overflow(es[0].Topic) {
		ctx = driver.WithOverflow(ctx)
	}
	err = t.Publish(ctx, es[0].Topic, es...)
	var some driver.BatchError
	if !errors.As(err, &some) {
		if err == nil {
			return nil, nil
		}
		return es, err
	}
	failed := make([]*envelope.Envelope, 0, len(some))
	for i, e := range es {
		if some[i] != nil {
			failed = append(failed, e)
		}
	}
	return failed, err
}

func (s *Sender) at(topic string) (*transport.Transport, error) {
	if s.route == nil {
		return nil, &envelope.Error{Code: envelope.Invalid, Message: fmt.Sprintf("topic %q lives on no transport", topic)}
	}
	return s.route(topic)
}

func sameTopic(es []*envelope.Envelope) bool {
	for _, e := range es[1:] {
		if e.Topic != es[0].Topic {
			return false
		}
	}
	return true
}

// topicsOf lists the topics of es in the order of their first use.
func topicsOf(es []*envelope.Envelope) []string {
	var topics []string
	for _, e := range es {
		if !slices.Contains(topics, e.Topic) {
			topics = append(topics, e.Topic)
		}
	}
	return topics
}

func ofTopic(es []*envelope.Envelope, topic string) []*envelope.Envelope {
	var of []*envelope.Envelope
	for _, e := range es {
		if e.Topic == topic {
			of = append(of, e)
		}
	}
	return of
}
