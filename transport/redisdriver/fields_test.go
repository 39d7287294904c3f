package redisdriver

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/anywire/anywire/transport/driver"
)

func TestDecodeEntry(t *testing.T) {
	t.Parallel()
	type headers = []driver.Header
	for _, c := range []struct {
		name   string
		fields []string
		want   driver.Message
	}{
		{"fields", []string{"ce_id", "1", "content-type", "text/plain", "ce_partitionkey", "k", "data", "body"}, driver.Message{
			Key: "k", Body: []byte("body"),
			Headers: headers{{Name: "ce_id", Value: "1"}, {Name: "content-type", Value: "text/plain"}, {Name: "ce_partitionkey", Value: "k"}},
		}},
		{"packed", []string{"ce", `{"id":"1","datacontenttype":"text/plain","partitionkey":"k"}`, "data", "body"}, driver.Message{
			Key: "k", Body: []byte("body"),
			Headers: headers{{Name: "ce_id", Value: "1"}, {Name: "content-type", Value: "text/plain"}, {Name: "ce_partitionkey", Value: "k"}},
		}},
		{"packed with spaces, escapes, numbers and null", []string{"ce", ` { "id" : "a\u0020\"b" , "n" : 12.5e1 , "t":true, "x":null } `}, driver.Message{
			Headers: headers{{Name: "ce_id", Value: `a "b`}, {Name: "ce_n", Value: "12.5e1"}, {Name: "ce_t", Value: "true"}},
		}},
		{"nothing packed", []string{"ce", "{}"}, driver.Message{}},
		{"a stranger's", []string{"topic", "x", "text", "\xff"}, driver.Message{
			Headers: headers{{Name: "topic", Value: "x"}, {Name: "text", Value: "\xff"}},
		}},
		{"Watermill's", []string{"_watermill_message_uuid", "x", "metadata", "m", "payload", "\xff"}, driver.Message{
			Body:    []byte("\xff"),
			Headers: headers{{Name: "_watermill_message_uuid", Value: "x"}, {Name: "metadata", Value: "m"}},
		}},
		{"a body and a payload", []string{"payload", "p", "data", "d"}, driver.Message{
			Body: []byte("d"), Headers: headers{{Name: "payload", Value: "p"}},
		}},
		{"names that come twice", []string{"data", "1", "data", "2", "ce_partitionkey", "a", "ce_partitionkey", "b"}, driver.Message{
			Key: "a", Body: []byte("1"),
			Headers: headers{{Name: "data", Value: "2"}, {Name: "ce_partitionkey", Value: "a"}, {Name: "ce_partitionkey", Value: "b"}},
		}},
		{"no object", []string{"ce", `["id"]`}, driver.Message{Headers: headers{{Name: "ce", Value: `["id"]`}}}},
		{"an object within", []string{"ce", `{"id":{"a":"b"}}`}, driver.Message{Headers: headers{{Name: "ce", Value: `{"id":{"a":"b"}}`}}}},
		{"an empty body", []string{"data", ""}, driver.Message{Body: []byte{}}},
		{"half a pair", []string{"data", "x", "ce_id"}, driver.Message{Body: []byte("x"), Headers: headers{{Name: "ce_id"}}}},
		{"nothing", nil, driver.Message{}},
	} {
		got := decodeEntry(c.fields)
		if got.Key != c.want.Key || !bytes.Equal(got.Body, c.want.Body) || (got.Body == nil) != (c.want.Body == nil) ||
			!slices.Equal(got.Headers, c.want.Headers) {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

// written are the fields of the entry that a message becomes.
func written(tb testing.TB, m *driver.Message, packed bool) []string {
	tb.Helper()
	x, stream := newXadd(), "stream"
	x.fill(&stream, m, packed, false)
	var fields []string
	for _, arg := range x.Args()[firstField:] {
		switch v := arg.(type) {
		case string:
			fields = append(fields, v)
		case *string:
			fields = append(fields, *v)
		case *payload:
			fields = append(fields, string(*v))
		default:
			tb.Fatalf("argument %T", arg)
		}
	}
	return fields
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	t.Parallel()
	awkward := "two \"words\"\\ \n\t\x00 € 😀 \u2028"
	for _, m := range []*driver.Message{
		{Body: []byte("bare")},
		{},
		{Key: "key"},
		{Key: "key", Body: []byte{}},
		{Key: awkward, Body: []byte("\x00\xff"), Headers: []driver.Header{{Name: "ce_id", Value: awkward}, {Name: "content-type", Value: ""}}},
		{Key: "\xff", Headers: []driver.Header{{Name: "ce_id", Value: "\xff"}, {Name: "other", Value: "1"}, {Name: "ce_", Value: "2"}}},
		{Key: "k", Headers: []driver.Header{{Name: "ce_partitionkey", Value: "k"}, {Name: "ce_a", Value: "1"}, {Name: "ce_a", Value: "2"}}},
		{Headers: []driver.Header{{Name: "ce_datacontenttype", Value: "x"}, {Name: "content-type", Value: "y"}}},
	} {
		for _, packed := range []bool{false, true} {
			fields := written(t, m, packed)
			if len(fields) == 0 || len(fields)%2 != 0 {
				t.Errorf("%+v, packed %v: fields %q", m, packed, fields)
			}
			got := decodeEntry(fields)
			if got.Key != m.Key || !bytes.Equal(got.Body, m.Body) || (got.Body == nil) != (m.Body == nil) {
				t.Errorf("%+v, packed %v: read %+v", m, packed, got)
			}
			wantHeaders(t, got, m)
		}
	}
}

// wantHeaders compares headers in any order; the key may have become one.
func wantHeaders(tb testing.TB, got, want *driver.Message) {
	tb.Helper()
	list := func(m *driver.Message, key string) []string {
		var all []string
		for _, h := range m.Headers {
			all = append(all, h.Name+"="+h.Value)
		}
		if key != "" && !named(m.Headers, keyField) {
			all = append(all, keyField+"="+key)
		}
		slices.Sort(all)
		return all
	}
	if g, w := list(got, ""), list(want, want.Key); !slices.Equal(g, w) {
		tb.Errorf("headers %q, want %q", g, w)
	}
}

func TestPackedIsOneField(t *testing.T) {
	t.Parallel()
	m := &driver.Message{Key: "k", Headers: []driver.Header{{Name: "ce_id", Value: "1"}, {Name: "content-type", Value: "t"}}, Body: []byte("b")}
	want := []string{"ce", `{"id":"1","datacontenttype":"t","partitionkey":"k"}`, "data", "b"}
	if got := written(t, m, true); !slices.Equal(got, want) {
		t.Errorf("fields %q, want %q", got, want)
	}
}

// FuzzDecodeEntry reads whatever strangers write: it never panics, and loses
// nothing that it does not understand.
func FuzzDecodeEntry(f *testing.F) {
	f.Add("ce_id", "1", "ce", `{"id":"1"}`, "data", "x")
	f.Add("ce", `{"a":"\ud83d\ude00","b":-1.5,"c":null}`, "ce", "{", "data", "\xff")
	f.Add("", "", "ce", `{"":"1"}`, "ce_partitionkey", "k")
	f.Fuzz(func(t *testing.T, name1, value1, name2, value2, name3, value3 string) {
		fields := []string{name1, value1, name2, value2, name3, value3}
		m := decodeEntry(fields)
		bodies := 0
		for i := 0; i < len(fields); i += 2 {
			name, value := fields[i], fields[i+1]
			switch {
			case name == payloadField && string(m.Body) == value:
			case name == bodyField && bodies == 0:
				bodies++
				if string(m.Body) != value {
					t.Errorf("body %q, want %q", m.Body, value)
				}
			case name == packedField:
				checkPacked(t, m, value)
			case !slices.Contains(m.Headers, driver.Header{Name: name, Value: value}):
				t.Errorf("field %q = %q is lost in %+v", name, value, m.Headers)
			}
		}
	})
}

// checkPacked wants the texts of a JSON object as headers, or the field as it is.
func checkPacked(t *testing.T, m *driver.Message, value string) {
	t.Helper()
	if slices.Contains(m.Headers, driver.Header{Name: packedField, Value: value}) {
		return
	}
	if !utf8.ValidString(value) || !json.Valid([]byte(value)) {
		t.Fatalf("%q is read, though it is no JSON", value)
	}
	object := map[string]any{}
	if err := json.Unmarshal([]byte(value), &object); err != nil {
		t.Fatalf("%q is read, though it is no object: %v", value, err)
	}
	for name, v := range object {
		text, ok := v.(string)
		if ok && strings.Count(value, `"`+name+`"`) == 1 && !slices.Contains(m.Headers, driver.Header{Name: headerOf(name), Value: text}) {
			t.Errorf("attribute %q = %q of %q is lost in %+v", name, text, value, m.Headers)
		}
	}
}

// FuzzPacked writes whatever comes and reads it back.
func FuzzPacked(f *testing.F) {
	f.Add("ce_id", "1", "content-type", "x", "key")
	f.Add("ce_\"", "\\", "ce_ ", "\x7f", "\xf0")
	f.Fuzz(func(t *testing.T, name1, value1, name2, value2, key string) {
		m := &driver.Message{Key: key, Headers: []driver.Header{{Name: name1, Value: value1}, {Name: name2, Value: value2}}}
		if checkHeaders(m.Headers) != nil || named(m.Headers, keyField) {
			t.Skip()
		}
		got := decodeEntry(written(t, m, true))
		if got.Key != key {
			t.Errorf("key %q, want %q", got.Key, key)
		}
		wantHeaders(t, got, m)
	})
}
