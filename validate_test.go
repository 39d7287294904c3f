package anywire_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/anywire/anywire"
	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
)

type pigeonOptions struct {
	Loft string `yaml:"loft" doc:"where they live" example:"roof"`
}

// pigeon is a kind that can do very little.
func pigeon() anywire.Kind {
	return transport.NewKind("pigeon",
		func(pigeonOptions) driver.Capabilities { return driver.Capabilities{MaxLease: time.Minute} },
		func(context.Context, pigeonOptions) (driver.Driver, error) { return nil, errors.New("it flew away") })
}

type notATransport struct{}

func (notATransport) KindName() string { return "letter" }

func TestValidateReportsEverythingAtOnce(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "bad.yaml")
	text := `version: 1
transport: post
transports:
  post: { kind: pigeon, loft: roof, cage: 3 }
  owl: {}
agents:
  researcher:
    consumes: tasks.research
    order: key
    timeout: 40s
    from: 2026-01-31T00:00:00Z
  reader:
    consumes: tasks.read
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	app := newsroom(&anywire.Options{Config: c, Kinds: []anywire.Kind{pigeon(), notATransport{}}})
	err = app.Validate()
	if _, ok := errors.AsType[config.Problems](err); !ok {
		t.Fatalf("validate: %v", err)
	}
	for _, want := range []string{
		`bad.yaml:4:37: transports.post: unknown key "cage"`,
		`transports.owl: transport "owl" is of kind "owl", which this program does not link: it links memory, pigeon`,
		`kind "letter" (anywire_test.notATransport) is no kind of transport`,
		`bad.yaml:12:3: agents.reader: has no handler in this program`,
		`there are handlers for researcher, writer`,
		`agents.researcher: does not say where its answers go, and the handler at`,
		`there is no agent "writer", and the program has a handler for it at`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("missing: %s", want)
		}
	}
	if t.Failed() {
		t.Log(err)
	}
}

func TestCapabilitiesAreChecked(t *testing.T) {
	t.Parallel()
	seconds := func(n int) value.Duration { return value.Duration(time.Duration(n) * time.Second) }
	for name, test := range map[string]struct {
		agent config.Agent
		want  string
	}{
		"order": {config.Agent{Order: "key"}, `agents.researcher.order: is key, and transport "pigeon" keeps no order`},
		"from":  {config.Agent{From: "2026-01-31T00:00:00Z"}, `agents.researcher.from: transport "pigeon" cannot start at a time`},
		"timeout": {config.Agent{Policy: config.Policy{Timeout: seconds(30)}}, `holds a message for 1m0s at most` +
			"\n    shorten the timeout, set retry.immediate to 0, or let transports.pigeon hold messages longer, as max_idle does"},
		"one attempt": {
			config.Agent{Policy: config.Policy{Timeout: seconds(90), Retry: config.Retry{Immediate: new(0)}}},
			"\n    shorten the timeout, or let transports.pigeon hold messages longer, as max_idle does",
		},
		"fits": {config.Agent{Policy: config.Policy{Timeout: seconds(20)}}, ``},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test.agent.Consumes, test.agent.Produces = "tasks.research", "tasks.write"
			app := anywire.New(&anywire.Options{Kinds: []anywire.Kind{pigeon()}, Config: &config.Config{
				Transport: "pigeon", Transports: map[string]config.Transport{"pigeon": {Options: pigeonOptions{Loft: "roof"}}},
				Agents:      map[string]config.Agent{"researcher": test.agent},
				Idempotency: config.Idempotency{Store: config.None},
			}})
			anywire.Handle(app, "researcher", research)
			err := app.Validate()
			if test.want == "" && err == nil {
				return
			}
			if err == nil || test.want == "" || !strings.Contains(err.Error(), test.want) {
				t.Errorf("validate: %v\nwant %s", err, test.want)
			}
		})
	}
}

func TestRunAndPublishSayWhatIsWrong(t *testing.T) {
	t.Parallel()
	app := anywire.New(nil)
	anywire.Handle(app, "researcher", research)
	if err := app.Run(t.Context()); err == nil || !strings.Contains(err.Error(), `there is no agent "researcher"`) {
		t.Errorf("run: %v", err)
	}
	app = anywire.New(&anywire.Options{Config: &config.Config{Transport: "nats", Transports: map[string]config.Transport{"nats": {}}}})
	err := app.Publish(t.Context(), "in", Task{})
	if !errors.Is(err, anywire.Invalid) || !strings.Contains(err.Error(), `of kind "nats", which this program does not link: it links memory`) {
		t.Errorf("publish: %v", err)
	}
	if _, err = app.Transport("kafka"); !errors.Is(err, anywire.Invalid) {
		t.Errorf("transport: %v", err)
	}
}

func TestDriversStandInForTheFile(t *testing.T) {
	t.Parallel()
	closed := &closing{}
	cfg := &config.Config{
		Transport:  "legacy",
		Transports: map[string]config.Transport{"legacy": {Kind: "unknown"}},
	}
	app := anywire.New(&anywire.Options{Config: cfg, Drivers: map[string]driver.Driver{"legacy": closed, "other": closed}})
	if err := app.Validate(); err != nil {
		t.Errorf("validate: %v", err)
	}
	for _, name := range []string{"", "other"} {
		tr, err := app.Transport(name)
		if err != nil || tr.Driver() != closed {
			t.Errorf("transport %q: %v, %v", name, tr, err)
		}
	}
	if err := app.Close(); err != nil || closed.closed {
		t.Errorf("a driver that was handed in was closed: %v", err)
	}
}

func TestNilKindsAndDriversAreProblems(t *testing.T) {
	t.Parallel()
	app := anywire.New(&anywire.Options{Kinds: []anywire.Kind{nil}, Drivers: map[string]driver.Driver{"m": nil}})
	err := app.Validate()
	for _, want := range []string{"kind 1 of Options.Kinds is nil", `the driver of transport "m" is nil`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("validate: %v\nwant %s", err, want)
		}
	}
	if _, err := app.Transport("m"); !errors.Is(err, anywire.Invalid) {
		t.Errorf("transport: %v", err)
	}
}

func TestANilSendOptionIsInvalid(t *testing.T) {
	t.Parallel()
	app := anywire.New(nil)
	defer app.Close()
	if err := app.Publish(t.Context(), "in", Task{}, nil); !errors.Is(err, anywire.Invalid) {
		t.Errorf("publish: %v", err)
	}
	if err := anywire.Emit(t.Context(), Task{}, nil); !errors.Is(err, anywire.Invalid) {
		t.Errorf("emit: %v", err)
	}
}

type closing struct {
	driver.Driver

	closed bool
}

func (c *closing) Capabilities() driver.Capabilities { return driver.Capabilities{} }

func (c *closing) Close(context.Context) error {
	c.closed = true
	return nil
}

func TestValidatePlainTopic(t *testing.T) {
	t.Parallel()
	for wire, want := range map[string]string{
		"research.task@1": "",
		"research.task@2": "topics.tasks.plain: is research.task@2, which no handler of agent reader takes: it takes research.task@1",
		"research":        `topics.tasks.plain: "research" is not the name and version of a type`,
	} {
		app := anywire.New(&anywire.Options{Config: &config.Config{
			Topics: map[string]config.Topic{"tasks": {Plain: wire}},
			Agents: map[string]config.Agent{"reader": {Consumes: "tasks"}},
		}})
		anywire.Consume(app, "reader", func(context.Context, Task) error { return nil })
		err := app.Validate()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", wire, err, want)
		}
	}
}
