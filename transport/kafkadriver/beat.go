package kafkadriver

import (
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// pulse watches a member's requests for what the group's coordinator confirms: the
// membership is the lease of all that was delivered.
type pulse struct {
	classic bool
	patient time.Duration // how long a join may take
	fallen  func()        // called when the client falls back to the classic protocol

	mu    sync.Mutex
	last  time.Time // a heartbeat that was answered was sent then
	since time.Time // a join waits for the others since; zero: none does
	// refused is why the last connection could not be made; nil: it was.
	refused error
}

var (
	_ kgo.HookBrokerE2E   = (*pulse)(nil)
	_ kgo.HookBrokerWrite = (*pulse)(nil)
)

func (p *pulse) init(m *member) {
	p.classic, p.patient = m.classic, m.drain+commitTime
	p.fallen = func() { m.fail(errNoConsumerProtocol) }
}

// OnBrokerWrite sees requests on their way.
func (p *pulse) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, err error) {
	if key != int16(kmsg.JoinGroup) || err != nil {
		return
	}
	if !p.classic {
		p.fallen()
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.since = time.Now()
}

// OnBrokerE2E sees answers. A refused heartbeat is one, too; but the client then
// drops the assignment, which says more.
func (p *pulse) OnBrokerE2E(_ kgo.BrokerMetadata, key int16, e2e kgo.BrokerE2E) {
	now := time.Now()
	sent := now.Add(-e2e.DurationE2E())
	p.mu.Lock()
	defer p.mu.Unlock()
	switch kmsg.Key(key) {
	case kmsg.JoinGroup:
		p.since = time.Time{}
		sent = now // the group counts from its answer on
	case kmsg.Heartbeat, kmsg.SyncGroup, kmsg.ConsumerGroupHeartbeat:
	default:
		return
	}
	if e2e.Err() == nil && sent.After(p.last) {
		p.last = sent
	}
}

// age is how long ago the group is known to have counted us in. A join that waits
// for other members counts as now: the coordinator keeps who waits there.
func (p *pulse) age() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.since.IsZero() && time.Since(p.since) < p.patient {
		return 0
	}
	return time.Since(p.last)
}
