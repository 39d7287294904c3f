package memory

import (
	"runtime"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/anywire/anywire/transport/driver"
)

func start(tb testing.TB, o *Options) (*Broker, driver.Source) {
	tb.Helper()
	b := New(o)
	src, err := b.Subscribe(tb.Context(), driver.Subscription{Topic: "t", Group: "g"})
	if err != nil {
		tb.Fatal(err)
	}
	return b, src
}

func stop(tb testing.TB, b *Broker) {
	tb.Helper()
	if err := b.Close(tb.Context()); err != nil {
		tb.Error(err)
	}
}

func one(tb testing.TB, b *Broker, src driver.Source, msgs []*driver.Message) *driver.Message {
	tb.Helper()
	if err := b.Publish(tb.Context(), "t", msgs); err != nil {
		tb.Fatal(err)
	}
	got, err := src.Receive(tb.Context(), 1)
	if err != nil {
		tb.Fatal(err)
	}
	return got[0]
}

func (s *shard) chunks() int {
	n := 0
	for c := s.first; c != nil; c = c.next {
		n++
	}
	return n
}

func TestSizes(t *testing.T) {
	t.Parallel()
	if n := unsafe.Sizeof(entry{}); n > 56 {
		t.Errorf("an entry has %d bytes, want at most 56", n)
	}
	if n := unsafe.Sizeof(delivery{}); n > 256 {
		t.Errorf("a delivery has %d bytes, want at most 256", n)
	}
	if n := unsafe.Sizeof(chunk{}); n > 4096 {
		t.Errorf("a chunk has %d bytes, want at most 4096", n)
	}
}

// A message that is never settled keeps its own chunk, and no other.
func TestChunksAreReleased(t *testing.T) {
	t.Parallel()
	b, src := start(t, nil)
	defer stop(t, b)
	msgs := []*driver.Message{{Local: 1}}
	stuck := one(t, b, src, msgs)
	settle := make([]driver.Settlement, 1)
	for range 100 * chunkSize {
		settle[0].Token = one(t, b, src, msgs).Token
		if err := src.Settle(t.Context(), settle); err != nil {
			t.Fatal(err)
		}
	}
	topic, err := b.existing("t")
	if err != nil {
		t.Fatal(err)
	}
	if n := topic.shards[0].chunks(); n > 2 {
		t.Errorf("%d chunks for one message that is not settled, want 2", n)
	}
	settle[0].Token = stuck.Token
	if err := src.Settle(t.Context(), settle); err != nil {
		t.Fatal(err)
	}
	if d := stuck.Token.(*delivery); d.chunk != nil {
		t.Error("a settled delivery keeps its chunk, and all that follow it")
	}
	if n := topic.shards[0].chunks(); n != 1 {
		t.Errorf("%d chunks in an empty shard, want 1", n)
	}
}

func TestQueuedMessagesAreSmall(t *testing.T) { //nolint:paralleltest // measures the heap
	const n = 200_000
	b, _ := start(t, &Options{Capacity: n})
	defer stop(t, b)
	msgs := []*driver.Message{{Key: "key", Local: new(int)}}
	before := heapInUse()
	for range n {
		if err := b.Publish(t.Context(), "t", msgs); err != nil {
			t.Fatal(err)
		}
	}
	if each := float64(heapInUse()-before) / n; each > 72 {
		t.Errorf("a queued message takes %.0f bytes, want at most 72", each)
	}
}

func heapInUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestAllocations(t *testing.T) { //nolint:paralleltest // counts allocations
	b, src := start(t, &Options{Capacity: 1 << 20})
	defer stop(t, b)
	ctx := t.Context()
	msgs := []*driver.Message{{Key: "key", Local: new(int)}}
	if n := testing.AllocsPerRun(10_000, func() { _ = b.Publish(ctx, "t", msgs) }); n > 0.1 {
		t.Errorf("%v allocations to publish a message, want a part of one", n)
	}
	settle := make([]driver.Settlement, 1)
	if n := testing.AllocsPerRun(5_000, func() {
		got, _ := src.Receive(ctx, 1)
		settle[0].Token = got[0].Token
		_ = src.Settle(ctx, settle)
	}); n > 1 {
		t.Errorf("%v allocations to receive and settle a message, want 1", n)
	}
}

// An idle broker has no timer: the alarm goes off once for what was leased last.
func TestIdleBrokerSleeps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, src := start(t, nil)
		defer stop(t, b)
		m := one(t, b, src, []*driver.Message{{Local: 1}})
		if err := src.Settle(t.Context(), []driver.Settlement{{Token: m.Token}}); err != nil {
			t.Fatal(err)
		}
		<-time.After(DefaultLease)
		synctest.Wait()
		topic, err := b.existing("t")
		if err != nil {
			t.Fatal(err)
		}
		topic.mu.Lock()
		defer topic.mu.Unlock()
		if topic.alarm.armed {
			t.Errorf("the alarm is set, though nothing is due")
		}
	})
}

func TestCountOfDeliveriesStaysAtItsHighest(t *testing.T) {
	t.Parallel()
	d := delivery{count: 65_534}
	for _, want := range []uint16{65_535, 65_535} {
		if d.count = d.again(); d.count != want {
			t.Errorf("the count is %d, want %d", d.count, want)
		}
	}
}
