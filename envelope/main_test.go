package envelope

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// task is the message of these tests.
type task struct {
	Topic string `json:"topic"`
}

func (task) WireType() string { return "research.task@1" }

// minimal is an envelope with only what every message has.
func minimal() *Envelope {
	return &Envelope{ID: "1", Source: "/s", Type: "t", SchemaVersion: 1}
}

// octets are bytes as testdata/README.md describes them.
type octets []byte

func (o *octets) UnmarshalJSON(doc []byte) error {
	var text *string
	if err := json.Unmarshal(doc, &text); err == nil {
		*o = nil
		if text != nil {
			*o = octets(*text)
		}
		return nil
	}
	var encoded struct{ Base64 []byte }
	err := json.Unmarshal(doc, &encoded)
	*o = encoded.Base64
	return err
}

// pair is a header as testdata/README.md describes it.
type pair Header

func (p *pair) UnmarshalJSON(doc []byte) error {
	var both []octets
	if err := json.Unmarshal(doc, &both); err != nil {
		return err
	}
	if len(both) != 2 {
		return errors.New("a header is a pair")
	}
	*p = pair{Name: string(both[0]), Value: string(both[1])}
	return nil
}

// readVectors reads a file of test vectors.
func readVectors[T any](t *testing.T, name string) T {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	var vectors T
	if err := json.Unmarshal(content, &vectors); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return vectors
}

// attributesOf writes an envelope as the vectors do, without the code under
// test.
func attributesOf(t *testing.T, e *Envelope) map[string]string {
	t.Helper()
	all := map[string]string{
		"id": e.ID, "source": e.Source, "type": e.Type, "subject": e.Subject, "partitionkey": e.Key,
		"datacontenttype": e.ContentType, "dataschema": e.DataSchema, "correlationid": e.CorrelationID,
		"causationid": e.CausationID, "idempotencykey": e.IdempotencyKey, "replyto": e.ReplyTo,
		"traceparent": e.TraceParent, "tracestate": e.TraceState, "specversion": "1.0",
		"schemaversion": decimal(t, e.SchemaVersion), "hops": decimal(t, e.Hops), "redrive": decimal(t, e.Redrive),
	}
	for name, at := range map[string]time.Time{"time": e.Time, "expirytime": e.Expires} {
		if !at.IsZero() {
			all[name] = at.Format("2006-01-02T15:04:05.999999999Z")
		}
	}
	maps.DeleteFunc(all, func(_, value string) bool { return value == "" })
	maps.Copy(all, e.Extensions)
	return all
}

func decimal(t *testing.T, n int) string {
	t.Helper()
	if n == 0 {
		return ""
	}
	text, err := json.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// wantInvalid checks the error of a decoder.
func wantInvalid(t *testing.T, err error, code Code, names string) {
	t.Helper()
	if !errors.Is(err, code) {
		t.Fatalf("error %v, want code %s", err, code)
	}
	if !strings.Contains(err.Error(), names) {
		t.Errorf("error %q does not name %q", err, names)
	}
}

// sameBytes compares payloads, nil and empty apart.
func sameBytes(a, b []byte) bool {
	return bytes.Equal(a, b) && (a == nil) == (b == nil)
}

func show(data []byte) string {
	if data == nil {
		return "none"
	}
	return base64.StdEncoding.EncodeToString(data)
}
