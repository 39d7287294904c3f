package kafkadriver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/anywire/anywire/transport/driver"
)

// What is fetched ahead. The client is polled when some partition has less than its
// low marks for delivery, and then gives all that it has fetched, of the others as
// well. Only one that has far too much is paused meanwhile: the client throws away
// what it has fetched of it.
const (
	fetchBytes          = 16 << 20 // packed, of one broker at a time
	fetchPartitionBytes = 1 << 20
	fetchWait           = 250 * time.Millisecond
	lowBytes            = 2 << 20
	highBytes           = 8 << 20
	memberBytes         = 64 << 20 // of all partitions; beyond it only empty ones are fetched
)

// poll moves what the client fetches to the partitions, while some have use for it.
func (m *member) poll() {
	for m.ctx.Err() == nil {
		if !m.regulate() {
			select {
			case <-m.hungry:
			case <-m.ctx.Done():
			}
			continue
		}
		ctx, turned := m.startPoll()
		fetches := m.client.PollFetches(ctx)
		m.put(fetches)
		m.endPoll(turned)
	}
}

func (m *member) startPoll() (context.Context, chan struct{}) {
	ctx, cancel := context.WithCancel(m.ctx)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.polling, m.turned = cancel, make(chan struct{})
	return ctx, m.turned
}

func (m *member) endPoll(turned chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.polling()
	m.polling = nil
	close(turned)
}

// turn waits until what the client has handed out is put away.
func (m *member) turn() {
	m.mu.Lock()
	polling, turned := m.polling, m.turned
	m.mu.Unlock()
	if polling != nil {
		polling()
		<-turned
	}
}

// regulate stops fetching partitions that have enough and begins it for those that
// run dry. It reports whether a poll is of use: of full ones it would bring more.
func (m *member) regulate() bool {
	m.flow.Lock()
	defer m.flow.Unlock()
	pause, resume := map[string][]int32{}, map[string][]int32{}
	m.mu.Lock()
	if m.resume != nil {
		resume, m.resume = m.resume, nil
	}
	useful, bytes := len(m.parts) == 0, int64(0)
	for _, p := range m.parts {
		bytes += p.bytes
	}
	for _, p := range m.parts {
		switch enough := p.bytes >= highBytes || bytes >= memberBytes && !p.dry(bytes); {
		case enough && !p.paused:
			p.paused = true
			pause[p.topic] = append(pause[p.topic], p.number)
		case p.paused && p.dry(bytes):
			p.paused = false
			resume[p.topic] = append(resume[p.topic], p.number)
		}
		useful = useful || p.phase <= phaseOpen && !p.held && !p.stuck && p.dry(bytes)
	}
	m.mu.Unlock()
	if len(pause) > 0 {
		m.client.PauseFetchPartitions(pause)
	}
	if len(resume) > 0 {
		m.client.ResumeFetchPartitions(resume)
	}
	return useful
}

// dry reports whether a partition should be fetched, where all have so many bytes.
func (p *partition) dry(all int64) bool {
	return p.queued() == 0 || p.queued() < p.src.lowMark() && p.bytes < lowBytes && all < memberBytes
}

// put files records with the assignments that they belong to; what belongs to none
// is not settled, and the next owner fetches it.
func (m *member) put(fetches kgo.Fetches) {
	m.mu.Lock()
	defer m.mu.Unlock()
	fetches.EachError(m.failed) // first: data loss says where the records begin
	fetches.EachPartition(func(f kgo.FetchTopicPartition) {
		p := m.parts[place{f.Topic, f.Partition}]
		if p == nil || p.phase != phaseOpen || len(f.Records) == 0 {
			return
		}
		if first := f.Records[0].Offset; first < p.tail { // the client was sent back
			m.dataLost(&kgo.ErrDataLoss{Topic: f.Topic, Partition: f.Partition, ConsumedTo: p.tail, ResetTo: first})
			if p = m.parts[p.place]; p == nil {
				return
			}
		}
		m.countLost(p, min(f.LogStartOffset, f.Records[0].Offset))
		p.add(f.Records)
		p.src.wake()
	})
}

// countLost notes that the broker has deleted what was not read.
func (m *member) countLost(p *partition, oldest int64) {
	n := oldest - p.tail
	for at := p.tail; at < min(oldest, p.offsets.top); at++ {
		if p.offsets.has(at) {
			n--
		}
	}
	if n <= 0 {
		return
	}
	m.d.log.Error("messages were deleted by the broker before this group read them: retention is too short, or the group too slow",
		"group", m.group, "topic", p.topic, "partition", p.number, "from", p.tail, "to", oldest, "messages", n)
	p.src.report(fmt.Errorf("%d messages of partition %d of topic %q were deleted before group %q read them (offsets %d to %d): "+
		"lengthen its retention", n, p.number, p.topic, m.group, p.tail, oldest-1))
}

// failed is told of an error of a partition, a topic (-1), or the group (no topic).
func (m *member) failed(topic string, number int32, err error) {
	var loss *kgo.ErrDataLoss
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, kgo.ErrClientClosed):
		return
	case errors.As(err, &loss):
		m.dataLost(loss)
		return
	}
	m.d.log.Debug("fetching failed", "group", m.group, "topic", topic, "partition", number, "error", err)
	for of, all := range m.readers {
		if of != topic && topic != "" {
			continue
		}
		for _, s := range all {
			s.report(explain(topic, err))
		}
	}
}

// explain is the error of fetching as the engine should take it.
func explain(topic string, err error) error {
	if errors.Is(err, kerr.UnknownTopicID) {
		return errMissing(topic)
	}
	wrapped := wrap(err)
	if errors.Is(wrapped, driver.ErrStale) || errors.Is(wrapped, driver.ErrClosed) {
		return errors.New(err.Error()) // the client joins again by itself
	}
	return wrapped
}

// dataLost begins a partition again where the broker's log goes on.
func (m *member) dataLost(loss *kgo.ErrDataLoss) {
	m.d.log.Error("the broker has lost messages that it had confirmed", "group", m.group, "topic", loss.Topic,
		"partition", loss.Partition, "read", loss.ConsumedTo, "next", loss.ResetTo)
	p := m.parts[place{loss.Topic, loss.Partition}]
	if p == nil || p.phase != phaseOpen {
		return
	}
	p.src.report(fmt.Errorf("the broker has lost messages of partition %d of topic %q: it goes on at offset %d, %d were read",
		loss.Partition, loss.Topic, loss.ResetTo, loss.ConsumedTo))
	m.restart(p, loss.ResetTo)
}
