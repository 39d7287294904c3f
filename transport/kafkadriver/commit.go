package kafkadriver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/anywire/anywire/transport/driver"
)

// round is one commit that many wait for.
type round struct{ over chan struct{} }

func newRound() *round { return &round{make(chan struct{})} }

// join is the next commit, which has all that was marked until now. It is called
// under the lock.
func (m *member) joinRound() *round {
	r := m.next
	select {
	case m.told <- struct{}{}:
	default:
	}
	return r
}

// commits makes one commit after the other: what comes meanwhile goes together
// with the next.
func (m *member) commits() {
	for {
		select {
		case <-m.told:
		case <-m.ctx.Done():
			m.endCommits()
			return
		}
		m.mu.Lock()
		r := m.next
		m.next = newRound()
		entries := m.changed()
		m.mu.Unlock()
		if len(entries) > 0 && !m.commit(entries) {
			m.rest() // the broker is away, or refuses: not too often
		}
		close(r.over)
	}
}

// endCommits lets nobody wait for a commit that will not be made.
func (m *member) endCommits() {
	m.mu.Lock()
	defer m.mu.Unlock()
	close(m.next.over)
}

// entry is a partition's part of a commit.
type entry struct {
	p        *partition
	offset   kgo.EpochOffset
	metadata string
	marks    uint64 // that it confirms
	err      error
}

// changed is what has to be committed. Partitions that are not ours are not
// among those that the member knows.
func (m *member) changed() map[place]*entry {
	entries := map[place]*entry{}
	for at, p := range m.parts {
		if p.marks == p.confirmed || p.phase == phaseStart {
			continue
		}
		entries[at] = &entry{
			p: p, marks: p.marks,
			offset:   kgo.EpochOffset{Epoch: p.epoch, Offset: p.offsets.base},
			metadata: encodeDone(p.offsets.done()),
			err:      errUnanswered,
		}
	}
	return entries
}

var errUnanswered = errors.New("the broker did not answer for this partition")

// rest waits a little.
func (m *member) rest() {
	timer := time.NewTimer(restTime)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-m.ctx.Done():
	}
}

const (
	restTime    = 50 * time.Millisecond
	unknownTime = 2 * time.Second
)

// commit sends and notes what came of it: false, if not all was taken.
func (m *member) commit(entries map[place]*entry) bool {
	ctx, cancel := context.WithTimeout(m.ctx, commitTime)
	defer cancel()
	offsets := map[string]map[int32]kgo.EpochOffset{}
	for at, e := range entries {
		if offsets[at.topic] == nil {
			offsets[at.topic] = map[int32]kgo.EpochOffset{}
		}
		offsets[at.topic][at.number] = e.offset
	}
	ctx = kgo.PreCommitFnContext(ctx, func(req *kmsg.OffsetCommitRequest) error {
		annotate(req, entries)
		return nil
	})
	m.client.CommitOffsetsSync(ctx, offsets, func(_ *kgo.Client, req *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
		answered(req, resp, err, entries)
	})
	m.mu.Lock()
	defer m.mu.Unlock()
	all := true
	for _, e := range entries {
		if e.err = m.judge(e); e.err == nil {
			e.p.confirmed = e.marks
		}
		e.p.failure = e.err
		all = all && e.err == nil
	}
	return all
}

// judge takes a topic that the broker does not know for deleted only after a while:
// one that has just been made is not known everywhere at once.
func (m *member) judge(e *entry) error {
	if !errors.Is(e.err, driver.ErrNotFound) {
		e.p.unknown = time.Time{}
		return e.err
	}
	if e.p.unknown.IsZero() {
		e.p.unknown = time.Now()
	}
	if time.Since(e.p.unknown) < unknownTime {
		return e.err
	}
	m.missing(e.p.topic)
	return errMissing(e.p.topic)
}

// annotate writes the done sets in place of what the client writes there.
func annotate(req *kmsg.OffsetCommitRequest, entries map[place]*entry) {
	for i := range req.Topics {
		topic := &req.Topics[i]
		for j := range topic.Partitions {
			p := &topic.Partitions[j]
			p.Metadata = new(string)
			if e := entries[place{topic.Topic, p.Partition}]; e != nil {
				p.Metadata = &e.metadata
			}
		}
	}
}

// answered notes the broker's answer for each partition.
func answered(req *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error, entries map[place]*entry) {
	if err != nil {
		for _, e := range entries {
			e.err = wrap(err)
		}
		return
	}
	names := map[[16]byte]string{}
	for _, t := range req.Topics {
		names[t.TopicID] = t.Topic
	}
	for _, t := range resp.Topics {
		name := t.Topic
		if name == "" { // newer brokers answer by id
			name = names[t.TopicID]
		}
		for _, p := range t.Partitions {
			if e := entries[place{name, p.Partition}]; e != nil {
				e.err = refused(p.ErrorCode)
			}
		}
	}
}

// refused is the error of a partition's answer.
func refused(code int16) error {
	err := kerr.ErrorForCode(code)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, kerr.OffsetMetadataTooLarge):
		return fmt.Errorf("the broker's offset.metadata.max.bytes is below its default of %d, which the set of settled messages needs: %w",
			mostMetadata, err)
	}
	return wrap(err)
}

// owned are the partitions that the member has.
func (m *member) owned() []*partition {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Values(m.parts))
}

// flush waits until what is marked of partitions by now is committed. It tries
// again until ctx ends or they are somebody else's.
func (m *member) flush(ctx context.Context, parts []*partition) error {
	marks := map[*partition]uint64{}
	m.mu.Lock()
	for _, p := range parts {
		marks[p] = p.marks
	}
	m.mu.Unlock()
	for {
		r, failure := m.owes(marks)
		switch {
		case r == nil:
			return nil
		case errors.Is(failure, driver.ErrStale), errors.Is(failure, driver.ErrClosed):
			return failure
		}
		select {
		case <-r.over:
		case <-ctx.Done():
			return errors.Join(failure, ctx.Err())
		}
	}
}

// owes is the commit to wait for, nil where there is nothing to commit, and why
// the last one failed.
func (m *member) owes(marks map[*partition]uint64) (r *round, failure error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for p, n := range marks {
		if p.confirmed >= n || p.phase == phaseStart || p.phase == phaseOver {
			delete(marks, p)
			continue
		}
		failure = p.failure
	}
	if len(marks) == 0 {
		return nil, nil
	}
	return m.joinRound(), failure
}
