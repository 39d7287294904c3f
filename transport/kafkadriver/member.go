package kafkadriver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/anywire/anywire/transport/driver"
)

// closeTime bounds what Close of a source waits for where its caller does not.
const closeTime = 20 * time.Second

// member is one client in a group. Its work is divided by file: assign.go follows
// the group, flow.go fetches, commit.go writes down what is done, beat.go knows
// whether the group still counts us in.
type member struct {
	terms

	d      *Driver
	client *kgo.Client
	ctx    context.Context //nolint:containedctx // the member's life
	cancel context.CancelFunc
	work   sync.WaitGroup // the poller, the committer, and who watch ages and heartbeats
	pulse  pulse
	told   chan struct{} // there is something to commit; one signal is kept
	hungry chan struct{} // something may be fetched; one signal is kept
	flow   sync.Mutex    // one after the other changes what is paused

	mu      sync.Mutex
	closing bool
	dead    error                 // why nothing will come any more
	readers map[string][]*source  // by topic; the first gets what is new
	leaving map[string]*departure // topics that were given up and not revoked yet
	parts   map[place]*partition  // that are assigned
	next    *round                // of the commit that will be made next
	resume  map[string][]int32    // what was paused and is gone
	polling context.CancelFunc    // ends the poll that runs; nil: none
	polled  time.Time             // when it began
	turned  chan struct{}         // closed when it has ended and its records are put away
}

// departure is a topic that is being given up.
type departure struct{ over chan struct{} }

// newMember makes the client of a first source; it joins by itself.
func (d *Driver) newMember(s *source, t terms) (*member, error) {
	m := &member{
		terms: t, d: d,
		told: make(chan struct{}, 1), hungry: make(chan struct{}, 1),
		readers: map[string][]*source{}, leaving: map[string]*departure{}, parts: map[place]*partition{},
		next: newRound(),
	}
	m.ctx, m.cancel = context.WithCancel(context.Background()) // ended by shut
	m.pulse.init(m)
	opts := append(d.clientOptions(), t.options()...)
	opts = append(opts, m.options()...)
	opts = append(opts, kgo.ConsumeTopics(s.topics()...))
	if err := m.connect(s, opts); err != nil {
		m.cancel()
		return nil, fmt.Errorf("client of group %q: %w", t.group, err)
	}
	m.work.Go(m.poll)
	m.work.Go(m.commits)
	m.work.Go(m.watchAges)
	m.work.Go(m.watchPulse)
	return m, nil
}

// connect makes the client, whose callbacks may come before it returns: they wait.
func (m *member) connect(s *source, opts []kgo.Opt) (err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.admit(s)
	m.client, err = kgo.NewClient(opts...)
	return err
}

// options are those that follow from how a member works.
func (m *member) options() []kgo.Opt {
	return []kgo.Opt{
		kgo.WithHooks(&m.pulse),
		kgo.DisableAutoCommit(),
		kgo.OnPartitionsAssigned(m.assigned),
		kgo.OnPartitionsRevoked(m.revoked),
		kgo.OnPartitionsLost(m.lost),
		kgo.OnOffsetsFetched(m.fetched),
		kgo.AdjustFetchOffsetsFn(m.begin),
		// Where data was lost, all that is left is read: again is better than never.
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), // they end what a commit has to reach beyond
		kgo.FetchMaxBytes(fetchBytes),
		kgo.FetchMaxPartitionBytes(fetchPartitionBytes),
		kgo.FetchMaxWait(fetchWait),
		kgo.DisableClientMetrics(),
	}
}

// admit notes who reads what.
func (m *member) admit(s *source) {
	s.m = m
	for _, topic := range s.topics() {
		m.readers[topic] = append(m.readers[topic], s)
	}
}

// attach lets a further source read by this member, unless a topic of it is read,
// or is being given up.
func (m *member) attach(s *source) bool {
	m.mu.Lock()
	taken := m.closing || m.dead != nil || len(m.readers[s.sub.Topic]) > 0
	for _, topic := range s.topics() {
		taken = taken || m.leaving[topic] != nil
	}
	if taken {
		m.mu.Unlock()
		return false
	}
	m.admit(s)
	m.mu.Unlock()
	m.client.AddConsumeTopics(s.topics()...)
	return true
}

// addInbox makes the source a reader of its inbox, which it did without.
func (m *member) addInbox(s *source, inbox string) {
	m.mu.Lock()
	if s.inbox != "" || s.closed { // by another call
		m.mu.Unlock()
		return
	}
	s.inbox = inbox
	m.readers[inbox] = append(m.readers[inbox], s)
	m.mu.Unlock()
	m.client.AddConsumeTopics(inbox)
}

// reader is who gets what is new of a topic.
func (m *member) reader(topic string) *source {
	if all := m.readers[topic]; len(all) > 0 {
		return all[0]
	}
	return nil
}

// detach takes a source out. What it holds is not settled any more, and comes to
// the next owner, at once where the broker hears of it in time.
func (m *member) detach(ctx context.Context, s *source) error {
	ctx, cancel := context.WithTimeout(ctx, closeTime)
	defer cancel()
	m.d.groups.mu.Lock() // nobody attaches to a member that is about to end
	m.mu.Lock()
	gone := m.dismiss(s)
	alone := len(m.readers) == 0
	m.closing = m.closing || alone
	m.mu.Unlock()
	m.d.groups.mu.Unlock()
	if alone {
		m.d.groups.forget(m)
	}
	err := unlessGone(m.flush(ctx, m.owned()))
	if alone {
		return errors.Join(err, m.shut(ctx))
	}
	return errors.Join(err, m.giveUp(ctx, gone))
}

// unlessGone drops the error of what is not ours to settle or to leave any more.
func unlessGone(err error) error {
	if errors.Is(err, driver.ErrStale) || errors.Is(err, driver.ErrClosed) {
		return nil
	}
	return err
}

// dismiss ends what the source holds, and returns the topics that nobody reads
// now. What another source reads too goes on there.
func (m *member) dismiss(s *source) []string {
	var gone []string
	for _, topic := range s.topics() {
		rest := slices.DeleteFunc(m.readers[topic], func(other *source) bool { return other == s })
		if len(rest) > 0 {
			m.readers[topic] = rest
		} else {
			delete(m.readers, topic)
			gone = append(gone, topic)
		}
	}
	for _, p := range s.parts {
		p.recall(time.Now())
		if heir := m.reader(p.topic); heir != nil && p.phase < phaseDrain {
			p.handTo(heir)
			heir.wake()
		}
	}
	s.parts = nil
	return gone
}

// giveUp unsubscribes from topics, and waits until the group has taken them.
func (m *member) giveUp(ctx context.Context, topics []string) error {
	m.mu.Lock()
	var wait []*departure
	for at, p := range m.parts {
		if !slices.Contains(topics, at.topic) {
			continue
		}
		p.lose()
		delete(m.parts, at)
		if m.leaving[at.topic] == nil {
			m.leaving[at.topic] = &departure{make(chan struct{})}
			wait = append(wait, m.leaving[at.topic])
		}
	}
	m.mu.Unlock()
	m.client.PurgeTopicsFromConsuming(topics...)
	for _, one := range wait {
		select {
		case <-one.over:
		case <-ctx.Done():
			return fmt.Errorf("group %q: giving up topics %q: %w", m.group, topics, ctx.Err())
		}
	}
	return nil
}

// shut leaves the group and ends everything.
func (m *member) shut(ctx context.Context) error {
	m.mu.Lock()
	for at, p := range m.parts {
		p.lose()
		delete(m.parts, at)
	}
	m.mu.Unlock()
	err := m.client.LeaveGroupContext(ctx)
	m.cancel()
	m.client.CloseAllowingRebalance()
	m.work.Wait()
	return unlessGone(wrap(err))
}

// fail ends deliveries for good.
func (m *member) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead == nil {
		m.dead = err
		m.d.log.Error("a member of a group is of no use", "group", m.group, "error", err)
	}
	for _, all := range m.readers {
		for _, s := range all {
			s.wake()
		}
	}
}

// gone is the error of what belongs to somebody else by now.
func (p *partition) gone() error {
	return fmt.Errorf("partition %d of topic %q has another owner: %w", p.number, p.topic, driver.ErrStale)
}
