package idempotency_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/idempotency"
)

// sampleOutputs differ in every attribute that there is, the barest included.
func sampleOutputs() []*envelope.Envelope {
	at := time.Date(2024, 2, 29, 23, 59, 59, 123456789, time.UTC)
	full := &envelope.Envelope{
		ID: "id", Source: "/agents/a", Type: "a.type", SchemaVersion: 3, Hops: 4, Redrive: 5, Subject: "sübject", Key: "key",
		Time: at, Expires: at.Add(time.Hour), ContentType: "application/json", DataSchema: "https://example.com/s",
		CorrelationID: "correlation", CausationID: "causation", IdempotencyKey: "idempotency", ReplyTo: "reply",
		TraceParent: "parent", TraceState: "state", Extensions: map[string]string{"one": "1", "two": ""},
		Data: []byte("data\x00\xff"), Topic: "topic", DeliverAt: at.Add(time.Minute),
	}
	bare := func() *envelope.Envelope {
		return &envelope.Envelope{ID: "1", Source: "/", Type: "t", SchemaVersion: 1}
	}
	empty, epoch, early, late := bare(), bare(), bare(), bare()
	empty.Data = []byte{}
	epoch.DeliverAt = time.Unix(0, 0).UTC()
	early.DeliverAt = time.Date(1, 1, 1, 0, 0, 0, 1, time.UTC)
	late.DeliverAt = time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC)
	return []*envelope.Envelope{full, bare(), empty, epoch, early, late}
}

func sampleRecords() []*idempotency.Record {
	full := &idempotency.Record{
		Phase: idempotency.Completed, Lease: time.Minute, Alone: true, Attempts: 1, Deaths: 2, DeathsAlone: 3, Redrive: 4,
		Steps: map[string][]byte{"": {}, "one": []byte("1"), "ünd": {0, 255}}, Outputs: sampleOutputs(), Took: time.Hour,
		Failure: &idempotency.Failure{Reason: envelope.Exhausted, Message: "why\n", Attempts: 6},
	}
	for i := range full.Fingerprint {
		full.Fingerprint[i] = byte(i + 1)
	}
	full.Token = idempotency.Token{1, 2, 15: 16}
	large := &idempotency.Record{Phase: idempotency.InProgress, Attempts: math.MaxInt, Lease: math.MaxInt64, Took: -1}
	all := []*idempotency.Record{full, large}
	for p := idempotency.InProgress; p <= idempotency.FailedForGood; p++ {
		all = append(all, &idempotency.Record{Phase: p})
	}
	return all
}

func marshalRecord(tb testing.TB, r *idempotency.Record) []byte {
	tb.Helper()
	doc, err := r.MarshalBinary()
	if err != nil {
		tb.Fatal(err)
	}
	return doc
}

// A field that is added and not written would be lost in silence.
func TestTheSampleRecordHasEveryField(t *testing.T) {
	t.Parallel()
	for _, sample := range []any{*sampleRecords()[0], *sampleRecords()[0].Failure, *sampleOutputs()[0]} {
		v := reflect.ValueOf(sample)
		for _, field := range reflect.VisibleFields(v.Type()) {
			// The number of an attempt is not a message's: it stands in delayed copies.
			if field.IsExported() && field.Name != "Attempt" && v.FieldByIndex(field.Index).IsZero() {
				t.Errorf("%T.%s is zero in the sample", sample, field.Name)
			}
		}
	}
}

func TestRecordsAreReadAsTheyWereWritten(t *testing.T) {
	t.Parallel()
	for i, want := range sampleRecords() {
		var got idempotency.Record
		if err := got.UnmarshalBinary(marshalRecord(t, want)); err != nil {
			t.Fatalf("record %d: %v", i, err)
		}
		if !reflect.DeepEqual(&got, want) {
			t.Errorf("record %d is %+v, want %+v", i, got, *want)
		}
	}
}

func TestOutputsAreReadAsTheyWereWritten(t *testing.T) {
	t.Parallel()
	for n := range len(sampleOutputs()) + 1 {
		want := sampleOutputs()[:n:n]
		got, err := idempotency.UnmarshalOutputs(idempotency.MarshalOutputs(want))
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != n || n > 0 && !reflect.DeepEqual(got, want) {
			t.Errorf("%d outputs are read as %+v, want %+v", n, got, want)
		}
	}
}

// A settled record is what most of a store consists of.
func TestASettledRecordIsShort(t *testing.T) {
	t.Parallel()
	r := sampleRecords()[0]
	if err := r.Apply(&idempotency.Change{Op: idempotency.Settle}); err != nil {
		t.Fatal(err)
	}
	if n := len(marshalRecord(t, r)); n > 72 {
		t.Errorf("a settled record has %d bytes, want at most 72", n)
	}
}

// readAll reads doc both ways, and fails unless it is read or refused.
func readAll(tb testing.TB, doc []byte) (record, outputs error) {
	tb.Helper()
	var r idempotency.Record
	record = r.UnmarshalBinary(doc)
	_, outputs = idempotency.UnmarshalOutputs(doc)
	for _, err := range []error{record, outputs} {
		if err != nil && !errors.Is(err, idempotency.ErrUnreadable) {
			tb.Errorf("%q: error %v, want one that wraps ErrUnreadable", doc, err)
		}
	}
	if record != nil && !reflect.DeepEqual(r, idempotency.Record{}) {
		tb.Errorf("%q: is not read, and left %+v", doc, r)
	}
	return record, outputs
}

func TestDamageIsUnreadable(t *testing.T) {
	t.Parallel()
	record := marshalRecord(t, sampleRecords()[0])
	outputs := idempotency.MarshalOutputs(sampleOutputs())
	for n := range record {
		if err, _ := readAll(t, record[:n]); err == nil {
			t.Errorf("the first %d bytes of a record are read as one", n)
		}
	}
	for n := range outputs {
		if _, err := readAll(t, outputs[:n]); err == nil {
			t.Errorf("the first %d bytes of outputs are read as such", n)
		}
	}
	for _, doc := range [][]byte{append(bytes.Clone(record), 0), append(bytes.Clone(outputs), 0), nil, {}, {2}, {1, 9}, {255}} {
		if a, b := readAll(t, doc); a == nil || b == nil {
			t.Errorf("%q is read: errors %v and %v", doc, a, b)
		}
	}
	later := bytes.Clone(record)
	later[0] = 2
	if err, _ := readAll(t, later); err == nil || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("a record of version 2: error %v, want one that says so", err)
	}
}

// Whatever number a length is changed to, reading stays small and does not panic.
func TestDamageAllocatesLittle(t *testing.T) { //nolint:paralleltest // counts allocations
	huge := binary.AppendUvarint(nil, math.MaxUint64)
	large := binary.AppendUvarint(nil, 1<<34)
	var before, after runtime.MemStats
	for _, doc := range [][]byte{marshalRecord(t, sampleRecords()[0]), idempotency.MarshalOutputs(sampleOutputs())} {
		for at := range doc {
			for _, with := range [][]byte{huge, large, {0xff}, {0x7f}, {0}} {
				damaged := append(append(bytes.Clone(doc[:at]), with...), doc[at+1:]...)
				runtime.ReadMemStats(&before)
				readAll(t, damaged)
				runtime.ReadMemStats(&after)
				if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
					t.Fatalf("reading %d bytes, of which byte %d is %x, takes %d", len(damaged), at, with, n)
				}
			}
		}
	}
}

func FuzzRecord(f *testing.F) {
	for _, r := range sampleRecords() {
		f.Add(marshalRecord(f, r))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		unread, _ := readAll(t, doc)
		if unread != nil {
			return
		}
		var first, second idempotency.Record
		if err := first.UnmarshalBinary(doc); err != nil {
			t.Fatal(err)
		}
		if err := second.UnmarshalBinary(marshalRecord(t, &first)); err != nil {
			t.Fatalf("%q is read, and what is written for it is not: %v", doc, err)
		}
		if !reflect.DeepEqual(first, second) {
			t.Fatalf("%q is read as %+v, and what is written for it as %+v", doc, first, second)
		}
	})
}

func FuzzOutputs(f *testing.F) {
	for n := range len(sampleOutputs()) + 1 {
		f.Add(idempotency.MarshalOutputs(sampleOutputs()[:n]))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		_, unread := readAll(t, doc)
		if unread != nil {
			return
		}
		first, err := idempotency.UnmarshalOutputs(doc)
		if err != nil {
			t.Fatal(err)
		}
		second, err := idempotency.UnmarshalOutputs(idempotency.MarshalOutputs(first))
		if err != nil {
			t.Fatalf("%q is read, and what is written for it is not: %v", doc, err)
		}
		if !reflect.DeepEqual(first, second) {
			t.Fatalf("%q is read as %+v, and what is written for it as %+v", doc, first, second)
		}
	})
}
