package router_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/router"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
)

// ok is a handler that succeeds.
func ok(context.Context, *envelope.Envelope) ([]*envelope.Envelope, error) { return nil, nil }

func TestExpiredIsSettledUnhandled(t *testing.T) {
	inWorld(t, func(w *world) {
		h, calls := failing(errBoom)
		w.handle(h)
		w.publish(message(envelope.WithExpiry(time.Now().Add(time.Second))))
		w.pass(2 * time.Second)
		w.start()
		w.pass(time.Minute)
		if len(*calls) != 0 {
			w.Error("an expired message was handled")
		}
		if h := w.health(); h.Expired != 1 || h.InFlight != 0 || h.DeadLettered != 0 {
			w.Errorf("health %+v", h)
		}
		if got := seen[router.Dropped](w); len(got) != 1 || got[0].Reason != envelope.Expired {
			w.Errorf("events %v", got)
		}
	})
}

func TestExpiryEndsRetries(t *testing.T) {
	inWorld(t, func(w *world) {
		h, calls := failing(errBoom)
		w.handle(h)
		w.start()
		w.publish(message(envelope.WithExpiry(time.Now().Add(500 * time.Millisecond))))
		w.pass(time.Hour)
		if h := w.health(); len(*calls) != 3 || h.Expired != 1 || h.DeadLettered != 0 {
			w.Errorf("%d calls, %+v", len(*calls), h)
		}
	})
}

func TestHopLimit(t *testing.T) {
	inWorld(t, func(w *world) {
		w.agent.Topic, w.agent.Produces = "in", "in" // a circle
		calls := 0
		w.handle(func(_ context.Context, in *envelope.Envelope) ([]*envelope.Envelope, error) {
			calls++
			return []*envelope.Envelope{in}, nil
		})
		w.agent.OnCycle = true
		w.start()
		w.publish(message())
		w.pass(time.Hour)
		if calls != 32 {
			w.Errorf("%d handlers passed it on, want 32", calls)
		}
		if got := w.only("agent.dead").Reserved(envelope.AttrDeadLetterReason); got != string(envelope.TooManyHops) {
			w.Errorf("reason %q", got)
		}
	})
}

func TestUnknownTypesAndVersions(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		wire    string
		others  router.Others
		reason  envelope.Code // of the dead letter; empty: none
		text    string
		ignored uint64
	}{
		"known":           {wire: "test.job@2"},
		"unknown version": {wire: "test.job@3", others: router.OthersIgnore, reason: envelope.UnknownVersion, text: "version 3 of test.job is not known: this worker knows 1, 2"},
		"unknown type":    {wire: "test.other@1", reason: envelope.UnknownType, text: `no handler of agent "agent" takes type "test.other": it takes test.job`},
		"ignored":         {wire: "test.other@1", others: router.OthersIgnore, ignored: 1},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.agent.Others = test.others
				w.agent.Routes = []router.Route{
					{Type: "test.job", Version: 1, Handle: ok}, {Type: "test.job", Version: 2, Handle: ok},
				}
				w.start()
				e, err := envelope.New(envelope.Raw{Type: test.wire})
				if err != nil {
					w.Fatal(err)
				}
				w.publish(e)
				w.pass(time.Minute)
				if h := w.health(); h.Ignored != test.ignored || h.InFlight != 0 {
					w.Errorf("health %+v", h)
				}
				if test.reason == "" {
					if dead := w.on("agent.dead"); len(dead) != 0 {
						w.Errorf("dead letters %v", dead)
					}
					return
				}
				dead := w.only("agent.dead")
				if got := dead.Reserved(envelope.AttrDeadLetterReason); got != string(test.reason) {
					w.Errorf("reason %q", got)
				}
				if got := dead.Reserved(envelope.AttrDeadLetterError); got != test.text {
					w.Errorf("error %q", got)
				}
			})
		})
	}
}

func TestUndecodableIsWrapped(t *testing.T) {
	inWorld(t, func(w *world) {
		w.handle(ok)
		w.start()
		raw := &driver.Message{
			Headers: []driver.Header{{Name: "kind", Value: "old"}, {Name: "blob", Value: "\xff\x00"}, {Name: "kind", Value: "twice"}},
			Body:    []byte("not an event"),
		}
		if err := w.transport.Driver().Publish(w.Context(), "in", []*driver.Message{raw}); err != nil {
			w.Fatal(err)
		}
		w.publish(message())
		w.pass(time.Minute)

		dead := w.only("agent.dead")
		if dead.WireType() != "anywire.raw@1" || string(dead.Data) != "not an event" {
			w.Errorf("dead letter %v %q", dead, dead.Data)
		}
		var headers []map[string]string
		if err := json.Unmarshal([]byte(dead.Reserved(envelope.AttrDeadLetterHeaders)), &headers); err != nil {
			w.Fatal(err)
		}
		if len(headers) != 3 || headers[0]["value"] != "old" || headers[1]["base64"] != "/wA=" || headers[2]["value"] != "twice" {
			w.Errorf("headers %v", headers)
		}
		if h := w.health(); h.Handled != 1 || h.DeadLettered != 1 {
			w.Errorf("the rest must go on: %+v", h)
		}
	})
}

func TestMiddlewareStandsAroundEveryAttempt(t *testing.T) {
	inWorld(t, func(w *world) {
		var order []string
		named := func(name string) envelope.Middleware {
			return func(next envelope.Handler) envelope.Handler {
				return func(ctx context.Context, in *envelope.Envelope) ([]*envelope.Envelope, error) {
					order = append(order, name)
					return next(ctx, in)
				}
			}
		}
		w.options.Middleware = []envelope.Middleware{named("a"), named("b")}
		w.agent.Middleware = []envelope.Middleware{named("c")}
		w.agent.Policy = router.Policy{Immediate: 1}
		h, _ := failing(errBoom)
		w.handle(h)
		w.start()
		w.publish(message())
		w.pass(time.Minute)
		if got := strings.Join(order, ""); got != "abcabc" {
			w.Errorf("order %q", got)
		}
	})
}

func TestALostDeadLetterTopicKeepsTheMessage(t *testing.T) {
	inWorld(t, func(w *world) {
		refusing := &refusing{Driver: w.transport.Driver(), topic: "agent.dead"}
		w.agent.Transport = transport.New(refusing, nil)
		h, calls := failing(envelope.Reject(errBoom))
		w.handle(h)
		w.start()
		w.publish(message())
		w.pass(time.Minute)
		if h := w.health(); h.DeadLettered != 0 || h.InFlight != 1 || !strings.Contains(h.Stalled, "dead letter cannot be published") {
			w.Errorf("an original without a dead letter was settled: %+v", h)
		}
		refusing.allow.Store(true)
		w.pass(time.Minute)
		if h := w.health(); h.DeadLettered != 1 || h.InFlight != 0 || h.Stalled != "" || len(*calls) != 1 {
			w.Errorf("%d calls, health %+v", len(*calls), h)
		}
		if got := seen[router.Stalled](w); len(got) < 3 {
			w.Errorf("%d stalls were told", len(got))
		}
		dead := w.only("agent.dead")
		if got := dead.Reserved(envelope.AttrDeadLetterError); got != "rejected: boom" {
			w.Errorf("error %q", got)
		}
	})
}

// losing is a driver whose leases are all lost at the first renewal.
type losing struct{ driver.Driver }

func (l losing) Subscribe(ctx context.Context, sub driver.Subscription) (driver.Source, error) {
	src, err := l.Driver.Subscribe(ctx, sub)
	return losingSource{src}, err
}

type losingSource struct{ driver.Source }

func (losingSource) Extend(_ context.Context, tokens []driver.Token) ([]driver.Token, error) {
	return tokens, nil
}

func TestALostLeaseCancelsAndPublishesNothing(t *testing.T) {
	t.Parallel()
	for name, result := range map[string]error{"success": nil, "rejected": envelope.Reject(errBoom), "failed": errBoom} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.agent.Transport = transport.New(losing{w.transport.Driver()}, nil)
				first := true
				w.handle(func(ctx context.Context, _ *envelope.Envelope) ([]*envelope.Envelope, error) {
					if !first {
						return nil, nil
					}
					first = false
					<-ctx.Done()
					if cause := context.Cause(ctx); !errors.Is(cause, envelope.LeaseLost) {
						w.Errorf("cause %v", cause)
					}
					return []*envelope.Envelope{output("x")}, result
				})
				w.start()
				w.publish(message())
				w.pass(45 * time.Second)
				if first {
					w.Error("the handler was not called")
				}
				if outs, dead := w.on("out"), w.on("agent.dead"); len(outs)+len(dead) != 0 {
					w.Errorf("published %v and %v", outs, dead)
				}
			})
		})
	}
}
