package kafkadriver

import (
	"cmp"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// place names a partition.
type place struct {
	topic  string
	number int32
}

// phase is how far an assignment is.
type phase uint8

const (
	phaseStart phase = iota // its offsets are not known yet
	phaseOpen
	phaseDrain // revoked: what was delivered may still be settled
	phaseOver  // somebody else's
)

// partition is one assignment of a partition to this member: what was fetched of
// it, what was delivered and what is done. All of it is under the member's lock;
// place, shard and revoked never change, except when another source takes over.
type partition struct {
	place

	src     *source
	shard   int
	revoked chan struct{} // closed when src has to let it go
	phase   phase
	drained chan struct{} // closed when nothing is unsettled; made when it is revoked

	offsets offsets
	epoch   int32 // the leader's, of what was delivered last; -1: not known

	queue []*kgo.Record // fetched and not delivered, from at on
	at    int
	bytes int64
	tail  int64         // offset that comes after queue
	back  []*kgo.Record // given back, by offset

	flight    *delivery // the unsettled ones, in a ring without order
	unsettled int

	held   bool      // by PauseShards
	paused bool      // fetching is
	fed    time.Time // when it had something last, or began
	stuck  bool      // what comes next is too far above base
	named  int64

	// Marks count changes to what a commit would say; confirmed are those that the
	// broker has.
	marks, confirmed uint64
	failure          error     // of the last commit
	unknown          time.Time // since when the broker knows no such topic; zero: it does
}

// begin makes the offsets known: records may come.
func (p *partition) begin(base int64, done []byte, epoch int32) {
	p.offsets = newOffsets(base, done, p.src.span())
	p.epoch, p.tail, p.named, p.phase = epoch, base, -1, phaseOpen
}

// add puts fetched records in the queue.
func (p *partition) add(records []*kgo.Record) {
	if p.at > 0 && p.at >= len(p.queue)/2 {
		p.queue, p.at = slices.Delete(p.queue, 0, p.at), 0
	}
	for _, r := range records {
		if r.Offset < p.tail {
			continue
		}
		p.queue = append(p.queue, r)
		p.tail = r.Offset + 1
		p.bytes += weight(r)
	}
}

func (p *partition) queued() int { return len(p.queue) - p.at }

// drop forgets what was fetched and given back.
func (p *partition) drop() {
	p.queue, p.at, p.bytes, p.back = nil, 0, 0, nil
}

// weight is about what a record takes in memory.
func weight(r *kgo.Record) int64 {
	n := len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		n += len(h.Key) + len(h.Value)
	}
	return int64(n) + 256
}

// available reports whether next has something, as far as can be told.
func (p *partition) available() bool {
	return !p.held && p.phase == phaseOpen && (len(p.back) > 0 || p.queued() > 0 && !p.stuck)
}

// standsStill reports whether something waits for an old message to be settled.
func (p *partition) standsStill() bool { return p.stuck && p.queued() > 0 }

// next takes what is to be delivered next: what was given back comes first. It is
// nil where there is nothing, or the next record is too far above the oldest
// unsettled one.
func (p *partition) next() *kgo.Record {
	if len(p.back) > 0 {
		r := p.back[0]
		p.back[0] = nil
		p.back = p.back[1:]
		return r
	}
	base := p.offsets.base
	for p.queued() > 0 {
		r := p.queue[p.at]
		if p.stuck = !p.offsets.room(r.Offset); p.stuck {
			break
		}
		p.queue[p.at] = nil
		p.at++
		p.bytes -= weight(r)
		if !p.offsets.take(r.Offset) {
			continue
		}
		if r.Attrs.IsControl() { // the end of somebody's transaction
			p.offsets.finish(r.Offset)
			p.marks++
			continue
		}
		p.epoch = r.LeaderEpoch
		p.advanced(base)
		return r
	}
	p.advanced(base)
	return nil
}

// advanced notes that the prefix has grown without a settlement.
func (p *partition) advanced(from int64) {
	if p.offsets.base > from {
		p.marks++
	}
}

// giveBack keeps a record for its next delivery.
func (p *partition) giveBack(r *kgo.Record) {
	if p.phase != phaseOpen {
		return // the next owner fetches it
	}
	i, _ := slices.BinarySearchFunc(p.back, r.Offset, func(r *kgo.Record, offset int64) int { return cmp.Compare(r.Offset, offset) })
	p.back = slices.Insert(p.back, i, r)
}

// delivery is one delivery of a record, and its token.
type delivery struct {
	p      *partition
	src    *source
	record *kgo.Record
	state  state
	leased time.Time
	mark   uint64 // of its outcome; confirmed with it
	copied bool   // to the ladder

	before, after *delivery
}

// state is how far a delivery is.
type state uint8

const (
	stateHeld    state = iota
	stateMarked        // done, which the broker has yet to confirm
	stateSettled       // ended by us
	stateStale         // ended by others
)

// handOut begins a delivery.
func (p *partition) handOut(d *delivery, r *kgo.Record, now time.Time) {
	*d = delivery{p: p, src: p.src, record: r, leased: now}
	if p.flight == nil {
		d.before, d.after = d, d
	} else {
		d.before, d.after = p.flight.before, p.flight
		d.before.after, d.after.before = d, d
	}
	p.flight = d
	p.unsettled++
}

// end ends a delivery.
func (p *partition) end(d *delivery, s state) {
	if d.state == stateSettled || d.state == stateStale {
		return
	}
	d.state = s
	if d.after == d {
		p.flight = nil
	} else {
		d.before.after, d.after.before = d.after, d.before
		if p.flight == d {
			p.flight = d.after
		}
	}
	d.before, d.after, d.record = nil, nil, nil
	p.unsettled--
	p.checkDrained()
}

// recall takes back what is delivered and not settled, and was not leased after
// then. It reports whether there was any.
func (p *partition) recall(then time.Time) (some bool) {
	var all []*delivery
	for d := p.flight; d != nil; d = d.after {
		if d.state == stateHeld && !d.leased.After(then) {
			all = append(all, d)
		}
		if d.after == p.flight {
			break
		}
	}
	for _, d := range all {
		p.giveBack(d.record)
		p.end(d, stateStale)
	}
	return len(all) > 0
}

// handTo makes another source the reader.
func (p *partition) handTo(s *source) {
	close(p.revoked)
	p.src, p.shard, p.revoked = s, s.shardOf(p.place), make(chan struct{})
	_, p.held = s.holding[p.shard]
	s.parts = append(s.parts, p)
}

// mark notes that a delivery is done.
func (p *partition) mark(d *delivery) {
	d.state = stateMarked
	p.offsets.finish(d.record.Offset)
	p.marks++
	d.mark = p.marks
	p.stuck = false
}

// checkDrained tells those who wait for a revoked partition.
func (p *partition) checkDrained() {
	if p.phase == phaseDrain && p.unsettled == 0 {
		select {
		case <-p.drained:
		default:
			close(p.drained)
		}
	}
}

// release begins to let the partition go.
func (p *partition) release() {
	p.phase, p.drained = phaseDrain, make(chan struct{})
	close(p.revoked)
	p.drop()
	p.checkDrained()
}

// lose ends the assignment: nothing of it is settled by us any more.
func (p *partition) lose() {
	if p.phase < phaseDrain {
		close(p.revoked)
	}
	if p.phase == phaseDrain {
		select {
		case <-p.drained:
		default:
			close(p.drained)
		}
	}
	p.phase = phaseOver
	p.drop()
}
