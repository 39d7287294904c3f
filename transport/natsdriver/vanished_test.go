package natsdriver

import (
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/transport/driver"
)

// What the limits of a stream took before the group read it is counted, while
// members are away and while they are there.
func TestMessagesDroppedUnreadAreCounted(t *testing.T) {
	t.Parallel()
	d, _ := open(t, brokertest.SharedNATS(t).URL, nil)
	for name, o := range map[string]driver.Subscription{"unordered": sub(unique(t)), "ordered": ordered(unique(t))} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			publish(t, d, o.Topic, numbers(1, 3)...)
			src := subscribe(t, d, o).(*source)
			settle(t, src, driver.Ack, take(t, src, 3)...)
			keepNewest(t, src, 2) // nothing that was not settled
			src.watchAge()
			if n := src.Vanished(); n != 0 {
				t.Fatalf("%d messages are counted, and none was lost", n)
			}
			closeSource(t, src)
			publish(t, d, o.Topic, numbers(4, 9)...) // 8 and 9 are left
			src = subscribe(t, d, o).(*source)
			if n := src.Vanished(); n != 4 {
				t.Fatalf("%d messages are counted, want the four that were dropped while nobody was there", n)
			}
			src.watchAge()
			want(t, take(t, src, 2), "8", "9")
			src.watchAge()
			if n := src.Vanished(); n != 4 {
				t.Errorf("%d messages are counted, want no more than the four", n)
			}
		})
	}
}

// keepNewest makes the stream drop all but n messages, now and from now on.
func keepNewest(tb testing.TB, src *source, n int64) {
	tb.Helper()
	stream, err := src.d.js.Stream(tb.Context(), src.stream)
	if err != nil {
		tb.Fatal(err)
	}
	cfg := stream.CachedInfo().Config
	cfg.MaxMsgs, cfg.Discard = n, jetstream.DiscardOld
	if _, err := src.d.js.UpdateStream(tb.Context(), cfg); err != nil {
		tb.Fatal(err)
	}
}
