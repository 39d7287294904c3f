package envelope

import (
	"bytes"
	"encoding/hex"
	"maps"
	"reflect"
	"strings"
	"testing"
)

func newPlain(tb testing.TB, b *Binding, fields bool) *Plain {
	tb.Helper()
	p, err := NewPlain(b, "tasks", "research.task@1", fields)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func TestMetadataRoundTrip(t *testing.T) {
	t.Parallel()
	metadata := map[string]string{
		"correlation_id": "c-1", "traceparent": "00-aa-bb-01", "tracestate": "v=1", "content-type": "application/json",
		"tenant": "acme", "empty": "", "Tenant-ID": "9", "causation_id": "c-0", "": "no name",
		"type": "task.created", "dlid": "7", "wmmetadata": "x", "data": "1", "lines": "a\nb", "c1": "\u0085",
		"attributewithalongname0": "v", "bytes": "\xff\x00", "\xfe": "name", "base64:": "base64:YQ==", "fake": "base64:?",
	}
	e := minimal()
	e.SetMetadata(metadata)
	if err := e.Validate(); err != nil {
		t.Fatal(err)
	}
	if got := e.Metadata(); !maps.Equal(got, metadata) {
		t.Errorf("metadata came back as\n%q, want\n%q", got, metadata)
	}
	if e.CorrelationID != "c-1" || e.TraceParent != "00-aa-bb-01" || e.TraceState != "v=1" || e.ContentType != "application/json" {
		t.Errorf("attributes are %+v", e)
	}
	if e.Extensions["tenant"] != "acme" || e.Extensions["Tenant-ID"] != "" {
		t.Errorf("extensions are %q", e.Extensions)
	}
	for _, b := range []*Binding{NATS(), HTTP(), Kafka()} {
		checkRoundTrip(t, b, e)
	}
}

func TestMetadataThatAttributesCannotCarry(t *testing.T) {
	t.Parallel()
	metadata := map[string]string{"correlation_id": "", "traceparent": "a\nb", "content-type": "application/cloudevents+json"}
	e := minimal()
	e.SetMetadata(metadata)
	if err := e.Validate(); err != nil {
		t.Fatal(err)
	}
	if got := e.Metadata(); !maps.Equal(got, metadata) {
		t.Errorf("metadata came back as %q, want %q", got, metadata)
	}
	e.CorrelationID = "mine"
	if got := e.Metadata()["correlation_id"]; got != "mine" {
		t.Errorf("correlation_id is %q, want that of the envelope", got)
	}
}

func TestMetadataIsOneObject(t *testing.T) {
	t.Parallel()
	e := minimal()
	e.SetMetadata(map[string]string{"B_": "2", "A_": "\xff"})
	if got, want := e.Reserved(AttrMetadata), `{"A_":"base64:/w==","B_":"2"}`; got != want {
		t.Errorf("attribute is %s, want %s", got, want)
	}
	e.SetReserved(AttrMetadata, "no JSON")
	if got := e.Metadata(); !maps.Equal(got, map[string]string{AttrMetadata: "no JSON"}) {
		t.Errorf("metadata is %q", got)
	}
	if err := WithExtension(AttrMetadata, "{}")(e); err == nil {
		t.Error("an extension of that name can be set")
	}
}

// Bytes as Watermill's adapters write them.
func TestPlainDecode(t *testing.T) {
	t.Parallel()
	uuid := Header{MetadataUUID, "u-1"}
	packed, err := hex.DecodeString("82ae636f7272656c6174696f6e5f6964a3632d31a674656e616e74a461636d65")
	if err != nil {
		t.Fatal(err)
	}
	want := func(id string, change func(*Envelope)) *Envelope {
		e := &Envelope{ID: id, Source: "/topics/tasks", Type: "research.task", SchemaVersion: 1, Data: []byte(`{"topic":"go"}`)}
		if change != nil {
			change(e)
		}
		return e
	}
	metadata := func(e *Envelope) {
		e.CorrelationID, e.Extensions = "c-1", map[string]string{"tenant": "acme"}
	}
	body := []byte(`{"topic":"go"}`)
	for name, c := range map[string]struct {
		b       *Binding
		fields  bool
		headers []Header
		body    []byte
		want    *Envelope
	}{
		"watermill-kafka": {
			b: Kafka(), headers: []Header{uuid, {"correlation_id", "c-1"}, {"tenant", "acme"}}, body: body,
			want: want("u-1", metadata),
		},
		"watermill-redisstream": {
			b: Kafka(), fields: true, headers: []Header{uuid, {"metadata", string(packed)}}, body: body,
			want: want("u-1", metadata),
		},
		"watermill-redisstream without metadata": {
			b: Kafka(), fields: true, headers: []Header{{"metadata", ""}, uuid}, body: body, want: want("u-1", nil),
		},
		"nothing but a value":   {b: Kafka(), body: body, want: want("tasks/0:17", nil)},
		"nothing but a payload": {b: NATS(), body: body, want: want("tasks/0:17", nil)},
		"fields without a body": {
			b: Kafka(), fields: true, headers: []Header{{"topic", "go"}, {"metadata", "mine"}, {"raw", "\xff"}},
			want: want("tasks/0:17", func(e *Envelope) {
				e.ContentType, e.Data = "application/json", []byte(`{"metadata":"mine","raw":"base64:/w==","topic":"go"}`)
			}),
		},
		"no fields at all": {
			b: Kafka(), fields: true,
			want: want("tasks/0:17", func(e *Envelope) { e.ContentType, e.Data = "application/json", []byte(`{}`) }),
		},
		"no body, no fields":  {b: Kafka(), headers: []Header{uuid}, want: want("u-1", func(e *Envelope) { e.Data = nil })},
		"empty body":          {b: Kafka(), fields: true, headers: []Header{uuid}, body: []byte{}, want: want("u-1", func(e *Envelope) { e.Data = []byte{} })},
		"the last one counts": {b: Kafka(), headers: []Header{uuid, {"a", "1"}, {"a", "2"}}, body: body, want: want("u-1", func(e *Envelope) { e.Extensions = map[string]string{"a": "2"} })},
		"content type": {
			b: NATS(), headers: []Header{uuid, {"Content-Type", "text/plain"}}, body: body,
			want: want("u-1", func(e *Envelope) { e.ContentType = "text/plain" }),
		},
		"delayed copy": {
			b: Kafka(), headers: []Header{uuid, {"ce_attempt", "3"}}, body: body,
			want: want("u-1", func(e *Envelope) { e.Extensions = map[string]string{AttrAttempt: "3"} }),
		},
		"headers of another event": {
			b: Kafka(), headers: []Header{uuid, {"ce_specversion", "1.0"}, {"ce_id", "u-0"}}, body: body,
			want: want("u-1", func(e *Envelope) {
				e.Extensions = map[string]string{AttrMetadata: `{"ce_id":"u-0","ce_specversion":"1.0"}`}
			}),
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got Envelope
			if err := newPlain(t, c.b, c.fields).Decode(c.headers, c.body, "0:17", &got); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(&got, c.want) {
				t.Errorf("read\n%+v, want\n%+v", got, *c.want)
			}
		})
	}
}

func TestPlainRefuses(t *testing.T) {
	t.Parallel()
	for text, c := range map[string]struct {
		headers  []Header
		position string
	}{
		"nothing identifies it":  {headers: []Header{{MetadataUUID, ""}}},
		MetadataUUID:             {headers: []Header{{MetadataUUID, "a\nb"}}},
		"position":               {position: "\x00"},
		"no map in MessagePack":  {headers: []Header{{MetadataUUID, "u"}, {"metadata", "{}"}}},
		"ends within its map":    {headers: []Header{{MetadataUUID, "u"}, {"metadata", "\xdf\xff\xff\xff\xff"}}},
		"no string":              {headers: []Header{{MetadataUUID, "u"}, {"metadata", "\x81\xa1a\x01"}}},
		"bytes after its map":    {headers: []Header{{MetadataUUID, "u"}, {"metadata", "\x80\x80"}}},
		"ce_attempt":             {headers: []Header{{MetadataUUID, "u"}, {"ce_attempt", "\xff"}}},
		"is not 1.0":             {headers: []Header{{MetadataUUID, "u"}, {"ce_specversion", "0.3"}}},
		"header ce_source is mi": {headers: []Header{{"ce_specversion", "1.0"}, {"ce_id", "1"}}},
	} {
		var e Envelope
		err := newPlain(t, Kafka(), true).Decode(c.headers, []byte("x"), c.position, &e)
		wantInvalid(t, err, Invalid, text)
	}
	for _, bad := range []string{"research.task", "Research@1", ""} {
		_, err := NewPlain(Kafka(), "tasks", bad, false)
		wantInvalid(t, err, Invalid, "wire type")
	}
	_, err := NewPlain(Kafka(), "", "a@1", false)
	wantInvalid(t, err, Invalid, "topic")
}

// TestPlainEncode: the same headers are an event for one reader and Watermill's
// message for the other.
func TestPlainEncode(t *testing.T) {
	t.Parallel()
	in := sample(t)
	in.SetMetadata(map[string]string{"Tenant-ID": "9", "Bad Name": "1", "Nats-Rollup": "all", "ce_id": "old", "lines": "a\nb"})
	for name, c := range map[string]struct {
		b      *Binding
		fields bool
		absent []string
	}{
		"kafka": {b: Kafka(), absent: []string{"ce_id", "content-type"}},
		"nats":  {b: NATS(), absent: []string{"Bad Name", "Nats-Rollup", "lines", "content-type"}},
		"redis": {b: Kafka(), fields: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlain(t, c.b, c.fields)
			headers, body := p.Encode(nil, in)
			if c.fields { // as its driver reads an entry
				last := headers[len(headers)-1]
				if body != nil || last.Name != "payload" {
					t.Fatalf("body %q, last field %s", body, last.Name)
				}
				headers, body = headers[:len(headers)-1], []byte(last.Value)
			}
			var event, plain Envelope
			if err := p.Decode(headers, body, "", &event); err != nil || !reflect.DeepEqual(&event, in) {
				t.Errorf("as an event it is\n%+v, want\n%+v: %v", event, *in, err)
			}
			var others []Header
			for _, h := range headers {
				if name, is := c.b.attribute(h.Name); !is || name == "" {
					others = append(others, h)
				}
			}
			if err := p.Decode(others, body, "", &plain); err != nil {
				t.Fatal(err)
			}
			want := in.Metadata()
			for _, name := range c.absent {
				delete(want, name)
			}
			got := plain.Metadata()
			delete(got, "content-type")
			delete(want, "content-type")
			if plain.ID != in.ID || !maps.Equal(got, want) || !bytes.Equal(plain.Data, in.Data) {
				t.Errorf("as a plain message it is %+v with metadata\n%q, want\n%q", plain, got, want)
			}
		})
	}
}

func TestPlainEncodeWithoutPayload(t *testing.T) {
	t.Parallel()
	p := newPlain(t, Kafka(), true)
	headers, body := p.Encode(nil, minimal())
	if last := headers[len(headers)-1]; body != nil || last.Name != fieldMetadata {
		t.Errorf("headers %q, body %q", headers, body)
	}
	odd := minimal()
	odd.ID = "ends with a space "
	headers, _ = newPlain(t, NATS(), false).Encode(nil, odd)
	for _, h := range headers {
		if h.Name == MetadataUUID {
			t.Errorf("header %q cannot be carried as it is", h)
		}
	}
}

func TestPackMap(t *testing.T) {
	t.Parallel()
	many := map[string]string{}
	for i := range 70_000 {
		many[strings.Repeat("n", i%7)+string(rune(i))] = "v"
	}
	for _, m := range []map[string]string{
		{},
		{"": ""},
		{"a": strings.Repeat("x", 31)},
		{"a": strings.Repeat("x", 32)},
		{"a": strings.Repeat("x", 256)},
		{strings.Repeat("x", 1<<16): "\xff"},
		many,
	} {
		got, reason := unpackMap(string(packMap(m)))
		if reason != "" || !maps.Equal(got, m) {
			t.Errorf("map of %d came back as one of %d: %s", len(m), len(got), reason)
		}
	}
	got, reason := unpackMap("\x81\xc4\x01a\xc5\x00\x01b")
	if reason != "" || got["a"] != "b" {
		t.Errorf("bytes are read as %q: %s", got, reason)
	}
}

func FuzzUnpackMap(f *testing.F) {
	f.Add("")
	f.Add("\xc0")
	f.Add(string(packMap(map[string]string{"correlation_id": "c", "long": strings.Repeat("x", 300)})))
	f.Add("\xdf\x7f\xff\xff\xff\xa0\xa0")
	f.Fuzz(func(t *testing.T, packed string) {
		m, reason := unpackMap(packed)
		if reason != "" {
			return
		}
		if again, reason := unpackMap(string(packMap(m))); reason != "" || !maps.Equal(again, m) {
			t.Errorf("%q came back as %q: %s", m, again, reason)
		}
	})
}

func FuzzDecodePlain(f *testing.F) {
	for _, text := range []string{
		"", "a:1", "_watermill_message_uuid:u-1\ncorrelation_id:c", "_watermill_message_uuid:u-1\nmetadata:\x81\xa1a\xa1b",
		"ce_specversion:1.0\nce_id:1\nce_source:/s\nce_type:t", "content-type:text/plain\nce_attempt:2", "x:\xff",
	} {
		f.Add(text, []byte("{}"), true)
		f.Add(text, []byte(nil), false)
	}
	f.Fuzz(func(t *testing.T, text string, body []byte, fields bool) {
		if len(body) == 0 && fields {
			body = nil
		}
		p := newPlain(t, Kafka(), fields)
		var e Envelope
		if err := p.Decode(fuzzedHeaders(text), body, "0:1", &e); err != nil {
			wantInvalid(t, err, Invalid, "")
			return
		}
		if err := e.Validate(); err != nil {
			t.Fatalf("%+v was read and cannot be sent on: %v", &e, err)
		}
		headers, body := p.Encode(nil, &e)
		if fields {
			if last := len(headers) - 1; headers[last].Name == fieldPayload {
				headers, body = headers[:last], []byte(headers[last].Value)
			}
		}
		var again Envelope
		if err := p.Decode(headers, body, "0:2", &again); err != nil {
			t.Fatalf("%+v cannot be read again: %v", &e, err)
		}
		if !reflect.DeepEqual(e, again) {
			t.Errorf("%+v came back as %+v", e, again)
		}
	})
}
