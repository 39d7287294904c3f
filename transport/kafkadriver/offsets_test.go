package kafkadriver

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// world is a partition with gaps, as a model that knows each record for itself.
type world struct {
	records   []int64
	settled   map[int64]bool
	unsettled []int64
	at        int // the next record that comes
}

func newWorld(random *rand.Rand, first int64, n int) *world {
	w := &world{settled: map[int64]bool{}}
	next := first
	for range n {
		next += int64(max(0, random.IntN(20)-17)) // most without a gap
		w.records = append(w.records, next)
		next++
	}
	return w
}

func (w *world) last() int64 { return w.records[len(w.records)-1] }

// Records come in order with gaps, are settled in any order, and the partition goes
// to another owner in between, who knows the commit alone: nothing that was settled
// comes again, nothing that was not is skipped, and all gets done.
func TestOffsetsInAnyOrder(t *testing.T) {
	t.Parallel()
	for seed := range uint64(100) {
		random := rand.New(rand.NewPCG(seed, 7))
		limit := int64(1 + random.IntN(300))
		w := newWorld(random, int64(random.IntN(1<<20)), 500)
		o := newOffsets(w.records[0], nil, limit)
		for step := 0; w.at < len(w.records) || len(w.unsettled) > 0; step++ {
			switch what := random.IntN(100); {
			case what < 55 && w.at < len(w.records) && o.room(w.records[w.at]):
				w.deliver(t, &o)
			case what < 98 && len(w.unsettled) > 0:
				i := random.IntN(len(w.unsettled))
				o.finish(w.unsettled[i])
				w.settled[w.unsettled[i]] = true
				w.unsettled = slices.Delete(w.unsettled, i, i+1)
			case what >= 98:
				limit = int64(1 + random.IntN(300))
				o = newOffsets(o.base, decodeDone(encodeDone(o.done())), limit)
				w.at, _ = slices.BinarySearch(w.records, o.base)
				w.unsettled = nil
			}
			if step%8 == 0 {
				w.check(t, &o, limit)
			}
			if t.Failed() {
				t.Fatalf("with seed %d", seed)
			}
		}
		if o.base != w.last()+1 || len(encodeDone(o.done())) != 0 {
			t.Fatalf("with seed %d: base is %d with %q above it, want %d", seed, o.base, encodeDone(o.done()), w.last()+1)
		}
	}
}

func (w *world) deliver(t *testing.T, o *offsets) {
	t.Helper()
	n := w.records[w.at]
	w.at++
	switch fresh := o.take(n); {
	case fresh && w.settled[n]:
		t.Errorf("offset %d is delivered although it is done", n)
	case !fresh && !w.settled[n]:
		t.Errorf("offset %d is skipped although it is not done", n)
	case fresh:
		w.unsettled = append(w.unsettled, n)
	}
}

func (w *world) check(t *testing.T, o *offsets, limit int64) {
	t.Helper()
	done := decodeDone(encodeDone(o.done()))
	for _, n := range w.records {
		if said := n < o.base || isDone(done, n-o.base); said != w.settled[n] {
			t.Errorf("the commit says of offset %d that it is done: %v, want %v", n, said, w.settled[n])
		}
	}
	for _, n := range w.unsettled {
		if n-o.base >= limit {
			t.Errorf("offset %d was delivered %d above the oldest, beyond %d", n, n-o.base, limit)
		}
	}
}

// A gap larger than any limit does not stop the partition, once all before it is
// settled.
func TestOffsetsJumpOverAGap(t *testing.T) {
	t.Parallel()
	o := newOffsets(10, []byte{0b100}, 8) // 13 is done
	if !o.take(10) {
		t.Fatal("offset 10 is skipped")
	}
	const far = 1 << 40
	if o.room(far) {
		t.Error("there is room far above an unsettled record")
	}
	o.finish(10)
	if !o.room(far) || !o.take(far) {
		t.Fatal("the record after the gap is not delivered")
	}
	o.finish(far)
	if o.base != far+1 {
		t.Errorf("base is %d, want %d", o.base, int64(far+1))
	}
}

// What the last owner had settled right above its commit is skipped, and what
// compaction took from there leaves nothing behind.
func TestOffsetsOfACommitWithARun(t *testing.T) {
	t.Parallel()
	o := newOffsets(100, []byte{0b111}, 64) // 101, 102, 103
	if !o.take(100) {
		t.Fatal("offset 100 is skipped")
	}
	o.finish(100)
	if o.base != 104 {
		t.Errorf("base is %d, want 104", o.base)
	}
	for n := int64(101); n < 104; n++ {
		if o.take(n) {
			t.Errorf("offset %d is delivered again", n)
		}
	}
	if !o.take(104) {
		t.Error("offset 104 is skipped")
	}
}

// The span of a former owner with a larger window is kept.
func TestOffsetsOfALargerWindow(t *testing.T) {
	t.Parallel()
	done := make([]byte, mostSpan/8)
	done[len(done)-1] = 0x80
	o := newOffsets(0, done, 64)
	if got := decodeDone(encodeDone(o.done())); !slices.Equal(got, done) {
		t.Errorf("a commit would forget what a former owner had settled")
	}
	if o.has(int64(mostSpan)-1) || !o.has(int64(mostSpan)) {
		t.Errorf("the wrong offset is done")
	}
}

func FuzzOffsets(f *testing.F) {
	f.Add(uint16(8), []byte{1, 2, 3, 0x81, 0x82, 0x83, 0xff})
	f.Fuzz(func(t *testing.T, limit uint16, steps []byte) {
		w := &world{settled: map[int64]bool{}}
		next := int64(5)
		o := newOffsets(next, nil, int64(limit)+1)
		for _, b := range steps {
			switch {
			case b < 0x80: // a record, so many offsets on
				if next += int64(b % 16); !o.room(next) {
					continue
				}
				w.records = append(w.records, next)
				w.deliver(t, &o)
				next++
			case len(w.unsettled) > 0:
				i := int(b) % len(w.unsettled)
				o.finish(w.unsettled[i])
				w.settled[w.unsettled[i]] = true
				w.unsettled = slices.Delete(w.unsettled, i, i+1)
			}
			w.check(t, &o, int64(limit)+1)
		}
	})
}
