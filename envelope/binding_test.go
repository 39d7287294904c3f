package envelope

import (
	"testing"
)

type task struct {
	Topic string `json:"topic"`
}

func (task) WireType() string { return "research.task@1" }

func BenchmarkBinding(b *testing.B) {
	for name, binding := range map[string]*Binding{"nats": NATS(), "kafka": Kafka()} {
		e, err := New(task{"postgres 17"}, WithKey("customer-42"))
		if err != nil {
			b.Fatal(err)
		}
		headers := binding.Encode(nil, e)
		b.Run(name+"/encode", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				headers = binding.Encode(headers[:0], e)
			}
		})
		b.Run(name+"/decode", func(b *testing.B) {
			var into Envelope
			b.ReportAllocs()
			for b.Loop() {
				if err := binding.Decode(headers, e.Data, &into); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkNew(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := New(task{"postgres 17"}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNewID(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		NewID()
	}
}

func BenchmarkDedupID(b *testing.B) {
	e, _ := New(task{"postgres 17"})
	b.ReportAllocs()
	for b.Loop() {
		e.DedupID("tasks")
	}
}

func BenchmarkLimits(b *testing.B) {
	e, _ := New(task{"postgres 17"})
	b.ReportAllocs()
	for b.Loop() {
		if err := (Limits{}).Check(e); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkValidate(b *testing.B) {
	e, _ := New(task{"postgres 17"})
	b.ReportAllocs()
	for b.Loop() {
		if err := e.Validate(); err != nil {
			b.Fatal(err)
		}
	}
}
