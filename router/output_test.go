package router_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/router"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
)

// refusing is a driver that does not publish to one topic until it may.
type refusing struct {
	driver.Driver

	topic string
	allow atomic.Bool
	tries atomic.Int64
}

func (r *refusing) Publish(ctx context.Context, topic string, msgs []*driver.Message) error {
	if topic == r.topic && !r.allow.Load() {
		r.tries.Add(1)
		return errors.New("no")
	}
	return r.Driver.Publish(ctx, topic, msgs)
}

// prompt is a driver that cannot deliver later.
type prompt struct{ driver.Driver }

func (p prompt) Capabilities() driver.Capabilities {
	caps := p.Driver.Capabilities()
	caps.DelayedPublish = false
	return caps
}

func output(data string, o ...envelope.Option) *envelope.Envelope {
	e, err := envelope.New(envelope.Raw{Type: "test.out@1", Data: []byte(data)}, o...)
	if err != nil {
		panic(err)
	}
	return e
}

func TestOutputsInheritAndGoWhereTheyShould(t *testing.T) {
	inWorld(t, func(w *world) {
		w.handle(func(ctx context.Context, _ *envelope.Envelope) ([]*envelope.Envelope, error) {
			if err := router.Emit(ctx, output("1")); err != nil {
				return nil, err
			}
			err := router.Emit(ctx, output("2", envelope.WithTopic("audit"), envelope.WithKey("own")))
			return []*envelope.Envelope{output("3")}, err
		})
		w.start()
		in := message(envelope.WithKey("k"), envelope.WithCorrelationID("talk"))
		in.TraceParent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
		w.publish(in)
		w.pass(time.Minute)

		outs := w.on("out")
		if len(outs) != 2 || string(outs[0].Data) != "1" || string(outs[1].Data) != "3" {
			w.Fatalf("outputs %v", outs)
		}
		for _, e := range outs {
			if e.Key != "k" || e.CorrelationID != "talk" || e.CausationID != in.ID || e.Hops != 1 ||
				e.Source != "/agents/agent" || e.TraceParent != in.TraceParent {
				w.Errorf("output %+v", e)
			}
		}
		if audit := w.only("audit"); audit.Key != "own" || audit.CausationID != in.ID {
			w.Errorf("output %+v", audit)
		}
	})
}

func TestARepeatedAttemptMakesEqualIDs(t *testing.T) {
	inBubble(t, false, func(w *world) {
		var ids [][]string
		w.options.PublishMiddleware = []envelope.PublishMiddleware{func(next envelope.PublishFunc) envelope.PublishFunc {
			return func(ctx context.Context, e *envelope.Envelope) error {
				ids[len(ids)-1] = append(ids[len(ids)-1], e.ID)
				return next(ctx, e)
			}
		}}
		w.handle(func(context.Context, *envelope.Envelope) ([]*envelope.Envelope, error) {
			ids = append(ids, nil)
			return []*envelope.Envelope{output("same"), output("same"), output("other")}, nil
		})
		w.start()
		in := message()
		w.publish(in, in)
		w.pass(time.Minute)
		if len(ids) != 2 || !slices.Equal(ids[0], ids[1]) || len(ids[0]) != 3 {
			w.Fatalf("ids %v", ids)
		}
		if ids[0][0] == ids[0][1] || ids[0][1] == ids[0][2] {
			w.Errorf("outputs of one attempt share an id: %v", ids[0])
		}
	})
}

func TestUnpublishedOutputsAreSentAgainWithoutTheHandler(t *testing.T) {
	inWorld(t, func(w *world) {
		refusing := &refusing{Driver: w.transport.Driver(), topic: "out"}
		outside := transport.New(refusing, &transport.Options{Name: "outside"})
		w.options.Route = func(string) (*transport.Transport, error) { return outside, nil }
		calls := 0
		w.handle(func(context.Context, *envelope.Envelope) ([]*envelope.Envelope, error) {
			calls++
			return []*envelope.Envelope{output("1"), output("2", envelope.WithTopic("audit"))}, nil
		})
		w.start()
		w.publish(message())
		w.pass(time.Hour)
		if h := w.health(); h.InFlight != 1 || h.DeadLettered != 0 {
			w.Errorf("health %+v", h)
		}
		if n := refusing.tries.Load(); n < 100 {
			w.Errorf("%d tries in an hour", n)
		}
		refusing.allow.Store(true)
		w.pass(time.Minute)
		if len(w.on("out")) != 1 || len(w.on("audit")) != 1 || calls != 1 {
			w.Errorf("%v, %v, %d calls", w.on("out"), w.on("audit"), calls)
		}
		if h := w.health(); h.InFlight != 0 || h.Handled != 1 {
			w.Errorf("health %+v", h)
		}
	})
}

func TestBadOutputsFailTheAttempt(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		handle envelope.Handler
		reason envelope.Code
		text   string
	}{
		"nil":       {returning(nil), envelope.Invalid, "answer 0 is a nil envelope"},
		"no type":   {returning(&envelope.Envelope{SchemaVersion: 1}), envelope.Invalid, "type is empty"},
		"too large": {returning(output(strings.Repeat("x", 1<<20))), envelope.TooLarge, "limits.body"},
		"delayed":   {returning(output("x", envelope.WithDelay(time.Hour))), envelope.Unsupported, "cannot deliver later"},
		"emitted, ignored": {func(ctx context.Context, _ *envelope.Envelope) ([]*envelope.Envelope, error) {
			_ = router.Emit(ctx, &envelope.Envelope{})
			return nil, nil
		}, envelope.Invalid, "type is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				outside := transport.New(prompt{w.transport.Driver()}, nil)
				w.options.Route = func(string) (*transport.Transport, error) { return outside, nil }
				w.agent.Policy = router.Policy{}
				w.handle(test.handle)
				w.start()
				w.publish(message())
				w.pass(time.Minute)
				dead := w.only("agent.dead")
				if got := dead.Reserved(envelope.AttrDeadLetterReason); got != string(test.reason) {
					w.Errorf("reason %q", got)
				}
				if got := dead.Reserved(envelope.AttrDeadLetterError); !strings.Contains(got, test.text) {
					w.Errorf("error %q", got)
				}
				if outs := w.on("out"); len(outs) != 0 {
					w.Errorf("published %v", outs)
				}
			})
		})
	}
}

func returning(outs ...*envelope.Envelope) envelope.Handler {
	return func(context.Context, *envelope.Envelope) ([]*envelope.Envelope, error) { return outs, nil }
}

func TestNowhereToGo(t *testing.T) {
	t.Parallel()
	for name, discard := range map[string]bool{"an error": false, "discarded": true} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.agent.Produces, w.agent.Discard = "", discard
				w.agent.Policy = router.Policy{}
				w.handle(returning(output("x")))
				w.start()
				w.publish(message())
				w.pass(time.Minute)
				if dead := w.on("agent.dead"); len(dead) == 0 != discard {
					w.Errorf("dead letters %v", dead)
				}
			})
		})
	}
}

func TestEmitOutsideAndLate(t *testing.T) {
	inWorld(t, func(w *world) {
		if err := router.Emit(w.Context(), output("x")); !errors.Is(err, envelope.Invalid) {
			w.Errorf("outside: %v", err)
		}
		if router.Input(w.Context()) != nil {
			w.Error("an input outside a handler")
		}
		kept := make(chan context.Context, 1)
		w.handle(func(ctx context.Context, in *envelope.Envelope) ([]*envelope.Envelope, error) {
			if router.Input(ctx) != in {
				w.Error("Input is not the input")
			}
			kept <- ctx
			return nil, nil
		})
		w.start()
		w.publish(message())
		w.pass(time.Second)
		if err := router.Emit(<-kept, output("x")); !errors.Is(err, envelope.Invalid) {
			w.Errorf("late: %v", err)
		}
		if h := w.health(); h.EmittedLate != 1 {
			w.Errorf("health %+v", h)
		}
		if outs := w.on("out"); len(outs) != 0 {
			w.Errorf("published %v", outs)
		}
	})
}

func TestAFailedAttemptPublishesNothing(t *testing.T) {
	inWorld(t, func(w *world) {
		w.agent.Policy = router.Policy{}
		w.handle(func(ctx context.Context, _ *envelope.Envelope) ([]*envelope.Envelope, error) {
			if err := router.Emit(ctx, output("x")); err != nil {
				return nil, err
			}
			return []*envelope.Envelope{output("y")}, errBoom
		})
		w.start()
		w.publish(message())
		w.pass(time.Minute)
		if outs := w.on("out"); len(outs) != 0 {
			w.Errorf("published %v", outs)
		}
	})
}

func TestDeadLettersDoNotTravelOn(t *testing.T) {
	inWorld(t, func(w *world) {
		w.handle(func(_ context.Context, in *envelope.Envelope) ([]*envelope.Envelope, error) {
			return []*envelope.Envelope{in}, nil
		})
		w.start()
		in := message(envelope.WithExtension("tenant", "acme"))
		in.SetReserved(envelope.AttrDeadLetterReason, "rejected")
		w.publish(in)
		w.pass(time.Minute)
		out := w.only("out")
		if out.Reserved(envelope.AttrDeadLetterReason) != "" || out.Extensions["tenant"] != "acme" {
			w.Errorf("extensions %v", out.Extensions)
		}
	})
}
