package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/anywire/anywire"
	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/internal/brokertest"
)

// foreigner is a client that knows nothing but docs/wire.md.
type foreigner struct {
	js     jetstream.JetStream
	prefix string
}

// send is one message of the foreigner, and what must become of it.
type send struct {
	name    string
	headers map[string]string
	body    string
	handled string // what the handler sees; empty: it is a dead letter
	reason  string // of the dead letter
	says    string // in the dead letter's error
}

// with returns the headers of a smallest message, changed; an empty value
// removes one.
func with(changes map[string]string) map[string]string {
	h := map[string]string{"ce-specversion": "1.0", "ce-id": envelope.NewID(), "ce-source": "/foreign", "ce-type": "it.job", "ce-schemaversion": "1"}
	for name, value := range changes {
		delete(h, name)
		if value != "" {
			h[name] = value
		}
	}
	return h
}

func sends() []send {
	structured := map[string]string{"Content-Type": "application/cloudevents+json; charset=utf-8"}
	return []send{
		{name: "smallest", headers: with(nil), body: `{"Key":"smallest"}`, handled: "smallest it.job@1 subject="},
		{
			name: "names in any case", headers: map[string]string{"CE-SpecVersion": "1.0", "Ce-Id": "1", "ce-SOURCE": "/foreign", "ce-type": "it.job"},
			body: `{"Key":"cases"}`, handled: "cases it.job@1 subject=",
		},
		{
			name: "unicode", headers: with(map[string]string{"ce-subject": "Euro%20%E2%82%AC%20%f0%9f%98%80"}),
			body: `{"Key":"unicode"}`, handled: "unicode it.job@1 subject=Euro € 😀",
		},
		{
			name: "extensions and strangers", headers: with(map[string]string{"ce-tenant": "a", "traceparent": "00-1", "X-Other": "\xff"}),
			body: `{"Key":"tenant"}`, handled: "tenant it.job@1 subject=",
		},
		{
			name: "structured", headers: structured,
			body:    `{"specversion":"1.0","id":"s1","source":"/foreign","type":"it.job","subject":"€","data":{"Key":"structured"}}`,
			handled: "structured it.job@1 subject=€",
		},
		{
			name: "structured base64", headers: structured,
			body:    `{"specversion":"1.0","id":"s2","source":"/foreign","type":"it.job","data_base64":"eyJLZXkiOiJiYXNlNjQifQ=="}`,
			handled: "base64 it.job@1 subject=",
		},
		{name: "no id", headers: with(map[string]string{"ce-id": ""}), body: "x", reason: "invalid", says: "ce-id"},
		{name: "bad specversion", headers: with(map[string]string{"ce-specversion": "0.3"}), body: "x", reason: "invalid", says: "ce-specversion"},
		{name: "bad version", headers: with(map[string]string{"ce-schemaversion": "one"}), body: "x", reason: "invalid", says: "ce-schemaversion"},
		{name: "bad escape", headers: with(map[string]string{"ce-subject": "100%"}), body: "x", reason: "invalid", says: "ce-subject"},
		{name: "not UTF-8", headers: with(map[string]string{"ce-subject": "%ff"}), body: "x", reason: "invalid", says: "ce-subject"},
		{name: "bad time", headers: with(map[string]string{"ce-time": "yesterday"}), body: "x", reason: "invalid", says: "ce-time"},
		{name: "no headers", body: `{"Key":"bare"}`, reason: "invalid", says: "ce-specversion"},
		{name: "empty", reason: "invalid", says: "ce-specversion"},
		{name: "broken JSON event", headers: structured, body: `{"specversion":`, reason: "invalid"},
		{name: "twice in one event", headers: structured, body: `{"specversion":"1.0","id":"1","id":"2","source":"/f","type":"it.job"}`, reason: "invalid", says: "id"},
		{name: "over the limit", headers: with(nil), body: strings.Repeat("x", 930_000), reason: "too_large", says: "limits.body"},
		{name: "many attributes", headers: with(many(70)), body: "x", reason: "too_large", says: "limits.attributes"},
		{name: "unknown type", headers: with(map[string]string{"ce-type": "Com.Example.Thing"}), body: "x", reason: "unknown_type"},
		{name: "bad payload", headers: with(nil), body: "{", reason: "undecodable"},
		{name: "last", headers: with(nil), body: `{"Key":"last"}`, handled: "last it.job@1 subject="},
	}
}

func many(n int) map[string]string {
	m := map[string]string{}
	for i := range n {
		m[fmt.Sprintf("ce-x%d", i)] = "1"
	}
	return m
}

// TestForeignClient: what docs/wire.md says is all that another client needs; what
// it gets wrong is a dead letter with its reason, and the subscription goes on.
func TestForeignClient(t *testing.T) {
	t.Parallel()
	for _, order := range []string{"none", "key"} {
		t.Run(order, func(t *testing.T) {
			t.Parallel()
			server := brokertest.SharedNATS(t)
			w := brokers["nats"].world(t, server)
			f := newForeigner(t, server.URL, w.entry.Prefix)
			var seen journal[string]
			run(t, foreignApp(w, order, &seen))
			await(t, "the topic exists", func() bool {
				_, err := f.js.StreamNameBySubject(t.Context(), f.prefix+"in")
				return err == nil
			})
			all := sends()
			for _, s := range all {
				f.send(t, s)
			}
			f.check(t, all, &seen)
		})
	}
}

func foreignApp(w *world, order string, seen *journal[string]) *anywire.App {
	app := anywire.New(w.options(&config.Config{Agents: map[string]config.Agent{
		"reader": {Consumes: "in", Produces: "out", Order: order},
	}}))
	anywire.Handle(app, "reader", func(ctx context.Context, j Job) (Half, error) {
		in := anywire.Envelope(ctx)
		seen.note(fmt.Sprintf("%s %s subject=%s", j.Key, in.WireType(), in.Subject))
		return Half{Key: j.Key, Do: "größer"}, anywire.Emit(ctx, Note(j), anywire.WithTopic("notes"), anywire.WithExtension("motto", "100 % für €"))
	})
	return app
}

func newForeigner(t *testing.T, url, prefix string) *foreigner {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return &foreigner{js: js, prefix: prefix}
}

func (f *foreigner) send(t *testing.T, s send) {
	t.Helper()
	m := &nats.Msg{Subject: f.prefix + "in", Header: nats.Header{}, Data: []byte(s.body)}
	for name, value := range s.headers {
		m.Header[name] = []string{value}
	}
	if _, err := f.js.PublishMsg(t.Context(), m); err != nil {
		t.Fatalf("%s: %v", s.name, err)
	}
}

// read reads n messages of a topic, as a plain consumer does.
func (f *foreigner) read(t *testing.T, topic string, n int) []jetstream.Msg {
	t.Helper()
	await(t, "topic "+topic+" exists", func() bool {
		_, err := f.js.StreamNameBySubject(t.Context(), f.prefix+topic)
		return err == nil
	})
	stream, err := f.js.StreamNameBySubject(t.Context(), f.prefix+topic)
	if err != nil {
		t.Fatal(err)
	}
	c, err := f.js.OrderedConsumer(t.Context(), stream, jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	var list []jetstream.Msg
	for len(list) < n {
		m, err := c.Next(jetstream.FetchMaxWait(patience))
		if err != nil {
			t.Fatalf("%d of %d messages in %s: %v", len(list), n, topic, err)
		}
		list = append(list, m)
	}
	return list
}

func (f *foreigner) check(t *testing.T, all []send, seen *journal[string]) {
	t.Helper()
	var handled, dead []send
	for _, s := range all {
		if s.handled != "" {
			handled = append(handled, s)
		} else {
			dead = append(dead, s)
		}
	}
	f.checkOutputs(t, f.read(t, "out", len(handled)), f.read(t, "notes", len(handled)))
	got := map[string]bool{}
	for _, line := range seen.all() {
		got[line] = true
	}
	for _, s := range handled {
		if !got[s.handled] {
			t.Errorf("%s: want %q among %q", s.name, s.handled, seen.all())
		}
	}
	f.checkDead(t, dead, f.read(t, "reader.dead", len(dead)))
}

// checkOutputs reads what the agent made, by the letter of docs/wire.md.
func (f *foreigner) checkOutputs(t *testing.T, outs, notes []jetstream.Msg) {
	t.Helper()
	for _, m := range outs {
		h := m.Headers()
		var body Half
		if err := json.Unmarshal(m.Data(), &body); err != nil || body.Do != "größer" {
			t.Errorf("output %q: %v", m.Data(), err)
		}
		for name, want := range map[string]string{
			"ce-specversion": "1.0", "ce-type": "it.half", "ce-schemaversion": "1", "ce-source": "/agents/reader",
			"ce-datacontenttype": "application/json", "ce-hops": "1",
		} {
			if got := h.Get(name); got != want {
				t.Errorf("output: %s is %q, want %q", name, got, want)
			}
		}
		if _, err := time.Parse(time.RFC3339Nano, h.Get("ce-time")); err != nil || h.Get("ce-id") == "" || h.Get("ce-causationid") == "" {
			t.Errorf("output: headers %v", h)
		}
	}
	for _, m := range notes {
		if got := m.Headers().Get("ce-motto"); got != "100%20%25%20f%C3%BCr%20%E2%82%AC" {
			t.Errorf("note: ce-motto is %q", got)
		}
	}
}

// checkDead compares in any order: a dead letter is found by what was sent.
func (f *foreigner) checkDead(t *testing.T, want []send, got []jetstream.Msg) {
	t.Helper()
	for _, s := range want {
		found := false
		for _, m := range got {
			h := m.Headers()
			says := h.Get("ce-dlerror")
			if string(m.Data()) != s.body || h.Get("ce-dlreason") != s.reason || !strings.Contains(says, s.says) {
				continue
			}
			if id := s.headers["ce-id"]; id != "" && h.Get("ce-id") != id && !strings.Contains(h.Get("ce-dlheaders"), id) {
				continue
			}
			found = true
			if h.Get("ce-dlagent") != "reader" || h.Get("ce-dltopic") != "in" || h.Get("ce-dlposition") == "" || h.Get("ce-dlid") == "" {
				t.Errorf("%s: dead letter %v", s.name, h)
			}
		}
		if !found {
			t.Errorf("%s: no dead letter with reason %s that says %q", s.name, s.reason, s.says)
		}
	}
	if t.Failed() {
		for _, m := range got {
			t.Logf("dead letter of %d bytes: %s: %s", len(m.Data()), m.Headers().Get("ce-dlreason"), m.Headers().Get("ce-dlerror"))
		}
	}
}
