package anywire_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anywire/anywire"
	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/memory"
)

func TestFromPublishToBrief(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		app := newsroom(&anywire.Options{Config: newsroomConfig()})
		if err := app.Publish(t.Context(), "tasks.research", Task{"postgres 17"}); err != nil { // before Run
			t.Fatal(err)
		}
		start(t, app)
		time.Sleep(time.Second)
		synctest.Wait()
		briefs := on(t, app, "briefs")
		if len(briefs) != 1 {
			t.Fatalf("briefs %v", briefs)
		}
		var brief Brief
		if err := briefs[0].Decode(&brief); err != nil || brief.Text != "brief: 8 facts about postgres 17" {
			t.Errorf("brief %v, %v", brief, err)
		}
		if e := briefs[0]; e.Hops != 2 || e.Source != "/agents/writer" || e.CorrelationID == e.ID {
			t.Errorf("envelope %+v", e)
		}
	})
}

func TestAppsShareNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		one, two := newsroom(&anywire.Options{Config: newsroomConfig()}), newsroom(&anywire.Options{Config: newsroomConfig()})
		start(t, one)
		start(t, two)
		if err := one.Publish(t.Context(), "tasks.research", Task{"x"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if a, b := len(on(t, one, "briefs")), len(on(t, two, "briefs")); a != 1 || b != 0 {
			t.Errorf("%d and %d briefs", a, b)
		}
	})
}

func TestSeveralInputsAndEmit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := &config.Config{Agents: map[string]config.Agent{"a": {Consumes: "in", Produces: "out"}}}
		app := anywire.New(&anywire.Options{Config: cfg})
		anywire.Handle(app, "a", research)
		anywire.Consume(app, "a", func(ctx context.Context, b Brief) error {
			if in := anywire.Envelope(ctx); in.Type != "brief" || in.Attempt != 1 {
				t.Errorf("envelope %+v", in)
			}
			if err := anywire.Emit(ctx, b, anywire.WithKey("k")); err != nil {
				return err
			}
			return anywire.Emit(ctx, Task{}, anywire.WithTopic("audit"))
		})
		start(t, app)
		for _, v := range []anywire.Typed{Task{"x"}, Brief{"y"}} {
			if err := app.Publish(t.Context(), "in", v); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		if a, b := len(on(t, app, "out")), len(on(t, app, "audit")); a != 2 || b != 1 {
			t.Errorf("%d answers, %d audits", a, b)
		}
	})
}

func TestUndecodablePayloadIsADeadLetterAtOnce(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ data, want string }{
		"syntax": {`{"Topic":`, "unexpected end of JSON input"},
		"type":   {`{"Topic":4711}`, "field Topic: JSON number where string is wanted"},
		"null":   {`null`, "the payload is null"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				cfg := &config.Config{Agents: map[string]config.Agent{"a": {Consumes: "in"}}}
				app := anywire.New(&anywire.Options{Config: cfg})
				anywire.Consume(app, "a", func(context.Context, *Task) error {
					t.Error("handled")
					return nil
				})
				start(t, app)
				if err := app.Publish(t.Context(), "in", envelope.Raw{Type: "research.task@1", Data: []byte(test.data)}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
				dead := on(t, app, "a.dead")
				if len(dead) != 1 {
					t.Fatalf("dead letters %v", dead)
				}
				if got := dead[0].Reserved(envelope.AttrDeadLetterReason); got != string(envelope.Undecodable) {
					t.Errorf("reason %q", got)
				}
				if got := dead[0].Reserved(envelope.AttrDeadLetterError); !strings.Contains(got, test.want) || strings.Contains(got, "4711") {
					t.Errorf("error %q", got)
				}
			})
		})
	}
}

func TestNullIsUndecodableForAStructToo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := &config.Config{Agents: map[string]config.Agent{"a": {Consumes: "in"}}}
		app := anywire.New(&anywire.Options{Config: cfg})
		anywire.Consume(app, "a", func(context.Context, Task) error {
			t.Error("handled")
			return nil
		})
		start(t, app)
		if err := app.Publish(t.Context(), "in", envelope.Raw{Type: "research.task@1", Data: []byte(" null\n")}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		dead := on(t, app, "a.dead")
		if len(dead) != 1 || dead[0].Reserved(envelope.AttrDeadLetterReason) != string(envelope.Undecodable) {
			t.Errorf("dead letters %v", dead)
		}
	})
}

func TestNilAnswerIsInvalid(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := &config.Config{Agents: map[string]config.Agent{"a": {Consumes: "in", Produces: "out"}}}
		app := anywire.New(&anywire.Options{Config: cfg})
		anywire.Handle(app, "a", func(context.Context, Task) (*Brief, error) { return nil, nil })
		start(t, app)
		if err := app.Publish(t.Context(), "in", Task{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		dead := on(t, app, "a.dead")
		if len(dead) != 1 || dead[0].Reserved(envelope.AttrDeadLetterReason) != string(envelope.Invalid) {
			t.Errorf("dead letters %v", dead)
		}
	})
}

func TestPublishInsideAHandler(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := &config.Config{Agents: map[string]config.Agent{"a": {Consumes: "in"}}}
		app := anywire.New(&anywire.Options{Config: cfg})
		anywire.Consume(app, "a", func(ctx context.Context, task Task) error {
			if err := app.Publish(ctx, "other", task); !errors.Is(err, anywire.Unsupported) {
				t.Errorf("publish with a handler's context: %v", err)
			}
			return app.Publish(ctx, "other", task, anywire.WithImmediate())
		})
		start(t, app)
		if err := app.Publish(t.Context(), "in", Task{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if n := len(on(t, app, "other")); n != 1 {
			t.Errorf("%d published", n)
		}
	})
}

func TestProducesNoneDropsAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := &config.Config{Agents: map[string]config.Agent{"a": {Consumes: "in", Produces: config.None}}}
		app := anywire.New(&anywire.Options{Config: cfg})
		anywire.Handle(app, "a", research)
		start(t, app)
		if err := app.Publish(t.Context(), "in", Task{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if h := app.Health().Agents[0]; h.Handled != 1 || h.DeadLettered != 0 {
			t.Errorf("health %+v", h)
		}
	})
}

func TestMiddlewareAndPublishMiddleware(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var order []string
		note := func(s string) {
			mu.Lock()
			defer mu.Unlock()
			order = append(order, s)
		}
		around := func(name string) envelope.Middleware {
			return func(next envelope.Handler) envelope.Handler {
				return func(ctx context.Context, in *envelope.Envelope) ([]*envelope.Envelope, error) {
					note(name)
					return next(ctx, in)
				}
			}
		}
		cfg := &config.Config{Agents: map[string]config.Agent{"a": {Consumes: "in", Produces: "out"}}}
		app := anywire.New(&anywire.Options{Config: cfg})
		anywire.Handle(app, "a", research, anywire.WithMiddleware(around("own")))
		app.Use(around("outer"), around("inner"))
		app.UsePublish(func(next envelope.PublishFunc) envelope.PublishFunc {
			return func(ctx context.Context, e *envelope.Envelope) error {
				note("to " + e.Topic)
				return next(ctx, e)
			}
		})
		start(t, app)
		if err := app.Publish(t.Context(), "in", Task{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got := strings.Join(order, ", "); got != "to in, outer, inner, own, to out" {
			t.Errorf("order %q", got)
		}
	})
}

func TestBeside(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	for name, test := range map[string]struct{ result, want error }{"nil": {nil, nil}, "error": {boom, boom}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				app := newsroom(&anywire.Options{Config: newsroomConfig()})
				var other atomic.Bool
				app.Beside(func(context.Context) error { return test.result })
				app.Beside(func(ctx context.Context) error {
					<-ctx.Done()
					other.Store(true)
					return ctx.Err()
				})
				if err := app.Run(t.Context()); !errors.Is(err, test.want) {
					t.Errorf("run: %v, want %v", err, test.want)
				}
				if !other.Load() {
					t.Error("Run did not wait for what ran beside it")
				}
			})
		})
	}
}

func TestDrainLetsHandlersFinish(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begun := make(chan struct{})
		cfg := &config.Config{Agents: map[string]config.Agent{"a": {Consumes: "in", Produces: "out"}}}
		app := anywire.New(&anywire.Options{Config: cfg})
		published := 0
		app.UsePublish(func(next envelope.PublishFunc) envelope.PublishFunc {
			return func(ctx context.Context, e *envelope.Envelope) error {
				if e.Topic == "out" {
					published++
				}
				return next(ctx, e)
			}
		})
		anywire.Handle(app, "a", func(ctx context.Context, task Task) (Facts, error) {
			close(begun)
			time.Sleep(10 * time.Second)
			if ctx.Err() != nil {
				t.Error("the context of a running handler ended with the drain")
			}
			return research(ctx, task)
		})
		r := start(t, app)
		if err := app.Publish(t.Context(), "in", Task{}); err != nil {
			t.Fatal(err)
		}
		<-begun
		synctest.Wait() // the inbox is read, too
		if h := app.Health(); !h.Ready || !h.Live {
			t.Errorf("health %+v", h)
		}
		go func() {
			time.Sleep(time.Second)
			if h := app.Health(); h.Ready || !h.Live || h.Reason != "draining" {
				t.Errorf("health while draining %+v", h)
			}
		}()
		if err := app.Shutdown(t.Context()); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := r.stop(); err != nil || published != 1 {
			t.Errorf("run: %v, %d outputs", err, published)
		}
		if err := app.Publish(t.Context(), "in", Task{}); err == nil {
			t.Error("publish after the end")
		}
		if err := errors.Join(app.Shutdown(t.Context()), app.Close(), app.Close()); err != nil {
			t.Errorf("again: %v", err)
		}
	})
}

func TestForcedShutdown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begun := make(chan struct{})
		cfg := &config.Config{Agents: map[string]config.Agent{"a": {Consumes: "in"}}}
		app := anywire.New(&anywire.Options{Config: cfg})
		anywire.Consume(app, "a", func(ctx context.Context, _ Task) error {
			close(begun)
			<-ctx.Done()
			return ctx.Err()
		})
		ran := make(chan error, 1)
		go func() { ran <- app.Run(t.Context()) }()
		if err := app.Publish(t.Context(), "in", Task{}); err != nil {
			t.Fatal(err)
		}
		<-begun
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := app.Shutdown(ctx); !errors.Is(err, transport.ErrForced) {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-ran; !errors.Is(err, transport.ErrForced) {
			t.Errorf("run: %v", err)
		}
	})
}

func TestRunOnAClosedApp(t *testing.T) {
	t.Parallel()
	app := newsroom(&anywire.Options{Config: newsroomConfig()})
	if err := app.Close(); err != nil {
		t.Fatal(err)
	}
	if err := app.Run(t.Context()); !errors.Is(err, driver.ErrClosed) {
		t.Errorf("run: %v", err)
	}
}

func TestRunWithNothingToRunWarns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log lines
		app := anywire.New(&anywire.Options{Logger: log.logger()})
		r := start(t, app)
		time.Sleep(time.Second)
		if got := log.String(); !strings.Contains(got, "level=WARN") || !strings.Contains(got, "nothing runs here") {
			t.Errorf("log %q", got)
		}
		if err := r.stop(); err != nil {
			t.Errorf("run: %v", err)
		}
		if h := app.Health(); h.Ready || !h.Live || h.Reason != "stopped" {
			t.Errorf("health %+v", h)
		}
	})
}

func TestRunsOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		app := newsroom(&anywire.Options{Config: newsroomConfig()})
		r := start(t, app)
		synctest.Wait()
		if err := app.Run(t.Context()); !errors.Is(err, anywire.Unsupported) {
			t.Errorf("second run: %v", err)
		}
		defer func() {
			if recover() == nil {
				t.Error("a handler was registered after Run")
			}
		}()
		defer r.stop()
		anywire.Consume(app, "late", consume[Task])
	})
}

func TestCloseWithoutRun(t *testing.T) {
	t.Parallel()
	app := newsroom(&anywire.Options{Config: newsroomConfig()})
	if err := app.Publish(t.Context(), "tasks.research", Task{}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(app.Close(), app.Close()); err != nil {
		t.Error(err)
	}
	if err := app.Publish(t.Context(), "tasks.research", Task{}); err == nil {
		t.Error("publish after Close")
	}
	if h := app.Health(); h.Ready || !h.Live {
		t.Errorf("health %+v", h)
	}
}

func TestCyclesAreWarnedOf(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log lines
		cfg := &config.Config{Agents: map[string]config.Agent{
			"ping": {Consumes: "a", Produces: "b"}, "pong": {Consumes: "b", Produces: "a"},
		}}
		app := anywire.New(&anywire.Options{Config: cfg, Logger: log.logger()})
		for _, name := range []string{"ping", "pong"} {
			app.HandleEnvelope(name, func(_ context.Context, in *envelope.Envelope) ([]*envelope.Envelope, error) {
				return []*envelope.Envelope{in}, nil
			})
		}
		start(t, app)
		if err := app.Publish(t.Context(), "a", Task{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if !strings.Contains(log.String(), "max_hops=32") || !strings.Contains(log.String(), "[ping pong]") {
			t.Errorf("log %s", log.String())
		}
		if n := len(on(t, app, "ping.dead")) + len(on(t, app, "pong.dead")); n != 1 {
			t.Errorf("%d dead letters", n)
		}
	})
}

func TestLogsNoPayload(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log lines
		cfg := &config.Config{Agents: map[string]config.Agent{"a": {Consumes: "in"}}}
		app := anywire.New(&anywire.Options{Config: cfg, Logger: log.logger()})
		anywire.Consume(app, "a", func(context.Context, Task) error { return errors.New("no luck") })
		start(t, app)
		if err := app.Publish(t.Context(), "in", Task{"SECRET"}, anywire.WithExtension("tenant", "SECRET")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		text := log.String()
		if !strings.Contains(text, "no luck") || strings.Contains(text, "SECRET") {
			t.Errorf("log %s", text)
		}
		if n := strings.Count(text, "message is a dead letter"); n != 1 {
			t.Errorf("%d lines of the dead letter:\n%s", n, text)
		}
	})
}

func TestACircleDoesNotWaitForItself(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := &config.Config{
			Transports: map[string]config.Transport{"memory": {Options: memory.Options{Capacity: 4}}},
			Agents: map[string]config.Agent{
				"doubler": {Consumes: "in", Produces: "in", Policy: config.Policy{Concurrency: 2}},
			},
		}
		app := anywire.New(&anywire.Options{Config: cfg})
		app.HandleEnvelope("doubler", func(_ context.Context, in *envelope.Envelope) ([]*envelope.Envelope, error) {
			if in.Hops == 5 {
				return nil, nil
			}
			return []*envelope.Envelope{in, in}, nil
		})
		start(t, app)
		for range 4 {
			if err := app.Publish(t.Context(), "in", Task{}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		if h := app.Health().Agents[0]; h.Handled != 4*63 || h.InFlight != 0 {
			t.Errorf("health %+v, want %d handled", h, 4*63)
		}
	})
}

func TestTransportsOpenOnceAndAreClosed(t *testing.T) {
	t.Parallel()
	var opened, closed atomic.Int64
	kind := transport.NewKind("counted",
		func(memory.Options) driver.Capabilities { return memory.Capabilities(memory.Options{}) },
		func(ctx context.Context, o memory.Options) (driver.Driver, error) {
			opened.Add(1)
			d, err := memory.Open(ctx, o)
			return &counted{d, &closed}, err
		})
	app := anywire.New(&anywire.Options{
		Kinds:  []anywire.Kind{kind},
		Config: &config.Config{Transport: "counted", Transports: map[string]config.Transport{"counted": {}}},
	})
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			if err := app.Publish(t.Context(), "in", Task{}); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if err := errors.Join(app.Close(), app.Close()); err != nil || opened.Load() != 1 || closed.Load() != 1 {
		t.Errorf("opened %d times, closed %d times, %v", opened.Load(), closed.Load(), err)
	}
}

type counted struct {
	driver.Driver

	closed *atomic.Int64
}

func (c *counted) Close(ctx context.Context) error {
	c.closed.Add(1)
	return c.Driver.Close(ctx)
}

func TestObserveSeesBothLayers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		seen := map[string]int{}
		cfg := newsroomConfig()
		app := newsroom(&anywire.Options{Config: cfg, Observe: func(e transport.Event) {
			mu.Lock()
			defer mu.Unlock()
			seen[fmt.Sprintf("%T", e)]++
		}})
		start(t, app)
		if err := app.Publish(t.Context(), "tasks.research", Task{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if seen["router.Attempted"] != 2 || seen["transport.Published"] != 3 || seen["transport.Settled"] == 0 {
			t.Errorf("events %v", seen)
		}
	})
}
