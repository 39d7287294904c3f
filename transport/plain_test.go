package transport_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
)

// newCarrier is a fake of a broker that carries headers.
func newCarrier() *fake {
	f := newFake()
	f.caps = driver.Capabilities{
		DelayedNack: true, DelaysByCopy: true, Headers: driver.HeaderStyle{Prefix: "ce_", ContentType: "content-type"},
	}
	return f
}

func plainOptions() *transport.Options {
	return &transport.Options{Plain: map[string]string{"tasks": "research.task@2"}}
}

// reading subscribes to a topic until the test ends.
func reading(t *testing.T, wire *transport.Transport, topic string, handle transport.Handler) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- wire.Subscribe(ctx, topic, handle, nil) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("subscribe: %v", err)
		}
	})
}

func TestPlainMessagesAreOfTheTopicsType(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newCarrier()
		var got []string
		reading(t, transport.New(f, plainOptions()), "tasks", func(_ context.Context, d *transport.Delivery) transport.Outcome {
			if d.Envelope == nil {
				got = append(got, d.Position()+" "+d.DecodeErr.Error())
				return transport.Done()
			}
			got = append(got, strings.Join([]string{
				d.Envelope.WireType(), d.Envelope.ID, d.Envelope.Source, d.Envelope.Key, d.Envelope.CorrelationID, string(d.Envelope.Data),
			}, " "))
			return transport.Done()
		})
		src := f.source(0)
		uuid, body := driver.Header{Name: envelope.MetadataUUID, Value: "u-1"}, []byte("{}")
		for _, m := range []*driver.Message{
			{Token: 1, Key: "k", Body: body, Headers: []driver.Header{uuid, {Name: "correlation_id", Value: "c"}}},
			{Token: 2, Key: "\xff", Body: body, Position: "3/17", Seq: 18},
			{Token: 3, Body: body, Shard: 3, Seq: 18},
			{Token: 4, Body: body, Shard: 3, Seq: 18, Deliveries: 2},
			{Token: 5, Body: body},
			{Token: 6, Body: body, Headers: []driver.Header{
				{Name: "ce_specversion", Value: "1.0"}, {Name: "ce_id", Value: "1"}, {Name: "ce_source", Value: "/s"}, {Name: "ce_type", Value: "t"},
			}},
		} {
			src.push(m)
			synctest.Wait()
		}
		want := []string{
			"research.task@2 u-1 /topics/tasks k c {}",
			"research.task@2 tasks/3/17 /topics/tasks   {}",
			"research.task@2 tasks/3:18 /topics/tasks   {}",
			"research.task@2 tasks/3:18 /topics/tasks   {}",
			" message is plain, without a header _watermill_message_uuid, and the broker does not say where it stands: nothing identifies it",
			"t@1 1 /s   {}",
		}
		if !slices.Equal(got, want) {
			t.Errorf("delivered\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

func TestElsewherePlainMessagesAreUndecodable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newCarrier()
		var err error
		reading(t, transport.New(f, plainOptions()), "others", func(_ context.Context, d *transport.Delivery) transport.Outcome {
			err = d.DecodeErr
			return transport.Done()
		})
		f.source(0).push(&driver.Message{Token: 1, Position: "1", Body: []byte("{}")})
		wantOutcomes(t, f.source(0), "1:ack")
		if !errors.Is(err, envelope.Invalid) {
			t.Errorf("decoding says %v", err)
		}
	})
}

// TestACopyOfAPlainMessageStaysTheSameMessage: the id of one without a UUID is its
// place, which the copy does not have.
func TestACopyOfAPlainMessageStaysTheSameMessage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newCarrier()
		var ids []string
		var attempts []int
		reading(t, transport.New(f, plainOptions()), "tasks", func(_ context.Context, d *transport.Delivery) transport.Outcome {
			ids, attempts = append(ids, d.Envelope.ID), append(attempts, d.Envelope.Attempt)
			if len(ids) < 3 {
				return transport.RedeliverAfter(time.Second, len(ids))
			}
			return transport.Done()
		})
		src := f.source(0)
		src.push(&driver.Message{Token: 1, Position: "0/1"})
		for i := range 2 {
			synctest.Wait()
			copied := src.settled[i]
			headers := append([]driver.Header{{Name: "ce_attempt", Value: string(rune('0' + copied.Attempts))}}, copied.Headers...)
			if i > 0 { // it stands there by now
				headers = append(headers, driver.Header{Name: envelope.MetadataUUID, Value: ids[0]})
			}
			src.push(&driver.Message{Token: i + 2, Position: "9/" + string(rune('0'+i)), Headers: headers})
		}
		synctest.Wait()
		if want := []string{"tasks/0/1", "tasks/0/1", "tasks/0/1"}; !slices.Equal(ids, want) {
			t.Errorf("ids are %q, want %q", ids, want)
		}
		if want := []int{0, 1, 2}; !slices.Equal(attempts, want) {
			t.Errorf("attempts are %v, want %v", attempts, want)
		}
		if n := len(src.settled[1].Headers); n > 0 {
			t.Errorf("a copy with a UUID gets %d further headers", n)
		}
	})
}

func TestPlainTopicsArePublishedForBothKindsOfReader(t *testing.T) {
	t.Parallel()
	for name, fields := range map[string]bool{"headers": false, "fields": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newCarrier()
			f.caps.Headers.Fields = fields
			f.publish = func(msgs []*driver.Message) error {
				for _, m := range msgs {
					m.Headers = slices.Clone(m.Headers) // the transport uses them again
				}
				return nil
			}
			wire := transport.New(f, plainOptions())
			e := &envelope.Envelope{ID: "1", Source: "/s", Type: "t.m", SchemaVersion: 1, CorrelationID: "c", Data: []byte("{}")}
			for _, topic := range []string{"tasks", "others"} {
				if err := wire.Publish(t.Context(), topic, e); err != nil {
					t.Fatal(err)
				}
			}
			plain, other := f.published[0][0], f.published[1][0]
			has := func(m *driver.Message, name, value string) bool {
				return slices.Contains(m.Headers, driver.Header{Name: name, Value: value})
			}
			switch {
			case !has(plain, "ce_id", "1") || !has(plain, envelope.MetadataUUID, "1"):
				t.Errorf("published %q", plain.Headers)
			case fields && (plain.Body != nil || !has(plain, "payload", "{}") || !has(plain, "metadata", "\x81\xaecorrelation_id\xa1c")):
				t.Errorf("published fields %q and body %q", plain.Headers, plain.Body)
			case !fields && (string(plain.Body) != "{}" || !has(plain, "correlation_id", "c")):
				t.Errorf("published headers %q and body %q", plain.Headers, plain.Body)
			case has(other, envelope.MetadataUUID, "1") || string(other.Body) != "{}":
				t.Errorf("published elsewhere: %q", other.Headers)
			}
		})
	}
}

func TestAMalformedPlainTypeIsRefused(t *testing.T) {
	t.Parallel()
	wire := transport.New(newCarrier(), &transport.Options{Plain: map[string]string{"tasks": "Task"}})
	e := &envelope.Envelope{ID: "1", Source: "/s", Type: "t.m", SchemaVersion: 1}
	for _, err := range []error{wire.Publish(t.Context(), "others", e), wire.Subscribe(t.Context(), "others", nil, nil)} {
		if !errors.Is(err, envelope.Invalid) || !strings.Contains(err.Error(), `plain topic "tasks"`) {
			t.Errorf("error is %v", err)
		}
	}
}
