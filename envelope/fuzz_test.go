package envelope

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

func FuzzParseType(f *testing.F) {
	f.Add("research.task@1")
	f.Add("a-b_c.d9@999999")
	f.Add("a@01")
	f.Fuzz(func(t *testing.T, wire string) {
		name, version, err := ParseType(wire)
		if err != nil {
			wantInvalid(t, err, Invalid, "wire type")
			return
		}
		if FormatType(name, version) != wire {
			t.Errorf("%q is parsed as %q, %d", wire, name, version)
		}
		if n, low, high, err := ParseTypeRange(wire); n != name || low != version || high != version || err != nil {
			t.Errorf("%q as a range is %q, %d, %d, %v", wire, n, low, high, err)
		}
	})
}

func FuzzParseTypeRange(f *testing.F) {
	f.Add("crm.customer@2..3")
	f.Add("a@1")
	f.Add("a@3..1")
	f.Fuzz(func(t *testing.T, wire string) {
		name, low, high, err := ParseTypeRange(wire)
		if err != nil {
			wantInvalid(t, err, Invalid, "type")
			return
		}
		if low > high || low < 1 {
			t.Errorf("%q is from %d to %d", wire, low, high)
		}
		for _, version := range []int{low, high} {
			if n, v, err := ParseType(FormatType(name, version)); n != name || v != version || err != nil {
				t.Errorf("end %d of %q: %v", version, wire, err)
			}
		}
	})
}

func FuzzPercentDecode(f *testing.F) {
	f.Add("Euro%20%E2%82%AC%20%F0%9F%98%80")
	f.Add(`"quoted \" %41"`)
	f.Add("%C0%A0")
	f.Fuzz(func(t *testing.T, encoded string) {
		value, reason := percentDecode(encoded)
		if reason != "" {
			return
		}
		if !utf8.ValidString(value) {
			t.Fatalf("%q is decoded as %q", encoded, value)
		}
		again, reason := percentDecode(percentEncode(value))
		if again != value || reason != "" {
			t.Errorf("%q became %q %s", value, again, reason)
		}
	})
}

func FuzzPercentEncode(f *testing.F) {
	f.Add("Euro € 😀")
	f.Add("100% \"sure\"")
	f.Add("1234567\x7f")
	f.Fuzz(func(t *testing.T, value string) {
		encoded := percentEncode(value)
		for i := range len(encoded) {
			if c := encoded[i]; c < '!' || c > '~' || c == '"' {
				t.Fatalf("%q is encoded as %q", value, encoded)
			}
		}
		decoded, reason := percentDecode(encoded)
		if utf8.ValidString(value) != (reason == "") || reason == "" && decoded != value {
			t.Errorf("%q came back as %q %s", value, decoded, reason)
		}
	})
}

// The headers of a fuzzed message are its lines: name, colon, value.
func fuzzedHeaders(text string) []Header {
	var headers []Header
	for line := range strings.SplitSeq(text, "\n") {
		name, value, _ := strings.Cut(line, ":")
		headers = append(headers, Header{Name: name, Value: value})
	}
	return headers
}

func fuzzBinding(f *testing.F, b *Binding) {
	f.Helper()
	for _, e := range []*Envelope{minimal(), sample(f)} {
		var text strings.Builder
		for _, h := range b.Encode(nil, e) {
			text.WriteString(h.Name + ":" + h.Value + "\n")
		}
		f.Add(text.String(), e.Data)
		f.Add(strings.ToUpper(text.String()), e.Data)
	}
	f.Add(b.mode+":application/cloudevents+json", []byte(`{"specversion":"1.0","id":"7","source":"/s","type":"t","data":{"a":1}}`))
	f.Fuzz(func(t *testing.T, text string, body []byte) {
		var e Envelope
		if err := b.Decode(fuzzedHeaders(text), body, &e); err != nil {
			wantInvalid(t, err, Invalid, "")
			return
		}
		if err := e.Validate(); err != nil {
			t.Fatalf("%+v was read and cannot be sent on: %v", &e, err)
		}
		checkRoundTrip(t, b, &e)
	})
}

func FuzzDecodeNATS(f *testing.F)  { fuzzBinding(f, NATS()) }
func FuzzDecodeHTTP(f *testing.F)  { fuzzBinding(f, HTTP()) }
func FuzzDecodeKafka(f *testing.F) { fuzzBinding(f, Kafka()) }

func FuzzUnmarshalStructured(f *testing.F) {
	f.Add([]byte(`{"specversion":"1.0","id":"7","source":"/s","type":"t","data":{"a":1}}`))
	f.Add([]byte(`{"specversion":"1.0","id":"7","source":"/s","type":"t","datacontenttype":"text/plain","data":"x","n":1,"b":true}`))
	f.Add([]byte(`{"specversion":"1.0","id":"7","source":"/s","type":"t","data_base64":"AP+A","time":"2026-03-14T15:09:26.5+01:00"}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		e, err := UnmarshalStructured(doc)
		if err != nil {
			wantInvalid(t, err, Invalid, "")
			return
		}
		written, err := MarshalStructured(e)
		if err != nil {
			t.Fatalf("%+v was read and cannot be written: %v", e, err)
		}
		if !json.Valid(written) {
			t.Fatalf("%s is not JSON", written)
		}
		again, err := UnmarshalStructured(written)
		if err != nil || !reflect.DeepEqual(e, again) {
			t.Errorf("%+v came back as %+v, %v", e, again, err)
		}
	})
}

// FuzzPrintable holds the functions that look at eight bytes at once against
// those that look at one.
func FuzzPrintable(f *testing.F) {
	f.Add("1234567 ", 7)
	f.Add("1234567\x7f9", 3)
	f.Fuzz(func(t *testing.T, s string, cut int) {
		if cut >= 0 && cut < len(s) {
			s = s[cut:]
		}
		printable, safe := true, true
		for i := range len(s) {
			printable = printable && s[i] >= ' ' && s[i] <= '~'
			safe = safe && !mustEscape(s[i])
		}
		if isPrintable(s) != printable || isHeaderSafe(s) != safe {
			t.Errorf("%q: printable %v, header-safe %v", s, isPrintable(s), isHeaderSafe(s))
		}
	})
}
