package kafkadriver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/anywire/anywire/transport/driver"
)

// assigned begins assignments. Nothing of them is fetched before it returns, and
// their offsets come with fetched and begin.
func (m *member) assigned(_ context.Context, _ *kgo.Client, added map[string][]int32) {
	if len(added) == 0 {
		return
	}
	m.mu.Lock()
	for topic, numbers := range added {
		for _, n := range numbers {
			m.assign(place{topic, n})
		}
	}
	m.mu.Unlock()
	// Records that were fetched in an earlier assignment may just be put away: they
	// must not come into this one, where they would leave a gap.
	m.turn()
	signal(m.hungry)
}

func (m *member) assign(at place) {
	if old := m.parts[at]; old != nil {
		m.remove(old)
	}
	s := m.reader(at.topic)
	if s == nil {
		return
	}
	p := &partition{place: at, src: s, shard: s.shardOf(at), revoked: make(chan struct{}), epoch: -1, fed: time.Now()}
	_, p.held = s.holding[p.shard]
	m.parts[at] = p
	s.parts = append(s.parts, p)
}

// remove ends an assignment.
func (m *member) remove(p *partition) {
	p.lose()
	if m.parts[p.place] == p {
		delete(m.parts, p.place)
	}
	if p.paused { // the client would remember it
		m.resume = with(m.resume, p.place)
	}
	p.src.parts = slices.DeleteFunc(p.src.parts, func(other *partition) bool { return other == p })
}

// restart is an assignment that begins anew somewhere else, since the broker has
// lost what was there.
func (m *member) restart(p *partition, base int64) {
	m.remove(p)
	m.assign(p.place)
	if again := m.parts[p.place]; again != nil {
		again.begin(base, nil, -1)
		again.marks++
	}
}

// fetched learns what the group has committed, and with it what is done above.
func (m *member) fetched(_ context.Context, _ *kgo.Client, resp *kmsg.OffsetFetchResponse) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, g := range resp.Groups {
		for _, t := range g.Topics {
			for _, answer := range t.Partitions {
				p := m.parts[place{t.Topic, answer.Partition}]
				if p == nil || p.phase != phaseStart || answer.ErrorCode != 0 {
					continue
				}
				if answer.Offset >= 0 {
					var done []byte
					if answer.Metadata != nil {
						done = decodeDone(*answer.Metadata)
					}
					p.begin(answer.Offset, done, answer.LeaderEpoch)
				}
			}
		}
	}
	return nil
}

// begin gives partitions that are new to the group their first offset and commits
// it, so that nothing else is ever taken for the beginning.
func (m *member) begin(ctx context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	fresh := m.fresh(offsets)
	if len(fresh) == 0 {
		return offsets, nil
	}
	oldest, err := m.d.adm.ListStartOffsets(ctx, slices.Collect(maps.Keys(fresh))...)
	if err != nil {
		return nil, err
	}
	begun, err := m.beginFresh(offsets, fresh, oldest)
	if err != nil {
		return nil, err
	}
	limit, cancel := context.WithTimeout(ctx, commitTime)
	defer cancel()
	if err := m.flush(limit, begun); err != nil { // it goes with the next commit
		m.d.log.Warn("where a group begins is not written down yet", "group", m.group, "error", err)
	}
	return offsets, nil
}

// beginFresh sets the first offsets.
func (m *member) beginFresh(
	offsets map[string]map[int32]kgo.Offset, fresh map[string][]int32, oldest kadm.ListedOffsets,
) ([]*partition, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var begun []*partition
	for topic, numbers := range fresh {
		for _, n := range numbers {
			first, known := oldest.Lookup(topic, n)
			if !known || first.Err != nil {
				return nil, fmt.Errorf("partition %d of topic %q: its first offset is not known: %w", n, topic, cmp.Or(first.Err, errUnanswered))
			}
			p := m.parts[place{topic, n}]
			if p == nil || p.phase != phaseStart {
				continue
			}
			base := max(first.Offset, p.src.startOf(p.place))
			offsets[topic][n] = kgo.NewOffset().At(base)
			p.begin(base, nil, -1)
			p.marks++
			begun = append(begun, p)
		}
	}
	return begun, nil
}

// fresh are those of offsets that the group had none of.
func (m *member) fresh(offsets map[string]map[int32]kgo.Offset) map[string][]int32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	fresh := map[string][]int32{}
	for topic, numbers := range offsets {
		for n, offset := range numbers {
			p := m.parts[place{topic, n}]
			if p == nil {
				continue
			}
			if p.phase != phaseStart { // the last session ended right after it began
				offsets[topic][n] = offset.At(p.tail)
				continue
			}
			if at := offset.EpochOffset(); at.Offset >= 0 { // an answer that fetched could not read
				p.begin(at.Offset, nil, at.Epoch)
				continue
			}
			fresh[topic] = append(fresh[topic], n)
		}
	}
	return fresh
}

// revoked lets partitions go: it waits until the engine has settled what it has of
// them, commits, and returns; the group waits for that. Heartbeats go on.
func (m *member) revoked(ctx context.Context, _ *kgo.Client, gone map[string][]int32) {
	if len(gone) == 0 {
		return
	}
	parts := m.release(gone)
	if len(parts) > 0 {
		m.drained(parts)
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTime)
		if err := m.flush(limit, parts); err != nil {
			m.d.log.Warn("partitions were handed over without the last commit: some messages come again",
				"group", m.group, "partitions", gone, "error", err)
		}
		cancel()
	}
	m.finish(parts, gone)
	m.lookFor(ctx, gone)
}

// lookFor finds out whether topics that this member has nothing of any more are
// there at all: a group that is given nothing would wait in silence for ever.
func (m *member) lookFor(ctx context.Context, gone map[string][]int32) {
	ctx, cancel := context.WithTimeout(ctx, commitTime)
	defer cancel()
	for topic := range gone {
		if !m.readsNothingOf(topic) {
			continue
		}
		all, err := m.d.adm.ListTopics(ctx, topic)
		if err == nil && errors.Is(all[topic].Err, kerr.UnknownTopicOrPartition) {
			m.mu.Lock()
			m.missing(topic)
			m.mu.Unlock()
		}
	}
}

func (m *member) readsNothingOf(topic string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for at := range m.parts {
		if at.topic == topic {
			return false
		}
	}
	return len(m.readers[topic]) > 0
}

// missing ends the sources of a topic that is not there, or is another one by now.
// Whoever subscribes again finds it, makes it, or is refused.
func (m *member) missing(topic string) {
	for _, s := range m.readers[topic] {
		s.report(errMissing(topic))
	}
}

func errMissing(topic string) error {
	return fmt.Errorf("topic %q was deleted, or made anew: its source is %w", topic, driver.ErrClosed)
}

// lost is told that partitions are somebody else's already.
func (m *member) lost(_ context.Context, _ *kgo.Client, gone map[string][]int32) {
	if len(gone) == 0 {
		return
	}
	m.d.log.Warn("partitions of a group were lost", "group", m.group, "partitions", gone)
	m.finish(m.those(gone), gone)
}

// those are the assignments of partitions.
func (m *member) those(gone map[string][]int32) []*partition {
	m.mu.Lock()
	defer m.mu.Unlock()
	var parts []*partition
	for topic, numbers := range gone {
		for _, n := range numbers {
			if p := m.parts[place{topic, n}]; p != nil {
				parts = append(parts, p)
			}
		}
	}
	return parts
}

// release tells the engine to settle what it has of partitions.
func (m *member) release(gone map[string][]int32) []*partition {
	parts := m.those(gone)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range parts {
		if p.phase < phaseDrain {
			p.release()
		}
	}
	return parts
}

// drained waits until nothing of partitions is unsettled, for as long as their
// sources may take.
func (m *member) drained(parts []*partition) {
	timer := time.NewTimer(m.drain)
	defer timer.Stop()
	for _, p := range parts {
		select {
		case <-p.drained:
		case <-m.ctx.Done():
			return
		case <-timer.C:
			m.d.log.Warn("partitions are handed over although messages of them are still handled: they come again",
				"group", m.group, "topic", p.topic, "partition", p.number, "after", m.drain)
			return
		}
	}
}

// finish ends assignments and tells who gave their topics up.
func (m *member) finish(parts []*partition, gone map[string][]int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range parts {
		m.remove(p)
	}
	for topic := range gone {
		if one := m.leaving[topic]; one != nil {
			delete(m.leaving, topic)
			close(one.over)
		}
	}
	signal(m.hungry)
}
