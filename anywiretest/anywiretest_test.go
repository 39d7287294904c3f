package anywiretest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/anywire/anywire"
	"github.com/anywire/anywire/anywiretest"
	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/envelope"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type document struct{ Words string }

func (document) WireType() string { return "document@1" }

type word struct{ Text string }

func (word) WireType() string { return "word@1" }

type audit struct{ Words int }

func (audit) WireType() string { return "audit@1" }

func split(ctx context.Context, d document) error {
	words := strings.Fields(d.Words)
	if len(words) == 0 {
		return anywire.Reject(errors.New("no words"))
	}
	for _, w := range words {
		if err := anywire.Emit(ctx, word{w}); err != nil {
			return err
		}
	}
	return anywire.Emit(ctx, audit{len(words)}, anywire.WithTopic("audit"))
}

func splitter(o *anywire.Options) *anywire.App {
	app := anywire.New(o)
	anywire.Consume(app, "splitter", split)
	return app
}

func splitterConfig() *config.Config {
	return &config.Config{
		Transport: "nats", Transports: map[string]config.Transport{"nats": {}},
		Agents: map[string]config.Agent{"splitter": {Consumes: "documents", Produces: "words"}},
	}
}

func TestContext(t *testing.T) {
	t.Parallel()
	ctx := anywiretest.Context(t, anywire.WithKey("k"))
	if err := split(ctx, document{"two words"}); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(anywiretest.Emitted[word](t, ctx)); got != "[{two} {words}]" {
		t.Errorf("words %s", got)
	}
	if got := anywiretest.Emitted[audit](t, ctx); len(got) != 1 || got[0].Words != 2 {
		t.Errorf("audits %v", got)
	}
	all := anywiretest.EmittedEnvelopes(ctx)
	if len(all) != 3 || all[2].Topic != "audit" || all[0].Key != "k" || all[0].CausationID != anywire.Envelope(ctx).ID {
		t.Errorf("envelopes %v", all)
	}
	if got := anywiretest.EmittedEnvelopes(t.Context()); got != nil {
		t.Errorf("emitted outside: %v", got)
	}
}

func TestStartAndNext(t *testing.T) {
	t.Parallel()
	w := anywiretest.Start(t, splitter, &anywiretest.Options{Config: splitterConfig()})
	w.Publish("documents", document{"a b"})
	w.Publish("documents", document{""})
	first, second := anywiretest.Next[word](w, "words"), anywiretest.Next[word](w, "words")
	if first.Text != "a" || second.Text != "b" {
		t.Errorf("words %v %v", first, second)
	}
	if got := anywiretest.Next[audit](w, "audit"); got.Words != 2 { // a topic that the configuration does not name
		t.Errorf("audit %v", got)
	}
	dead := w.NextEnvelope("splitter.dead")
	if got := dead.Reserved(envelope.AttrDeadLetterError); got != "rejected: no words" {
		t.Errorf("dead letter %q", got)
	}
	if got := anywiretest.Next[document](w, "documents"); got.Words != "a b" { // read by the agent, too
		t.Errorf("document %v", got)
	}
}

func TestInABubbleBackoffTakesNoTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		w := anywiretest.Start(t, func(o *anywire.Options) *anywire.App {
			app := anywire.New(o)
			anywire.Consume(app, "splitter", func(ctx context.Context, d document) error {
				if tries++; tries < 6 {
					return anywire.RetryAfter(time.Hour, nil)
				}
				return split(ctx, d)
			})
			return app
		}, &anywiretest.Options{Config: splitterConfig(), Patience: 24 * time.Hour})
		w.Publish("documents", document{"late"})
		if got := anywiretest.Next[word](w, "words"); got.Text != "late" || tries != 6 {
			t.Errorf("word %v after %d tries", got, tries)
		}
	})
}

// failing records what a helper says to a test.
type failing struct {
	testing.TB

	text string
}

func (f *failing) Helper() {}

func (f *failing) Fatalf(format string, args ...any) {
	f.text = fmt.Sprintf(format, args...)
	panic(f)
}

func TestWhatFailsATest(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		do   func(tb testing.TB)
		want string
	}{
		"nothing comes": {func(tb testing.TB) {
			tb.Helper()
			w := anywiretest.Start(tb, splitter, &anywiretest.Options{Config: splitterConfig(), Patience: time.Millisecond})
			anywiretest.Next[word](w, "words")
		}, `nothing came on "words" for 1ms`},
		"another type": {func(tb testing.TB) {
			tb.Helper()
			w := anywiretest.Start(tb, splitter, &anywiretest.Options{Config: splitterConfig()})
			w.Publish("documents", document{"a"})
			anywiretest.Next[audit](w, "words")
		}, `word@1`},
		"invalid": {func(tb testing.TB) {
			tb.Helper()
			anywiretest.Start(tb, splitter, &anywiretest.Options{Config: &config.Config{}})
		}, `there is no agent "splitter"`},
		"no file": {func(tb testing.TB) {
			tb.Helper()
			anywiretest.Start(tb, splitter, nil)
		}, `there is no anywire.yaml in this folder`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &failing{TB: t}
			defer func() {
				if recover() != f || !strings.Contains(f.text, test.want) {
					t.Errorf("failed with %q, want %q", f.text, test.want)
				}
			}()
			test.do(f)
		})
	}
}
