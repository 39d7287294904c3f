package envelope

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestDecodeJSON(t *testing.T) {
	t.Parallel()
	for _, contentType := range []string{"", "application/json", "Application/JSON; charset=utf-8", "text/json", "application/vnd.example+json"} {
		e := &Envelope{Type: "research.task", SchemaVersion: 1, ContentType: contentType, Data: []byte(`{"topic":"x","new":1}`)}
		var got task
		if err := e.Decode(&got); err != nil || got.Topic != "x" {
			t.Errorf("%q: %+v, %v", contentType, got, err)
		}
	}
}

func TestDecodeRaw(t *testing.T) {
	t.Parallel()
	e := &Envelope{Type: "blob", SchemaVersion: 2, ContentType: "image/png", Data: []byte{1}}
	var raw Raw
	if err := e.Decode(&raw); err != nil {
		t.Fatal(err)
	}
	if raw.Type != "blob@2" || raw.ContentType != "image/png" || &raw.Data[0] != &e.Data[0] {
		t.Errorf("raw %#v", raw)
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	for names, e := range map[string]*Envelope{
		`content type "text/plain" is not JSON`: {ContentType: "text/plain", Data: []byte(`{}`)},
		"into *envelope.task":                   {Data: []byte(`{"topic":1}`)},
		"unexpected end of JSON input":          {Data: nil},
		"after top-level value":                 {Data: []byte(`{}{}`)},
	} {
		e.Type, e.SchemaVersion = "research.task", 1
		err := e.Decode(new(task))
		wantInvalid(t, err, Invalid, names)
		wantInvalid(t, err, Invalid, "research.task@1")
	}
}

func TestNothingPrintsThePayload(t *testing.T) {
	t.Parallel()
	const secret = "hunter2"
	e, err := New(task{secret}, WithExtension("token", secret), WithTopic("audit"))
	if err != nil {
		t.Fatal(err)
	}
	e.Attempt, e.Redrive, e.CausationID = 2, 1, "cause"
	raw := Raw{Type: "a@1", Data: []byte(secret)}
	var out bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(handler).Info("received", "message", e, "raw", raw, "other", &raw)
	}
	fmt.Fprintf(&out, "%v %+v %s %v %+v %s", e, e, e, raw, raw, &raw)
	if strings.Contains(out.String(), secret) {
		t.Errorf("the payload is printed:\n%s", out.String())
	}
	for _, want := range []string{
		e.ID, "research.task@1", "message.topic=audit", "message.correlation=" + e.ID, "message.causation=cause",
		"message.attempt=2", "message.redrive=1", "message.extensions=1", "message.bytes=19", "raw.bytes=7", "(19 bytes)",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
}

func TestNoEnvelopePrints(t *testing.T) {
	t.Parallel()
	var none *Envelope
	if none.String() != "no envelope" || none.LogValue().String() != "none" {
		t.Errorf("nil prints as %q and %q", none.String(), none.LogValue())
	}
}

func TestLimitsNameTheSetting(t *testing.T) {
	t.Parallel()
	e := minimal()
	e.Data = make([]byte, DefaultBodyLimit)
	if err := (Limits{}).Check(e); err != nil {
		t.Errorf("a body at the limit: %v", err)
	}
	e.Data = append(e.Data, 0)
	err := Limits{}.Check(e)
	wantInvalid(t, err, TooLarge, `body of t@1 "1" has 921601 bytes, more than the limit of 921600: raise limits.body`)
	e = minimal()
	e.Subject = strings.Repeat("x", DefaultAttributeBytesLimit)
	wantInvalid(t, Limits{}.Check(e), TooLarge, "limits.attribute_bytes")
	e = minimal()
	e.Extensions = make(map[string]string)
	for i := range DefaultAttributeLimit - 5 {
		e.Extensions[fmt.Sprint("x", i)] = ""
	}
	if err := (Limits{}).Check(e); err != nil {
		t.Errorf("64 attributes: %v", err)
	}
	e.Extensions["y"] = ""
	wantInvalid(t, Limits{}.Check(e), TooLarge, "65 attributes")
}
