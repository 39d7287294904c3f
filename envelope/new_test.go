package envelope

import (
	"errors"
	"maps"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

type badType struct{ Type string }

func (b badType) WireType() string { return b.Type }

type unmarshalable struct{ F func() }

func (unmarshalable) WireType() string { return "a@1" }

func TestNewStamps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e, err := New(task{"postgres 17"})
		if err != nil {
			t.Fatal(err)
		}
		want := &Envelope{
			ID: e.ID, Source: DefaultSource, Type: "research.task", SchemaVersion: 1, Time: time.Now().UTC().Round(0),
			ContentType: "application/json", CorrelationID: e.ID, Data: []byte(`{"topic":"postgres 17"}`),
		}
		if e.ID == "" || !reflect.DeepEqual(e, want) {
			t.Errorf("envelope %+v, want %+v", e, want)
		}
	})
}

func TestNewAppliesOptions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		at := time.Date(2030, 1, 2, 3, 4, 5, 6, time.FixedZone("east", 3600))
		e, err := New(&task{"x"}, WithTopic("audit"), WithKey("k"), WithIdempotencyKey("i"), WithDelay(time.Hour), WithExpiry(at),
			WithExtension("tenant", "acme"), WithImmediate(), WithID("1"), WithSource("/s"), WithSubject("sub"), WithCorrelationID("c"), WithDataSchema("u"))
		if err != nil {
			t.Fatal(err)
		}
		want := &Envelope{
			ID: "1", Source: "/s", Type: "research.task", SchemaVersion: 1, Time: time.Now().UTC().Round(0), Subject: "sub", Key: "k",
			Expires: at.UTC(), ContentType: "application/json", DataSchema: "u", CorrelationID: "c", IdempotencyKey: "i",
			Extensions: map[string]string{"tenant": "acme"}, Data: []byte(`{"topic":"x"}`), Topic: "audit",
			DeliverAt: time.Now().Add(time.Hour).UTC().Round(0), immediate: true,
		}
		if !reflect.DeepEqual(e, want) || !e.Immediate() {
			t.Errorf("envelope %+v, want %+v", e, want)
		}
	})
}

func TestOptionsClear(t *testing.T) {
	t.Parallel()
	now := time.Now()
	e, err := New(task{}, WithKey("k"), WithKey(""), WithDelay(time.Hour), WithDelay(0), WithExpiry(now), WithExpiry(time.Time{}), WithDeliverAt(now), WithDeliverAt(time.Time{}))
	if err != nil {
		t.Fatal(err)
	}
	if e.Key != "" || !e.DeliverAt.IsZero() || !e.Expires.IsZero() {
		t.Errorf("key %q, deliver at %v, expires %v", e.Key, e.DeliverAt, e.Expires)
	}
}

func TestNewRefusesANilOption(t *testing.T) {
	t.Parallel()
	if _, err := New(task{"x"}, WithKey("k"), nil); !errors.Is(err, Invalid) || !strings.Contains(err.Error(), "option 2 of 2 for research.task@1 is nil") {
		t.Errorf("error %v", err)
	}
}

func TestNewTakesRawAsItIs(t *testing.T) {
	t.Parallel()
	raw := Raw{Type: "blob@2", ContentType: "image/png", Data: []byte{0x89}}
	for _, v := range []Typed{raw, &raw} {
		e, err := New(v)
		if err != nil {
			t.Fatal(err)
		}
		if e.WireType() != "blob@2" || e.ContentType != "image/png" || &e.Data[0] != &raw.Data[0] {
			t.Errorf("envelope %+v", e)
		}
	}
	if e, err := New(Raw{Type: "blob@2"}); err != nil || e.Data != nil {
		t.Errorf("no payload became %v, %v", e.Data, err)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	late := time.Date(12026, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		message Typed
		option  Option
		names   string
	}{
		"nil":                {nil, nil, "message is nil"},
		"nil pointer":        {(*task)(nil), nil, "*envelope.task"},
		"nil raw":            {(*Raw)(nil), nil, "*envelope.Raw"},
		"wire type":          {badType{"Bad"}, nil, `"Bad" has no version`},
		"JSON":               {unmarshalable{}, nil, "encode a@1 as JSON"},
		"content type":       {Raw{Type: "a@1", ContentType: "text/plän"}, nil, "text/plän"},
		"event as a payload": {Raw{Type: "a@1", ContentType: "Application/CloudEvents+json"}, nil, "CloudEvents"},
		"no topic":           {task{}, WithTopic(""), "topic is empty"},
		"no id":              {task{}, WithID(""), "id is empty"},
		"no source":          {task{}, WithSource(""), "source is empty"},
		"control character":  {task{}, WithKey("a\nb"), "partitionkey \"a\\nb\" contains the control character U+000A"},
		"delete":             {task{}, WithSubject("a\x7f"), "U+007F"},
		"C1":                 {task{}, WithSubject("a\u0085"), "U+0085"},
		"not UTF-8":          {task{}, WithIdempotencyKey("a\xff"), "is not UTF-8"},
		"negative delay":     {task{}, WithDelay(-time.Second), "-1s"},
		"late delivery":      {task{}, WithDeliverAt(late), "12026"},
		"late expiry":        {task{}, WithExpiry(late), "expirytime 12026"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var opts []Option
			if c.option != nil {
				opts = append(opts, c.option)
			}
			_, err := New(c.message, opts...)
			wantInvalid(t, err, Invalid, c.names)
		})
	}
}

func TestExtensionNames(t *testing.T) {
	t.Parallel()
	for name, problem := range map[string]string{
		"tenant": "", "a": "", "0": "", strings.Repeat("x", 20): "",
		"":                      "is empty",
		strings.Repeat("x", 21): "has 21 characters, at most 20",
		"Tenant":                "a-z and 0-9",
		"foo_bar":               "a-z and 0-9",
		"größe":                 "a-z and 0-9",
		"data":                  "payload",
		"id":                    "field of its own",
		"expirytime":            "field of its own",
		"specversion":           "field of its own",
		"dlid":                  "reserved",
		"dlheaders":             "reserved",
		"deliverat":             "reserved",
		"attempt":               "reserved",
		"frametoken":            "reserved",
	} {
		e := new(Envelope)
		err := WithExtension(name, "x")(e)
		if problem != "" {
			wantInvalid(t, err, Invalid, problem)
			wantInvalid(t, err, Invalid, quote(name))
			continue
		}
		if err != nil || e.Extensions[name] != "x" {
			t.Errorf("extension %q: %v", name, err)
		}
	}
	wantInvalid(t, WithExtension("tenant", "a\tb")(new(Envelope)), Invalid, "extension tenant")
}

func TestReserved(t *testing.T) {
	t.Parallel()
	e := minimal()
	e.SetReserved(AttrDeadLetterError, "timeout\nagain")
	e.SetReserved(AttrDeadLetterAgent, "writer")
	e.SetReserved(AttrDeadLetterAgent, "")
	if got := e.Reserved(AttrDeadLetterError); got != "timeout\nagain" || len(e.Extensions) != 1 {
		t.Errorf("reserved attributes %v", e.Extensions)
	}
	if err := e.Validate(); err != nil {
		t.Errorf("an error text of two lines is refused: %v", err)
	}
	for _, b := range bindings() {
		checkRoundTrip(t, b, e)
	}
	defer func() {
		if recover() == nil {
			t.Error("a name that is not reserved was set")
		}
	}()
	e.SetReserved("tenant", "acme")
}

func TestValidate(t *testing.T) {
	t.Parallel()
	late := time.Date(12026, 1, 1, 0, 0, 0, 0, time.UTC)
	for names, change := range map[string]func(*Envelope){
		"id is empty":           func(e *Envelope) { e.ID = "" },
		"source is empty":       func(e *Envelope) { e.Source = "" },
		"type is empty":         func(e *Envelope) { e.Type = "" },
		"schemaversion 0":       func(e *Envelope) { e.SchemaVersion = 0 },
		"schemaversion 1000000": func(e *Envelope) { e.SchemaVersion = 1000000 },
		"hops -1":               func(e *Envelope) { e.Hops = -1 },
		"redrive -1":            func(e *Envelope) { e.Redrive = -1 },
		"time 12026":            func(e *Envelope) { e.Time = late },
		"replyto":               func(e *Envelope) { e.ReplyTo = "a\x00" },
		"tracestate":            func(e *Envelope) { e.TraceState = "a\xff" },
		"extension name \"id\"": func(e *Envelope) { e.Extensions = map[string]string{"id": "x"} },
		"extension tenant":      func(e *Envelope) { e.Extensions = map[string]string{"tenant": "\r"} },
		"datacontenttype":       func(e *Envelope) { e.ContentType = "application/cloudevents" },
	} {
		e := minimal()
		if err := e.Validate(); err != nil {
			t.Fatal(err)
		}
		change(e)
		wantInvalid(t, e.Validate(), Invalid, names)
	}
	e := minimal()
	e.Extensions = map[string]string{"averylongnamethatwasreceived": "x"}
	if err := e.Validate(); err != nil {
		t.Errorf("a long name that was received cannot be sent on: %v", err)
	}
}

func TestCloneShares(t *testing.T) {
	t.Parallel()
	e := sample(t)
	e.Extensions = map[string]string{"tenant": "acme"}
	before := maps.Clone(e.Extensions)
	c := e.Clone()
	if !reflect.DeepEqual(e, c) || &e.Data[0] != &c.Data[0] {
		t.Errorf("clone %+v of %+v", c, e)
	}
	c.Extensions["tenant"] = "other"
	if !maps.Equal(e.Extensions, before) {
		t.Error("the clone's extensions are the original's")
	}
}

func TestCausedBy(t *testing.T) {
	t.Parallel()
	in := &Envelope{ID: "in", Source: "/s", Hops: 2, Key: "k", CorrelationID: "c", TraceParent: "tp", TraceState: "ts"}
	inherited := &Envelope{ID: "out", CorrelationID: "c", CausationID: "in", Hops: 3, Key: "k", TraceParent: "tp", TraceState: "ts"}
	own := &Envelope{ID: "out", CorrelationID: "mine", CausationID: "in", Hops: 3, Key: "mine", TraceParent: "mine"}
	for name, c := range map[string]struct{ out, in, want *Envelope }{
		"fresh":               {&Envelope{ID: "out"}, in, inherited},
		"as New makes it":     {&Envelope{ID: "out", CorrelationID: "out"}, in, inherited},
		"own values are kept": {&Envelope{ID: "out", CorrelationID: "mine", Key: "mine", TraceParent: "mine"}, in, own},
		"foreign input":       {&Envelope{ID: "out"}, &Envelope{ID: "in"}, &Envelope{ID: "out", CorrelationID: "in", CausationID: "in", Hops: 1}},
	} {
		c.out.CausedBy(c.in)
		if !reflect.DeepEqual(c.out, c.want) {
			t.Errorf("%s: %+v, want %+v", name, c.out, c.want)
		}
	}
}
