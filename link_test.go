package anywire_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anywire/anywire"
	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/memory"
)

// chattyOptions are those of a kind that logs.
type chattyOptions struct {
	MaxBody value.Size   `yaml:"max_body" doc:"the largest message" example:"1MiB"`
	Log     *slog.Logger `yaml:"-"`
	System  string       `yaml:"-"`
}

func (o *chattyOptions) SetLogger(log *slog.Logger) { o.Log = log }

func (o *chattyOptions) SetSystem(name string) { o.System = name }

func chatty(open error) anywire.Kind {
	return transport.NewKind("chatty",
		func(o chattyOptions) driver.Capabilities { return driver.Capabilities{MaxBody: int(o.MaxBody)} },
		func(ctx context.Context, o chattyOptions) (driver.Driver, error) {
			if o.Log == nil {
				return nil, errors.New("it has no logger")
			}
			o.Log.Info("chatty opens", "system", o.System)
			if open != nil {
				return nil, open
			}
			return memory.Open(ctx, memory.Options{})
		})
}

func TestDriversLogToTheAppsLogger(t *testing.T) {
	t.Parallel()
	var log lines
	app := anywire.New(&anywire.Options{
		Logger: log.logger(), Kinds: []anywire.Kind{chatty(nil)},
		Config: &config.Config{Transport: "one", Transports: map[string]config.Transport{"one": {Kind: "chatty"}}},
	})
	defer app.Close()
	if err := app.Publish(t.Context(), "in", Task{}); err != nil {
		t.Fatal(err)
	}
	if got := log.String(); !strings.Contains(got, `msg="chatty opens" transport=one`) {
		t.Errorf("log %q", got)
	}
}

func TestDriversLearnTheNameOfTheSystem(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{"": "acme.anywire", "shop": "acme.shop"} {
		var log lines
		app := anywire.New(&anywire.Options{
			Logger: log.logger(), Kinds: []anywire.Kind{chatty(nil)},
			Config: &config.Config{
				Name: name, Transport: "one", Transports: map[string]config.Transport{"one": {Kind: "chatty", Prefix: "acme."}},
			},
		})
		if err := app.Publish(t.Context(), "in", Task{}); err != nil {
			t.Error(err)
		}
		app.Close()
		if got := log.String(); !strings.Contains(got, "system="+want+"\n") {
			t.Errorf("name %q: log %q, want system %s", name, got, want)
		}
	}
}

func TestTopicNamesAreCheckedWhereverTheyCome(t *testing.T) {
	t.Parallel()
	app := anywire.New(nil)
	defer app.Close()
	for _, topic := range []string{"bad topic!*>", ".a", "a..b", "a.", "ä", "none", strings.Repeat("x", 201)} {
		for range 2 {
			if err := app.Publish(t.Context(), topic, Task{}); !errors.Is(err, anywire.Invalid) {
				t.Errorf("publish to %q: %v", topic, err)
			}
		}
	}
	err := app.Publish(t.Context(), "bad topic!*>", Task{})
	if err == nil || !strings.Contains(err.Error(), `"bad topic!*>" is not the name of a topic: use letters, digits, - and _`) {
		t.Errorf("error %v", err)
	}
	for _, topic := range []string{"a", "Tasks.eu-west_1.2026", strings.Repeat("x", 200)} {
		if err := app.Publish(t.Context(), topic, Task{}); err != nil {
			t.Errorf("publish to %q: %v", topic, err)
		}
	}
}

func TestAnOutputToABadTopicIsInvalid(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := &config.Config{Agents: map[string]config.Agent{"a": {Consumes: "in"}}}
		app := anywire.New(&anywire.Options{Config: cfg})
		anywire.Consume(app, "a", func(ctx context.Context, task Task) error {
			err := anywire.Emit(ctx, task, anywire.WithTopic("bad topic"))
			if !errors.Is(err, anywire.Invalid) {
				t.Errorf("emit: %v", err)
			}
			return anywire.Reject(err)
		})
		start(t, app)
		if err := app.Publish(t.Context(), "in", Task{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if n := len(on(t, app, "a.dead")); n != 1 {
			t.Errorf("%d dead letters", n)
		}
	})
}

func TestATransportThatDoesNotOpenNamesItsEntry(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "a.yaml")
	text := "version: 1\nidempotency: { store: none }\ntransport: post\ntransports:\n  post: { kind: chatty }\nagents:\n  a: { consumes: in }\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	away := errors.New("nobody answers")
	app := anywire.New(&anywire.Options{Config: c, Kinds: []anywire.Kind{chatty(away)}})
	anywire.Consume(app, "a", consume[Task])
	err = app.Run(t.Context())
	if !errors.Is(err, away) || !strings.HasPrefix(err.Error(), file+":5:") || !strings.Contains(err.Error(), "transports.post: nobody answers") {
		t.Errorf("run: %v", err)
	}
	if _, ok := errors.AsType[config.Problems](err); ok {
		t.Error("a broker that is away counts as an invalid configuration")
	}
	if h := app.Health(); h.Ready || !strings.Contains(h.Reason, "nobody answers") {
		t.Errorf("health %+v", h)
	}
}

// refusing is a broker that has something else under a name.
type refusing struct {
	*memory.Broker

	name string
	err  error
}

func (r refusing) EnsureTopic(ctx context.Context, t driver.Topic) (driver.Topic, error) {
	if t.Name == r.name {
		return driver.Topic{}, r.err
	}
	return r.Broker.EnsureTopic(ctx, t)
}

func TestATopicThatTheBrokerRefusesNamesItsPlace(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "a.yaml")
	text := "version: 1\ntopics:\n  in: { shards: 4 }\nagents:\n  a: { consumes: in, produces: out, dead_letter: gone }\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	foreign := errors.New("it belongs to somebody else")
	for topic, place := range map[string]string{
		"in": ":3:3: topics.in: ", "out": ":5:32: agents.a.produces: ", "gone": ":5:50: agents.a.dead_letter: ",
	} {
		c, err := config.Load(file)
		if err != nil {
			t.Fatal(err)
		}
		app := anywire.New(&anywire.Options{Config: c, Drivers: map[string]driver.Driver{"memory": refusing{memory.New(nil), topic, foreign}}})
		anywire.Handle(app, "a", func(_ context.Context, in Task) (Task, error) { return in, nil })
		err = app.Run(t.Context())
		if !errors.Is(err, foreign) || !strings.HasPrefix(err.Error(), file+place) || !strings.Contains(err.Error(), foreign.Error()) {
			t.Errorf("topic %s: run: %v\nwant %s", topic, err, file+place)
		}
	}
}

func TestLimitsAboveWhatTheTransportTakes(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		limits config.Limits
		takes  value.Size
		want   string
	}{
		"default on 1MiB": {config.Limits{}, value.MiB, ""},
		"unknown":         {config.Limits{Body: 64 * value.MiB}, 0, ""},
		"just fits":       {config.Limits{Body: 1008 * value.KiB}, value.MiB, ""},
		"headers count": {
			config.Limits{Body: value.MiB},
			value.MiB,
			`limits.body: limits.body of 1MiB and limits.attribute_bytes of 16KiB are more than the 1MiB that transport "post" takes` +
				"\n    raise max_body of transports.post to 1040KiB or more, or lower limits.body to 1008KiB or less",
		},
		"small transport": {config.Limits{}, 8 * value.KiB, "transports.post: limits.body of 900KiB"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := anywire.New(&anywire.Options{Kinds: []anywire.Kind{chatty(nil)}, Config: &config.Config{
				Limits: test.limits, Transport: "post",
				Transports: map[string]config.Transport{"post": {Kind: "chatty", Options: chattyOptions{MaxBody: test.takes}}},
			}}).Validate()
			if (test.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("validate: %v\nwant %s", err, test.want)
			}
		})
	}
}
