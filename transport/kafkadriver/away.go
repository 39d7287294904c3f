package kafkadriver

import (
	"fmt"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// awayGrace is how much later than at the second missing heartbeat a group's
// coordinator counts as away.
const awayGrace = time.Second

var _ kgo.HookBrokerConnect = (*pulse)(nil)

// OnBrokerConnect keeps why a broker cannot be reached.
func (p *pulse) OnBrokerConnect(_ kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refused = err
}

// silent is how long a member that was counted in hears nothing of its group, and
// the last failure to connect, if it was the last attempt. The client itself tries
// again for ever, without a word.
func (p *pulse) silent() (silence time.Duration, why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	joining := !p.since.IsZero() && time.Since(p.since) < p.patient
	if p.last.IsZero() || joining {
		return 0, nil
	}
	return time.Since(p.last), p.refused
}

// away is the error of a group whose coordinator cannot be reached, or does not
// answer for a whole session; nil: it does. On a busy machine heartbeats are late.
func (m *member) away() error {
	switch silence, why := m.pulse.silent(); {
	case why != nil && silence > 2*m.beat+awayGrace:
		return fmt.Errorf("the brokers answer no heartbeat of group %q: %w", m.group, why)
	case silence > max(m.session, 2*m.beat)+awayGrace:
		return fmt.Errorf("the brokers answer no heartbeat of group %q", m.group)
	}
	return nil
}

// watchPulse wakes those who wait for messages when the group has gone silent, so
// that they can say so, and takes back what nobody works on.
func (m *member) watchPulse() {
	tick := time.NewTicker(awayGrace / 2)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-m.ctx.Done():
			return
		}
		m.overdue(time.Now())
		if m.away() == nil {
			continue
		}
		for _, s := range m.sources() {
			s.wake()
		}
	}
}

// overdue takes back deliveries whose leases are over: the engine has given them
// up, since nothing confirmed them, and while the group goes on to count this
// member in, nobody else will deliver them.
func (m *member) overdue(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.parts {
		if lease := p.src.sub.Lease; lease > 0 && p.recall(now.Add(-lease)) {
			p.src.wake()
		}
	}
}
