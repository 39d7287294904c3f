package anywire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/router"
)

// registered are the handlers of one agent.
type registered struct {
	agent   string
	place   string // of the first registration
	answers string // where a handler that answers was registered; empty: none does
	inputs  []input
	outputs []string // wire types, as far as signatures show them
}

// input is one handler.
type input struct {
	wire  string // empty: every other type
	place string
	route router.Route
}

// declared is a Go type that claimed a wire type.
type declared struct {
	typ   reflect.Type
	place string
}

// HandleOption adds behaviour to one handler. Wiring and policy stand in the
// configuration.
type HandleOption func(*handleOptions)

type handleOptions struct{ middleware []envelope.Middleware }

// WithMiddleware puts middlewares around every attempt of this handler, inside
// those of [App.Use], the first outermost.
func WithMiddleware(m ...envelope.Middleware) HandleOption {
	return func(o *handleOptions) { o.middleware = append(o.middleware, m...) }
}

// Handle registers fn as the handler of agent for messages of type In. Each
// answer goes to what the agent produces. An agent with several inputs is
// registered once for each.
//
// fn must be safe for concurrent use. What its error means is said in the
// package documentation. Handle panics on a programmer's mistake: a malformed
// or doubly claimed wire type, an input that the agent already handles, an In
// that is an interface, a nil function, option or middleware.
func Handle[In, Out Typed](app *App, agent string, fn func(ctx context.Context, in In) (Out, error), o ...HandleOption) {
	app.register(registration{
		agent: agent, place: caller(), in: reflect.TypeFor[In](), out: reflect.TypeFor[Out](), options: o,
		handle: answering(agent, fn),
	})
}

// answering makes an envelope handler of a function; nil of a nil one.
func answering[In, Out Typed](agent string, fn func(context.Context, In) (Out, error)) envelope.Handler {
	if fn == nil {
		return nil
	}
	return func(ctx context.Context, in *envelope.Envelope) ([]*envelope.Envelope, error) {
		message, err := decode[In](in)
		if err != nil {
			return nil, err
		}
		answer, err := fn(ctx, message)
		if err != nil {
			return nil, err
		}
		e, err := envelope.New(answer)
		if err != nil {
			return nil, fmt.Errorf("answer of agent %q: %w", agent, err)
		}
		return []*envelope.Envelope{e}, nil
	}
}

// Consume registers fn as the handler of agent for messages of type In. It
// answers nothing, though it may [Emit]. Otherwise it is as [Handle].
func Consume[In Typed](app *App, agent string, fn func(ctx context.Context, in In) error, o ...HandleOption) {
	app.register(registration{
		agent: agent, place: caller(), in: reflect.TypeFor[In](), options: o, handle: consuming(fn),
	})
}

// consuming is answering, for a function without an answer.
func consuming[In Typed](fn func(context.Context, In) error) envelope.Handler {
	if fn == nil {
		return nil
	}
	return func(ctx context.Context, in *envelope.Envelope) ([]*envelope.Envelope, error) {
		message, err := decode[In](in)
		if err != nil {
			return nil, err
		}
		return nil, fn(ctx, message)
	}
}

// HandleEnvelope registers h as the handler of agent for every type that no
// other handler of the agent names. What it returns is published: to the
// envelope's Topic where it is set, else to what the agent produces. The
// envelopes are copied and completed: id, source, causation, and the input's key
// and correlation where they have none.
func (a *App) HandleEnvelope(agent string, h envelope.Handler, o ...HandleOption) {
	a.register(registration{agent: agent, place: caller(), options: o, handle: h})
}

// Declare names message types that no handler's signature shows, because they
// are emitted or published: validation and the graph then know them.
func (a *App) Declare(types ...Typed) {
	at := caller()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mustBeOpen("Declare")
	for _, v := range types {
		a.claim(reflect.TypeOf(v), "declared type", at)
	}
}

// registration is one call of Handle and its kin.
type registration struct {
	agent, place string
	in, out      reflect.Type // nil: any, none
	handle       envelope.Handler
	options      []HandleOption
}

func (a *App) register(r registration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	who := fmt.Sprintf("agent %q", r.agent)
	a.mustBeOpen("a handler of " + who)
	if r.agent == "" {
		panic("anywire: a handler at " + r.place + " has no agent name")
	}
	if r.handle == nil {
		panic("anywire: " + who + " at " + r.place + ": the handler is nil")
	}
	to := a.handlers[r.agent]
	if to == nil {
		to = &registered{agent: r.agent, place: r.place}
		a.handlers[r.agent] = to
	}
	next := input{place: r.place}
	if r.in != nil {
		next.wire = a.claim(r.in, "input of "+who, r.place)
	}
	to.mustBeNew(next)
	if r.out != nil {
		to.answers = r.place
		to.outputs = append(to.outputs, a.claim(r.out, "answer of "+who, r.place))
	}
	next.route = routeOf(next.wire, r.wrapped())
	to.inputs = append(to.inputs, next)
}

func (r *registered) mustBeNew(next input) {
	at := slices.IndexFunc(r.inputs, func(i input) bool { return i.wire == next.wire })
	if at < 0 {
		return
	}
	what := next.wire
	if what == "" {
		what = "envelopes"
	}
	panic(fmt.Sprintf("anywire: agent %q handles %s twice: at %s and at %s", r.agent, what, r.inputs[at].place, next.place))
}

func routeOf(wire string, h envelope.Handler) router.Route {
	if wire == "" {
		return router.Route{Handle: h}
	}
	name, version, err := envelope.ParseType(wire)
	if err != nil {
		panic("anywire: " + err.Error()) // claim has checked it
	}
	return router.Route{Type: name, Version: version, Handle: h}
}

// wrapped is the handler with its own middlewares around it.
func (r *registration) wrapped() envelope.Handler {
	var o handleOptions
	for _, set := range r.options {
		if set == nil {
			panic(fmt.Sprintf("anywire: agent %q at %s: an option is nil", r.agent, r.place))
		}
		set(&o)
	}
	mustNotBeNil(fmt.Sprintf("agent %q at %s: WithMiddleware", r.agent, r.place), o.middleware)
	h := r.handle
	for _, m := range slices.Backward(o.middleware) {
		h = m(h)
	}
	return h
}

// mustNotBeNil panics where one of several middlewares is nil.
func mustNotBeNil[M ~func(F) F, F any](where string, middlewares []M) {
	for i, m := range middlewares {
		if m == nil {
			panic(fmt.Sprintf("anywire: %s: middleware %d of %d is nil", where, i+1, len(middlewares)))
		}
	}
}

// claim notes that a Go type stands for its wire type, and panics where that
// cannot be. The caller holds the lock.
func (a *App) claim(t reflect.Type, role, place string) string {
	fail := func(format string, args ...any) {
		panic(fmt.Sprintf("anywire: %s, type %v at %s: ", role, t, place) + fmt.Sprintf(format, args...))
	}
	if t == nil || t.Kind() == reflect.Interface {
		fail("an interface says no wire type: use a concrete type, or HandleEnvelope")
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	wire, ok := wireTypeOf(t)
	if !ok {
		fail("WireType panics on a zero value: it must be a constant")
	}
	if from, promoted := promotedFrom(t, wire); promoted {
		fail("its wire type %q is that of the embedded %v: give it a WireType method of its own", wire, from)
	}
	if _, _, err := envelope.ParseType(wire); err != nil {
		fail("%v", err)
	}
	if first, taken := a.types[wire]; taken && first.typ != t {
		fail("wire type %q is claimed by %v at %s: one name stands for one type", wire, first.typ, first.place)
	} else if !taken {
		a.types[wire] = declared{t, place}
	}
	return wire
}

// wireTypeOf asks a zero value.
func wireTypeOf(t reflect.Type) (wire string, ok bool) {
	defer func() {
		if recover() != nil {
			wire, ok = "", false
		}
	}()
	v, isTyped := reflect.TypeAssert[Typed](reflect.New(t))
	if !isTyped {
		return "", false
	}
	return v.WireType(), true
}

// promotedFrom finds the embedded message that a type has its wire type from.
func promotedFrom(t reflect.Type, wire string) (reflect.Type, bool) {
	if t.Kind() != reflect.Struct {
		return nil, false
	}
	for f := range t.Fields() {
		if !f.Anonymous || f.Type.Kind() == reflect.Interface {
			continue
		}
		embedded := f.Type
		if embedded.Kind() == reflect.Pointer {
			embedded = embedded.Elem()
		}
		if inner, ok := wireTypeOf(embedded); ok && inner == wire {
			return embedded, true
		}
	}
	return nil, false
}

// decode reads the payload. What cannot be read is a dead letter at once: no
// retry would read it.
func decode[In Typed](in *envelope.Envelope) (In, error) {
	var message In
	err := in.Decode(&message)
	if err == nil && isNull(in.Data) && !takesNull(reflect.TypeFor[In]()) {
		err = errors.New("the payload is null")
	}
	if err == nil {
		return message, nil
	}
	return message, &Error{Code: envelope.Undecodable, Message: "payload of " + in.WireType(), Err: withoutPayload(err)}
}

// isNull reports whether JSON is null.
func isNull(data []byte) bool { return string(bytes.TrimSpace(data)) == "null" }

// takesNull reports whether null is a value of a type: an empty slice or map. A
// struct would be left as it was, all zero, and a pointer nil.
func takesNull(t reflect.Type) bool { return t.Kind() == reflect.Slice || t.Kind() == reflect.Map }

// withoutPayload drops the quoted input from a JSON syntax error's chain: dead
// letters hold the payload itself, logs must not.
func withoutPayload(err error) error {
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("field %s: JSON %s where %v is wanted, at byte %d", e.Field, strings.Fields(e.Value + " value")[0], e.Type, e.Offset)
	}
	return err
}

// caller is the place that called the caller's caller, as FILE:LINE.
func caller() string {
	_, file, line, ok := runtime.Caller(2)
	if !ok {
		return "an unknown place"
	}
	if i := strings.LastIndexByte(file, '/'); i >= 0 {
		if j := strings.LastIndexByte(file[:i], '/'); j >= 0 {
			file = file[j+1:]
		}
	}
	return fmt.Sprintf("%s:%d", file, line)
}
