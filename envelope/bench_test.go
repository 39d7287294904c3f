package envelope

import "testing"

// sample is an envelope as a typed publish makes it.
func sample(tb testing.TB) *Envelope {
	tb.Helper()
	e, err := New(task{"postgres 17"}, WithKey("customer-42"))
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

// hotPath is what happens to every message, with the allocations it may cost.
func hotPath(tb testing.TB) []struct {
	name  string
	most  float64
	times func() error
} {
	tb.Helper()
	e := sample(tb)
	large := sample(tb)
	large.Extensions = map[string]string{"tenant": "acme"}
	nats, kafka := NATS(), Kafka()
	natsHeaders, kafkaHeaders := nats.Encode(nil, e), kafka.Encode(nil, e)
	dst := make([]Header, 0, 64)
	var into Envelope
	var answer task
	key := WithKey("customer-42")
	return []struct {
		name  string
		most  float64
		times func() error
	}{
		{"NewID", 1, func() error { NewID(); return nil }},
		// the value as an interface, the envelope, the id, the payload
		{"New", 4, func() error { _, err := New(task{"postgres 17"}, key); return err }},
		{"EncodeNATS", 1, func() error { dst = nats.Encode(dst[:0], e); return nil }}, // the time
		{"EncodeKafka", 1, func() error { dst = kafka.Encode(dst[:0], e); return nil }},
		{"DecodeNATS", 0, func() error { return nats.Decode(natsHeaders, e.Data, &into) }},
		{"DecodeKafka", 0, func() error { return kafka.Decode(kafkaHeaders, e.Data, &into) }},
		{"Validate", 0, e.Validate},
		{"Limits", 0, func() error { return Limits{}.Check(e) }},
		{"DedupID", 1, func() error { e.DedupID("tasks.research"); return nil }},
		{"Fingerprint", 0, func() error { e.Fingerprint(); return nil }},
		{"OutputID", 1, func() error { OutputID("", "researcher", e, "0", large); return nil }},
		{"ParseType", 0, func() error { _, _, err := ParseType("research.task@1"); return err }},
		{"Clone", 1, func() error { e.Clone(); return nil }},
		{"DecodeJSON", 6, func() error { return e.Decode(&answer) }}, // by encoding/json
	}
}

// Not parallel: AllocsPerRun counts those of other tests too.
func TestAllocations(t *testing.T) {
	for _, step := range hotPath(t) {
		got := testing.AllocsPerRun(1000, func() {
			if err := step.times(); err != nil {
				t.Fatal(err)
			}
		})
		if got > step.most {
			t.Errorf("%s allocates %v times, at most %v are allowed", step.name, got, step.most)
		}
	}
}

func BenchmarkHotPath(b *testing.B) {
	for _, step := range hotPath(b) {
		b.Run(step.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := step.times(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
