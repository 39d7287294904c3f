package integration

import (
	"testing"
	"time"

	"github.com/anywire/anywire/internal/faultproxy"
)

// TestNetwork: a message whose publish returned nil is handled, whatever happens
// between the app and its broker.
func TestNetwork(t *testing.T) {
	t.Parallel()
	eachBroker(t, func(t *testing.T, b *broker) {
		t.Helper()
		w, proxy := b.through(t, b.shared(t))
		hold := time.Duration(scale(1, 15)) * outage * 3 / 2
		during := func(f faultproxy.Faults) func(t *testing.T, _ []*pipeline) {
			return func(t *testing.T, _ []*pipeline) {
				t.Helper()
				proxy.Set(f)
				last(t, hold)
				proxy.Set(faultproxy.Faults{})
			}
		}
		runAccidents(t, []*world{w}, outage, []accident{
			{"reset in mid-publish", func(t *testing.T, ps []*pipeline) {
				t.Helper()
				for range scale(2, 30) {
					<-proxy.BreakRequest(1, faultproxy.Contains(ps[0].w.entry.Prefix+"second"))
				}
			}},
			{"all connections reset", func(t *testing.T, ps []*pipeline) {
				t.Helper()
				for range scale(2, 30) {
					awaitProgress(t, ps)
					proxy.Cut()
				}
			}},
			{"black hole", during(faultproxy.Faults{HoldRequests: true, HoldReplies: true})},
			{"no replies", during(faultproxy.Faults{HoldReplies: true})},
			{"no requests", during(faultproxy.Faults{HoldRequests: true})},
			{"latency and slices", func(t *testing.T, ps []*pipeline) {
				t.Helper()
				proxy.Set(faultproxy.Faults{Latency: 5 * time.Millisecond, Slice: 40})
				awaitProgress(t, ps)
				proxy.Set(faultproxy.Faults{})
			}},
			{"refused", func(t *testing.T, ps []*pipeline) {
				t.Helper()
				proxy.Set(faultproxy.Faults{Refuse: true})
				proxy.Cut()
				awaitWaiting(t, ps)
				proxy.Set(faultproxy.Faults{})
			}},
		})
	})
}
