package anywire_test

import (
	"context"
	"fmt"
	"regexp"
	"testing"

	"github.com/anywire/anywire"
	"github.com/anywire/anywire/envelope"
)

type malformed struct{}

func (malformed) WireType() string { return "Research Task" }

type promoted struct{ Task }

type impostor struct{}

func (impostor) WireType() string { return "research.task@1" }

type foreign struct{ Amount int }

// Invoice embeds a foreign struct, which is fine.
type Invoice struct{ *foreign }

func (Invoice) WireType() string { return "invoice@1" }

func consume[T any](context.Context, T) error { return nil }

func TestRegistrationPanics(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		register func(app *anywire.App)
		want     string
	}{
		"malformed": {
			func(app *anywire.App) { anywire.Consume(app, "a", consume[malformed]) },
			`input of agent "a", type anywire_test.malformed at \S+register_test.go:\d+: wire type "Research Task" has no version`,
		},
		"promoted": {
			func(app *anywire.App) { anywire.Consume(app, "a", consume[promoted]) },
			`its wire type "research.task@1" is that of the embedded anywire_test.Task: give it a WireType method of its own`,
		},
		"one name on two types": {
			func(app *anywire.App) {
				anywire.Consume(app, "a", consume[Task])
				anywire.Consume(app, "b", consume[impostor])
			},
			`wire type "research.task@1" is claimed by anywire_test.Task at \S+register_test.go:\d+`,
		},
		"answer of another's name": {
			func(app *anywire.App) {
				anywire.Handle(app, "a", func(context.Context, Task) (impostor, error) { return impostor{}, nil })
			},
			`answer of agent "a", type anywire_test.impostor .* claimed by anywire_test.Task`,
		},
		"twice": {
			func(app *anywire.App) {
				anywire.Consume(app, "a", consume[Task])
				anywire.Handle(app, "a", research)
			},
			`agent "a" handles research.task@1 twice: at \S+register_test.go:\d+ and at \S+register_test.go:\d+`,
		},
		"interface": {
			func(app *anywire.App) { anywire.Consume(app, "a", consume[anywire.Typed]) },
			`type envelope.Typed at \S+: an interface says no wire type`,
		},
		"raw": {
			func(app *anywire.App) { anywire.Consume(app, "a", consume[envelope.Raw]) },
			`type envelope.Raw at \S+: wire type "" has no version`,
		},
		"no agent": {
			func(app *anywire.App) { anywire.Consume(app, "", consume[Task]) },
			`a handler at \S+register_test.go:\d+ has no agent name`,
		},
		"nil handler": {
			func(app *anywire.App) { app.HandleEnvelope("a", nil) },
			`agent "a" at \S+register_test.go:\d+: the handler is nil`,
		},
		"nil function": {
			func(app *anywire.App) { anywire.Consume[Task](app, "a", nil) },
			`agent "a" at \S+register_test.go:\d+: the handler is nil`,
		},
		"nil answering function": {
			func(app *anywire.App) { anywire.Handle[Task, Facts](app, "a", nil) },
			`agent "a" at \S+register_test.go:\d+: the handler is nil`,
		},
		"nil option": {
			func(app *anywire.App) { anywire.Consume(app, "a", consume[Task], nil) },
			`agent "a" at \S+register_test.go:\d+: an option is nil`,
		},
		"nil middleware of a handler": {
			func(app *anywire.App) { anywire.Consume(app, "a", consume[Task], anywire.WithMiddleware(nil)) },
			`agent "a" at \S+register_test.go:\d+: WithMiddleware: middleware 1 of 1 is nil`,
		},
		"nil middleware": {
			func(app *anywire.App) { app.Use(nil) },
			`Use at \S+register_test.go:\d+: middleware 1 of 1 is nil`,
		},
		"nil publish middleware": {
			func(app *anywire.App) { app.UsePublish(nil) },
			`UsePublish at \S+register_test.go:\d+: middleware 1 of 1 is nil`,
		},
		"nil beside": {
			func(app *anywire.App) { app.Beside(nil) },
			`Beside at \S+register_test.go:\d+: the function is nil`,
		},
		"envelopes twice": {
			func(app *anywire.App) {
				h := func(context.Context, *envelope.Envelope) ([]*envelope.Envelope, error) { return nil, nil }
				app.HandleEnvelope("a", h)
				app.HandleEnvelope("a", h)
			},
			`agent "a" handles envelopes twice`,
		},
		"declared": {
			func(app *anywire.App) { app.Declare(Task{}, impostor{}) },
			`declared type, type anywire_test.impostor at \S+register_test.go:\d+: wire type`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			defer func() {
				got := fmt.Sprint(recover())
				if !regexp.MustCompile(test.want).MatchString(got) {
					t.Errorf("panic %q\nwant  %q", got, test.want)
				}
			}()
			test.register(anywire.New(nil))
		})
	}
}

func TestRegistrationAllows(t *testing.T) {
	t.Parallel()
	app := anywire.New(nil)
	anywire.Consume(app, "a", consume[Task])
	anywire.Consume(app, "a", consume[Facts]) // several inputs
	anywire.Consume(app, "b", consume[*Task]) // a pointer to the same type
	anywire.Consume(app, "c", consume[Invoice])
	app.HandleEnvelope("a", func(context.Context, *envelope.Envelope) ([]*envelope.Envelope, error) { return nil, nil })
	app.Declare(Task{}, &Brief{})
}
