package watermillbridge

import (
	"maps"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/anywire/anywire/envelope"
)

func convert(tb testing.TB, wireType string) *converter {
	tb.Helper()
	c, err := newConverter("orders", wireType)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// there and back again, over the wire of Kafka.
func (c *converter) survives(tb testing.TB, w *message.Message) {
	tb.Helper()
	e, err := c.fromMessage(w)
	if err != nil {
		tb.Fatalf("%q: %v", w.UUID, err)
	}
	if err := e.Validate(); err != nil {
		tb.Fatalf("the envelope cannot be published: %v", err)
	}
	var received envelope.Envelope
	if err := envelope.Kafka().Decode(envelope.Kafka().Encode(nil, e), e.Data, &received); err != nil {
		tb.Fatalf("the envelope cannot be read: %v", err)
	}
	got := c.toMessage(&received)
	if got.UUID != w.UUID && w.UUID != "" || string(got.Payload) != string(w.Payload) || !maps.Equal(got.Metadata, w.Metadata) {
		tb.Errorf("message %q %v %q became %q %v %q", w.UUID, w.Metadata, w.Payload, got.UUID, got.Metadata, got.Payload)
	}
}

func withMetadata(uuid, payload string, metadata ...string) *message.Message {
	w := message.NewMessage(uuid, []byte(payload))
	for i := 0; i < len(metadata); i += 2 {
		w.Metadata.Set(metadata[i], metadata[i+1])
	}
	return w
}

func TestEveryKeySurvives(t *testing.T) {
	t.Parallel()
	for name, w := range map[string]*message.Message{
		"empty":               withMetadata("", ""),
		"correlation":         withMetadata("1", "x", "correlation_id", "c"),
		"empty correlation":   withMetadata("1", "x", "correlation_id", ""),
		"extensions":          withMetadata("1", "x", "tenant", "a", "x1", ""),
		"other names":         withMetadata("1", "x", "Tenant-Name", "a", "with space", "b", "", "empty", "ключ", "v", strings.Repeat("n", 30), "long"),
		"names of attributes": withMetadata("1", "x", "id", "2", "type", "t", "source", "s", "data", "d", "correlationid", "x", "partitionkey", "k"),
		"reserved names":      withMetadata("1", "x", "dlreason", "no", "attempt", "3", "wmmetadata", "{}", "deliverat", "later"),
		"control characters":  withMetadata("1", "x", "a", "line\nbreak", "b", "\x7f\u0085", "correlation_id", "tab\t"),
		"no UTF-8":            withMetadata("1", "\xff\x00", "a", "\xff", "\xfe", "b", "c", "base64:x"),
		"content type":        withMetadata("1", "{}", "content-type", "application/json", "Content-Type", "text/plain"),
		"trace":               withMetadata("1", "{}", "traceparent", "00-1-2-01", "tracestate", "a=b"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			convert(t, "").survives(t, w)
		})
	}
}

func FuzzEveryKeySurvives(f *testing.F) {
	f.Add("1", "payload", "correlation_id", "c", "tenant", "a")
	f.Add("2", "", "ce_id", "3", "_watermill_message_uuid", "4")
	f.Add("", "\xff", "\xff", "base64:", "wmmetadata", "[")
	f.Fuzz(func(t *testing.T, uuid, payload, k1, v1, k2, v2 string) {
		w := withMetadata(uuid, payload, k1, v1, k2, v2)
		delete(w.Metadata, envelope.MetadataUUID) // Watermill's own adapters refuse it
		if _, err := convert(t, "").fromMessage(w); err != nil {
			t.Skip() // a UUID that is no id, or metadata that claims to be an event
		}
		if w.Metadata["ce_specversion"] != "" || strings.HasPrefix(w.Metadata["content-type"], "application/cloudevents") {
			t.Skip()
		}
		convert(t, "").survives(t, w)
	})
}

func TestAPlainMessageHasTypeAndSource(t *testing.T) {
	t.Parallel()
	e, err := convert(t, "order.placed@3").fromMessage(withMetadata("7", "x", "correlation_id", "c", "tenant", "a", "B", "b"))
	if err != nil {
		t.Fatal(err)
	}
	if e.ID != "7" || e.WireType() != "order.placed@3" || e.Source != "/topics/orders" || e.CorrelationID != "c" ||
		e.Extensions["tenant"] != "a" || e.Extensions["wmmetadata"] != `{"B":"b"}` || string(e.Data) != "x" {
		t.Errorf("envelope %+v %v", e, e.Extensions)
	}
}

func TestAnEventKeepsItsAttributes(t *testing.T) {
	t.Parallel()
	c := convert(t, "")
	in := &envelope.Envelope{
		ID: "1", Source: "/agents/writer", Type: "brief", SchemaVersion: 2, Key: "k", CorrelationID: "c", CausationID: "0", Hops: 3,
		ContentType: "application/json", Extensions: map[string]string{"tenant": "a"}, Data: []byte("{}"),
	}
	w := c.toMessage(in)
	for name, want := range map[string]string{
		"ce_type": "brief", "ce_schemaversion": "2", "ce_partitionkey": "k", "ce_source": "/agents/writer", "ce_tenant": "a",
		"tenant": "a", "correlation_id": "c", "content-type": "application/json",
	} {
		if got := w.Metadata.Get(name); got != want {
			t.Errorf("metadata %s is %q, want %q", name, got, want)
		}
	}
	out, err := c.fromMessage(w)
	if err != nil {
		t.Fatal(err)
	}
	if out.Identity() != in.Identity() || out.Fingerprint() != in.Fingerprint() || out.Key != in.Key || out.Hops != 3 {
		t.Errorf("envelope %+v came back as %+v", in, out)
	}
}

// A handler that copies metadata to a message of its own makes no second event of
// the same id.
func TestACopyOfMetadataIsNoEvent(t *testing.T) {
	t.Parallel()
	c := convert(t, "")
	w := c.toMessage(&envelope.Envelope{ID: "1", Source: "/s", Type: "t", SchemaVersion: 1, CorrelationID: "c"})
	mine := message.NewMessage("2", []byte("mine"))
	mine.Metadata = w.Metadata
	e, err := c.fromMessage(mine)
	if err != nil || e.ID != "2" || e.Source != "/topics/orders" || e.CorrelationID != "c" {
		t.Errorf("envelope %+v, %v", e, err)
	}
}

func TestWhatIsNoTypeOrTopicIsRefused(t *testing.T) {
	t.Parallel()
	if _, err := newConverter("orders", "no version"); err == nil {
		t.Error("a wire type without version was taken")
	}
	if _, err := newConverter("", ""); err == nil {
		t.Error("an empty topic was taken")
	}
}
