package kafkadriver

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
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
	fetchBytes          = 8 << 20 // packed, of one broker at a time
	fetchPartitionBytes = 256 << 10
	fetchWait           = 500 * time.Millisecond
	lowBytes            = 2 << 20
	highBytes           = 8 << 20
	memberBytes         = 64 << 20 // of all partitions; beyond it only empty ones are fetched
	// pollPause is the wait for partitions that had nothing lately, and fullPause the
	// wait for those that have far too much: to pause one in vain costs a fetchWait.
	pollPause = 100 * time.Millisecond
	fullPause = time.Second
	forEver   = time.Duration(math.MaxInt64)
)

// poll moves what the client fetches to the partitions, while some have use for it.
func (m *member) poll() {
	pause := time.NewTimer(forEver)
	defer pause.Stop()
	for m.ctx.Err() == nil {
		if wait := m.regulate(); wait > 0 {
			pause.Reset(wait)
			select {
			case <-m.hungry:
			case <-pause.C:
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
	m.polled = time.Now()
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

// regulate begins to fetch paused partitions that run dry, and says how long to
// wait before the next poll: not at all, where a partition that flows runs dry; for
// ever, where none needs anything. In between there is a short wait: others may
// have far too much, and are paused then, or the dry ones seem to have nothing.
func (m *member) regulate() (wait time.Duration) {
	m.flow.Lock()
	defer m.flow.Unlock()
	m.mu.Lock()
	need, full, resume := m.demand()
	var pause map[string][]int32
	switch {
	case need == needNothing:
		wait = forEver
	case need == needNow && len(full) == 0:
	default:
		wait = pollPause
		if slices.ContainsFunc(full, func(p *partition) bool { return !p.held }) {
			wait = fullPause
		}
		if wait -= time.Since(m.polled); wait > 0 {
			break
		}
		wait = 0
		for _, p := range full {
			p.paused = true
			pause = with(pause, p.place)
		}
	}
	m.mu.Unlock()
	if pause != nil {
		m.client.PauseFetchPartitions(pause)
	}
	if resume != nil {
		m.client.ResumeFetchPartitions(resume)
	}
	return wait
}

// need is how urgent a poll is.
type need uint8

const (
	needNothing need = iota
	needSoon         // of dry partitions that had nothing lately
	needNow
)

// demand looks at what partitions have: how urgent a poll is, which have far too
// much, and which are to be fetched again.
func (m *member) demand() (need need, full []*partition, resume map[string][]int32) {
	resume, m.resume = m.resume, nil
	bytes, queued := int64(0), 0
	for _, p := range m.parts {
		bytes += p.bytes
		queued += p.queued()
	}
	if queued == 0 {
		need = needNow
	}
	for _, p := range m.parts {
		switch dry := p.dry(bytes); {
		case dry && p.paused:
			p.paused = false
			resume = with(resume, p.place)
		case !dry && !p.paused && (p.bytes >= highBytes || bytes >= memberBytes):
			full = append(full, p)
		}
		if p.dry(bytes) && p.phase <= phaseOpen && !p.held && !p.stuck {
			if time.Since(p.fed) < fetchWait {
				need = needNow
			} else {
				need = max(need, needSoon)
			}
		}
	}
	return need, full, resume
}

// with adds a place.
func with(places map[string][]int32, at place) map[string][]int32 {
	if places == nil {
		places = map[string][]int32{}
	}
	places[at.topic] = append(places[at.topic], at.number)
	return places
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
	now := time.Now()
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
		p.fed = now
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
	p.src.vanished += uint64(n)
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
