package memory_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"

	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/memory"
)

func TestBrowseSeesWhatWasThere(t *testing.T) {
	t.Parallel()
	b, src := open(t, nil, driver.Subscription{Topic: "t", Group: "g"})
	publish(t, b, "t", texts(1, 200)...)
	var seen []*driver.Message
	must(t, b.Browse(t.Context(), "t", driver.Start{}, false, func(m *driver.Message) bool {
		if len(seen) == 0 { // everything is settled meanwhile, and more comes
			ack(t, src, receive(t, src, 200)...)
			publish(t, b, "t", texts(201, 201)...)
		}
		seen = append(seen, m)
		return true
	}))
	want(t, seen, bodiesOf(texts(1, 200)))
	if m := seen[199]; m.Token != nil || m.Deliveries != 0 || m.Seq != 200 || m.Published.IsZero() {
		t.Errorf("browsed %+v, want its Seq and time, and no delivery", m)
	}
	wantStored(t, b, "t", 1)
}

func TestBrowseThatFollowsMissesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, src := open(t, nil, driver.Subscription{Topic: "t", Group: "g"})
		_, err := b.EnsureTopic(t.Context(), driver.Topic{Name: "t"})
		must(t, err)
		var seen []*driver.Message
		done := make(chan error)
		go func() {
			done <- b.Browse(t.Context(), "t", driver.Start{At: driver.StartNow}, true, func(m *driver.Message) bool {
				seen = append(seen, m)
				return len(seen) < 300
			})
		}()
		synctest.Wait()
		for i := 1; i <= 300; i++ { // settled before the browser runs
			publish(t, b, "t", texts(i, i)...)
			ack(t, src, receive(t, src, 1)...)
		}
		must(t, <-done)
		want(t, seen, bodiesOf(texts(1, 300)))
		wantStored(t, b, "t", 0)
	})
}

func TestBrowseThatFallsBehind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, src := open(t, nil, driver.Subscription{Topic: "t", Group: "g"})
		publish(t, b, "t", texts(0, 0)...)
		first, goOn, done := make(chan struct{}), make(chan struct{}), make(chan error)
		var seen []string
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			done <- b.Browse(ctx, "t", driver.Start{}, true, func(m *driver.Message) bool {
				if len(seen) == 0 {
					close(first)
					<-goOn
				}
				seen = append(seen, string(m.Body))
				return true
			})
		}()
		<-first
		const n = memory.RingSize + 100
		publish(t, b, "t", texts(1, n)...)
		ack(t, src, receive(t, src, n+1)...)
		wantStored(t, b, "t", memory.RingSize)
		close(goOn)
		publish(t, b, "t", texts(n+1, n+1)...)
		synctest.Wait()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Browse whose ctx ended: %v", err)
		}
		if len(seen) < memory.RingSize || seen[0] != "0" || !slices.Contains(seen, strconv.Itoa(n+1)) || slices.Contains(seen, "50") || !slices.Contains(seen, "150") {
			t.Errorf("saw %d messages from %v, want the newest %d after the first", len(seen), seen[:3], memory.RingSize)
		}
	})
}
