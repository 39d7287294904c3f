package kafkadriver

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/anywire/anywire/transport/driver"
)

// A transaction that was aborted leaves a gap, also at the end of what there is.
func TestBrowseEndsAtGaps(t *testing.T) {
	t.Parallel()
	d := shared(t)
	topic := topicOf(t, d, 1)
	if err := d.Publish(t.Context(), topic, []*driver.Message{{Body: []byte("1")}}); err != nil {
		t.Fatal(err)
	}
	client, err := kgo.NewClient(append(d.clientOptions(), kgo.TransactionalID(unique(t)))...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, c := range []struct {
		end  kgo.TransactionEndTry
		text string
	}{{kgo.TryCommit, "2"}, {kgo.TryAbort, "aborted"}} {
		if err := client.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: []byte(c.text)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := client.EndTransaction(t.Context(), c.end); err != nil {
			t.Fatal(err)
		}
	}
	if got := textsOf(seen(t, d, topic)); !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("saw %q", got)
	}
}

// What was deleted at the beginning is skipped.
func TestBrowseAfterDeletion(t *testing.T) {
	t.Parallel()
	d := shared(t)
	topic := topicOf(t, d, 1)
	if err := d.Publish(t.Context(), topic, []*driver.Message{{Body: []byte("1")}, {Body: []byte("2")}, {Body: []byte("3")}}); err != nil {
		t.Fatal(err)
	}
	deleteBefore(t, d, topic, 2)
	if got := textsOf(seen(t, d, topic)); !slices.Equal(got, []string{"3"}) {
		t.Errorf("saw %q", got)
	}
	deleteBefore(t, d, topic, 3)
	if got := textsOf(seen(t, d, topic)); len(got) != 0 {
		t.Errorf("saw %q", got)
	}
}

// Where the broker answers and has nothing more, the end was compacted.
func TestBrowseGivesUpOnSilence(t *testing.T) {
	t.Parallel()
	b := &browse{left: map[int32]int64{0: 10, 1: 10}, leader: map[int32]int32{0: 1, 1: 2}, empty: map[int32]int{1: emptyFetches, 2: emptyFetches - 1}}
	over := b.over()
	if !slices.Equal(over, []int32{0}) {
		t.Errorf("over: %v", over)
	}
	b.progress(false, over)
	if len(b.left) != 1 || b.left[1] != 10 {
		t.Errorf("left: %v", b.left)
	}
	b.progress(true, b.over())
	if len(b.over()) != 0 {
		t.Error("a record does not begin the count anew")
	}
}
