package envelope

import (
	"maps"
	"testing"
)

func TestStructuredVectors(t *testing.T) {
	t.Parallel()
	vectors := readVectors[struct {
		Valid []struct {
			Name       string            `json:"name"`
			Attributes map[string]string `json:"attributes"`
			Document   octets            `json:"document"`
			Data       octets            `json:"data"`
			Written    bool              `json:"written"`
		} `json:"valid"`
		Invalid []struct {
			Name       string `json:"name"`
			Document   octets `json:"document"`
			Code       Code   `json:"code"`
			ErrorNames string `json:"error_names"`
		} `json:"invalid"`
	}](t, "structured.json")
	for _, v := range vectors.Valid {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			e, err := UnmarshalStructured(v.Document)
			if err != nil {
				t.Fatal(err)
			}
			if got := attributesOf(t, e); !maps.Equal(got, v.Attributes) {
				t.Errorf("attributes\n%v, want\n%v", got, v.Attributes)
			}
			if !sameBytes(e.Data, v.Data) {
				t.Errorf("data %q, want %q", e.Data, v.Data)
			}
			got, err := MarshalStructured(e)
			if err != nil || v.Written && string(got) != string(v.Document) {
				t.Errorf("document %v\n%s, want\n%s", err, got, v.Document)
			}
		})
	}
	for _, v := range vectors.Invalid {
		t.Run("invalid/"+v.Name, func(t *testing.T) {
			t.Parallel()
			_, err := UnmarshalStructured(v.Document)
			wantInvalid(t, err, v.Code, v.ErrorNames)
		})
	}
}

func TestMarshalStructuredRefusesWhatIsInvalid(t *testing.T) {
	t.Parallel()
	e := minimal()
	e.Extensions = map[string]string{`x":"y`: "z"}
	_, err := MarshalStructured(e)
	wantInvalid(t, err, Invalid, "extension name")
}
