package envelope

import (
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"
)

// bindingVectors is a file binding-*.json.
type bindingVectors struct {
	Binding struct {
		Prefix            string `json:"prefix"`
		ContentTypeHeader string `json:"content_type_header"`
		PercentEncoded    bool   `json:"percent_encoded"`
	} `json:"binding"`
	Valid []struct {
		Name       string            `json:"name"`
		Attributes map[string]string `json:"attributes"`
		Headers    []pair            `json:"headers"`
		Body       octets            `json:"body"`
		Data       octets            `json:"data"`
		Written    bool              `json:"written"`
	} `json:"valid"`
	Invalid []struct {
		Name       string `json:"name"`
		Headers    []pair `json:"headers"`
		Body       octets `json:"body"`
		Code       Code   `json:"code"`
		ErrorNames string `json:"error_names"`
	} `json:"invalid"`
}

func bindings() map[string]*Binding {
	return map[string]*Binding{"nats": NATS(), "http": HTTP(), "kafka": Kafka()}
}

func headersOf(pairs []pair) []Header {
	headers := make([]Header, 0, len(pairs))
	for _, p := range pairs {
		headers = append(headers, Header(p))
	}
	return headers
}

func TestBindingVectors(t *testing.T) {
	t.Parallel()
	for name, binding := range bindings() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			vectors := readVectors[bindingVectors](t, "binding-"+name+".json")
			d := vectors.Binding
			if described := NewBinding(d.Prefix, d.ContentTypeHeader, d.PercentEncoded); !reflect.DeepEqual(described, binding) {
				t.Errorf("binding %+v, the file describes %+v", binding, described)
			}
			for _, v := range vectors.Valid {
				t.Run(v.Name, func(t *testing.T) {
					t.Parallel()
					if v.Data == nil {
						v.Data = v.Body
					}
					var e Envelope
					headers := headersOf(v.Headers)
					if err := binding.Decode(headers, v.Body, &e); err != nil {
						t.Fatal(err)
					}
					if got := attributesOf(t, &e); !maps.Equal(got, v.Attributes) {
						t.Errorf("attributes\n%v, want\n%v", got, v.Attributes)
					}
					if !sameBytes(e.Data, v.Data) {
						t.Errorf("data %s, want %s", show(e.Data), show(v.Data))
					}
					if got := binding.Encode(nil, &e); v.Written && !slices.Equal(got, headers) {
						t.Errorf("headers\n%q, want\n%q", got, headers)
					}
				})
			}
			for _, v := range vectors.Invalid {
				t.Run("invalid/"+v.Name, func(t *testing.T) {
					t.Parallel()
					var e Envelope
					err := binding.Decode(headersOf(v.Headers), v.Body, &e)
					wantInvalid(t, err, v.Code, v.ErrorNames)
				})
			}
		})
	}
}

func TestEncodeAppends(t *testing.T) {
	t.Parallel()
	first := Header{Name: "Nats-Msg-Id", Value: "x"}
	got := NATS().Encode([]Header{first}, minimal())
	if len(got) != 6 || got[0] != first || got[1].Name != "ce-specversion" {
		t.Errorf("headers %q", got)
	}
}

func TestEncodeWritesUTC(t *testing.T) {
	t.Parallel()
	e := minimal()
	e.Time = time.Date(2026, 3, 14, 16, 9, 26, 0, time.FixedZone("east", 3600))
	got := Kafka().Encode(nil, e)
	if want := (Header{Name: "ce_time", Value: "2026-03-14T15:09:26Z"}); !slices.Contains(got, want) {
		t.Errorf("headers %q", got)
	}
}

func TestEncodeReusesItsSpace(t *testing.T) {
	t.Parallel()
	e := minimal()
	dst := Kafka().Encode(nil, e)
	again := Kafka().Encode(dst[:0], e)
	if &dst[0] != &again[0] {
		t.Error("a slice with room was not reused")
	}
}

func TestDecodeReplacesEverything(t *testing.T) {
	t.Parallel()
	e := Envelope{ID: "old", Subject: "old", Attempt: 3, Topic: "old", Extensions: map[string]string{"old": "x"}, Expires: time.Now()}
	if err := Kafka().Decode(Kafka().Encode(nil, minimal()), nil, &e); err != nil {
		t.Fatal(err)
	}
	if want := minimal(); !reflect.DeepEqual(&e, want) {
		t.Errorf("envelope %+v, want %+v", &e, want)
	}
}

func TestDecodeSharesTheBody(t *testing.T) {
	t.Parallel()
	body := []byte("payload")
	var e Envelope
	if err := Kafka().Decode(Kafka().Encode(nil, minimal()), body, &e); err != nil {
		t.Fatal(err)
	}
	if &e.Data[0] != &body[0] {
		t.Error("the body was copied")
	}
}

func TestRedisCanBeDescribed(t *testing.T) {
	t.Parallel()
	if !reflect.DeepEqual(NewBinding("ce_", "content-type", false), Kafka()) {
		t.Error("names as on Kafka and raw bytes are another binding than Kafka's")
	}
}

func TestEveryAttributeHasOneName(t *testing.T) {
	t.Parallel()
	for a := range attributes {
		if got := attributeOf(a.String()); got != a || a.String() == "" {
			t.Errorf("attribute %d is named %q, which names %d", a, a, got)
		}
	}
	if noAttribute.String() != "" || attributeOf("") != noAttribute {
		t.Error("what is no attribute has a name")
	}
}

// checkRoundTrip fails unless e survives a binding.
func checkRoundTrip(t *testing.T, b *Binding, e *Envelope) {
	t.Helper()
	headers := b.Encode(nil, e)
	var again Envelope
	if err := b.Decode(headers, e.Data, &again); err != nil {
		t.Fatalf("%q: %v", headers, err)
	}
	if !reflect.DeepEqual(e, &again) {
		t.Fatalf("envelope %+v came back as %+v", e, &again)
	}
}
