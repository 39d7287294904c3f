package idempotency

import (
	"context"
	"crypto/sha256"
	"sync"
	"sync/atomic"
	"time"
)

// MemoryOptions configure a [Memory]. Zero values are the defaults.
type MemoryOptions struct {
	// MaxRecords bounds the records of messages that are done, well or not: beyond,
	// the oldest are forgotten before their time. What is in progress or released
	// comes on top, for as long as its TTL. Default 1,000,000: at most 128 MB.
	MaxRecords int
}

// Memory keeps records in this process: they die with it. It is a [Store] for
// transports that do so too, and for tests.
type Memory struct {
	began  time.Time
	most   int // records that are done, in one shard
	scopes sync.Map
	shards [memoryShards]memoryShard

	evicted atomic.Uint64
	ttl     atomic.Int64 // that was asked for last
}

const memoryShards = 64 // a power of two

var (
	_ Store   = (*Memory)(nil)
	_ Single  = (*Memory)(nil)
	_ Counter = (*Memory)(nil)
)

// memoryID is a key of 128 bits: the hash, mixed with that of its scope.
type memoryID [16]byte

// memoryShard is a part of the records. What is settled moves from open into a
// grave, where it takes a fifth of the room.
type memoryShard struct {
	mu     sync.Mutex
	open   map[memoryID]*memoryRecord
	turn   memoryRecord // a ring of what is open: the next to be looked at comes next
	spare  *memoryRecord
	spares int

	settled map[memoryID]uint32 // place of the grave
	graves  graves              // in the order in which records were done
	done    int                 // settled, and those in open that are done
}

// memoryRecord is a record that is not settled.
type memoryRecord struct {
	Record

	id         memoryID
	until      time.Time // when the lease ends
	expires    time.Time
	marked     bool   // it is done, and has a grave to be dropped by
	place      uint32 // of that
	prev, next *memoryRecord
}

const (
	maxSpares = 32
	sweeping  = 2 // records that are looked at for each that comes
)

// NewMemory returns a store without records. It starts nothing.
func NewMemory(o *MemoryOptions) *Memory {
	most := 1_000_000
	if o != nil && o.MaxRecords > 0 {
		most = o.MaxRecords
	}
	m := &Memory{began: time.Now(), most: (most + memoryShards - 1) / memoryShards}
	for i := range m.shards {
		shard := &m.shards[i]
		shard.open = map[memoryID]*memoryRecord{}
		shard.turn.prev, shard.turn.next = &shard.turn, &shard.turn
		shard.settled = map[memoryID]uint32{}
	}
	return m
}

// Begin implements [Store].
func (m *Memory) Begin(ctx context.Context, claims []Claim) ([]Verdict, error) {
	verdicts := make([]Verdict, len(claims))
	for i := range claims {
		var err error
		if verdicts[i], err = m.BeginOne(ctx, &claims[i]); err != nil {
			return nil, err
		}
	}
	return verdicts, nil
}

// Update implements [Store].
func (m *Memory) Update(ctx context.Context, changes []Change) ([]error, error) {
	errs := make([]error, len(changes))
	for i := range changes {
		errs[i] = m.UpdateOne(ctx, &changes[i])
	}
	return errs, nil
}

// BeginOne implements [Single].
func (m *Memory) BeginOne(_ context.Context, c *Claim) (Verdict, error) {
	id, shard := m.find(&c.Key)
	now := time.Now()
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if place, ok := shard.settled[id]; ok {
		g := shard.graves.at(place)
		if m.seconds(now) < g.expires {
			return g.verdict(c), nil
		}
		shard.dig(id)
	}
	r := shard.find(id, now)
	if r == nil {
		r = shard.add(id, now)
	}
	v := r.Begin(c, r.until.Sub(now))
	if v.State == Acquired {
		shard.unmark(r)
		r.until, r.expires = now.Add(c.Lease), now.Add(c.TTL)
		m.asked(c.TTL)
	}
	return v, nil
}

// UpdateOne implements [Single].
func (m *Memory) UpdateOne(_ context.Context, c *Change) error {
	id, shard := m.find(&c.Key)
	now := time.Now()
	shard.mu.Lock()
	defer shard.mu.Unlock()
	r := shard.find(id, now)
	if r == nil {
		return shard.closed(id, c, m.seconds(now))
	}
	if c.Op == Settle && r.Phase != Completed {
		return nil
	}
	if err := r.Apply(c); err != nil {
		return err
	}
	r.expires = now.Add(c.TTL)
	switch r.Phase {
	case InProgress:
		r.until = now.Add(r.Lease)
	case Settled:
		shard.mark(r, m.seconds(now))
		shard.bury(m, r)
		shard.bound(m, now)
	case Completed, FailedForGood:
		shard.mark(r, m.seconds(now))
		shard.bound(m, now)
	case Released:
	}
	return nil
}

// Stats implements [Counter].
func (m *Memory) Stats() Stats {
	s := Stats{Evicted: m.evicted.Load(), Window: time.Duration(m.ttl.Load())}
	now := m.seconds(time.Now())
	for i := range m.shards {
		shard := &m.shards[i]
		shard.mu.Lock()
		s.Records += len(shard.open) + len(shard.settled)
		if shard.done >= m.most {
			shard.strip()
			s.Window = min(s.Window, time.Duration(now-shard.graves.oldest().added)*time.Second)
		}
		shard.mu.Unlock()
	}
	return s
}

func (m *Memory) find(k *Key) (memoryID, *memoryShard) {
	mixed, ok := m.scopes.Load(k.Scope)
	if !ok {
		sum := sha256.Sum256([]byte(k.Scope))
		mixed, _ = m.scopes.LoadOrStore(k.Scope, memoryID(sum[:16]))
	}
	id := mixed.(memoryID) //nolint:forcetypeassert // nothing else is stored
	for i := range id {
		id[i] ^= k.Hash[i]
	}
	return id, &m.shards[id[0]&(memoryShards-1)]
}

// asked notes a TTL, which is nearly always the same.
func (m *Memory) asked(ttl time.Duration) {
	if m.ttl.Load() != int64(ttl) {
		m.ttl.Store(int64(ttl))
	}
}

func (m *Memory) seconds(t time.Time) uint32 { return uint32(t.Sub(m.began) / time.Second) }

// find is the record in open; nil: there is none, or it has expired.
func (s *memoryShard) find(id memoryID, now time.Time) *memoryRecord {
	r := s.open[id]
	if r != nil && !now.Before(r.expires) {
		s.drop(r)
		return nil
	}
	return r
}

// add makes a record, and looks at some of the others.
func (s *memoryShard) add(id memoryID, now time.Time) *memoryRecord {
	s.sweep(now)
	r := s.spare
	if r == nil {
		r = &memoryRecord{}
	} else {
		s.spare, r.next = r.next, nil
		s.spares--
	}
	r.id = id
	s.open[id] = r
	s.enqueue(r)
	return r
}

// sweep drops what nobody will ask for any more: attempts that were given up,
// failures, and outputs that nobody has settled, each after its TTL.
func (s *memoryShard) sweep(now time.Time) {
	for range sweeping {
		r := s.turn.next
		if r == &s.turn {
			return
		}
		if !now.Before(r.expires) {
			s.drop(r)
			continue
		}
		r.unlink()
		s.enqueue(r)
	}
}

func (s *memoryShard) enqueue(r *memoryRecord) {
	r.prev, r.next = s.turn.prev, &s.turn
	r.prev.next, r.next.prev = r, r
}

func (r *memoryRecord) unlink() { r.prev.next, r.next.prev = r.next, r.prev }

// drop takes a record out of open.
func (s *memoryShard) drop(r *memoryRecord) {
	s.unmark(r)
	s.remove(r)
}

func (s *memoryShard) remove(r *memoryRecord) {
	delete(s.open, r.id)
	r.unlink()
	*r = memoryRecord{}
	if s.spares < maxSpares {
		s.spare, r.next = r, s.spare
		s.spares++
	}
}

// mark gives a record that is done its place in the order of those.
func (s *memoryShard) mark(r *memoryRecord, now uint32) {
	if r.marked {
		return // by Complete, or by the same change before
	}
	r.marked, r.place = true, s.graves.push(grave{id: r.id, added: now, empty: true})
	s.done++
}

// unmark is for a record that goes on, or goes.
func (s *memoryShard) unmark(r *memoryRecord) {
	if r.marked {
		r.marked = false
		s.done--
	}
}

// bury leaves of a settled record what tells duplicates.
func (s *memoryShard) bury(m *Memory, r *memoryRecord) {
	*s.graves.at(r.place) = grave{
		id: r.id, fingerprint: memoryID(r.Fingerprint[:16]), token: [8]byte(r.Token[:8]),
		expires: m.seconds(r.expires.Add(time.Second - 1)), added: s.graves.at(r.place).added,
		took: uint32(min(r.Took/time.Millisecond, 1<<32-1)),
	}
	s.settled[r.id] = r.place
	s.remove(r)
}

// dig removes a grave; its place stays empty until its turn comes.
func (s *memoryShard) dig(id memoryID) {
	delete(s.settled, id)
	s.done--
}

// bound drops what has expired, and the oldest beyond the bound: more than one
// for each that comes, if there are.
func (s *memoryShard) bound(m *Memory, now time.Time) {
	for range 2 * sweeping {
		s.strip()
		g := s.graves.oldest()
		if g == nil {
			return
		}
		r := s.open[g.id]
		over := !g.empty && g.expires <= m.seconds(now) || g.empty && !now.Before(r.expires)
		switch {
		case !over && s.done <= m.most && s.graves.len() <= 2*m.most+gravesChunk:
			return // the second bound is for places that records have left
		case g.empty:
			s.drop(r)
		default:
			s.dig(g.id)
		}
		if !over {
			m.evicted.Add(1)
		}
	}
}

// strip drops places whose record has gone elsewhere.
func (s *memoryShard) strip() {
	for g := s.graves.oldest(); g != nil; g = s.graves.oldest() {
		place, ok := s.settled[g.id]
		if r := s.open[g.id]; g.empty {
			ok = r != nil && r.marked
			if ok {
				place = r.place
			}
		}
		if ok && place == s.graves.first {
			return
		}
		s.graves.pop()
	}
}

// closed answers a change of a record that is not open.
func (s *memoryShard) closed(id memoryID, c *Change, now uint32) error {
	if c.Op == Settle {
		return nil
	}
	if place, ok := s.settled[id]; ok && c.Op == Complete {
		if g := s.graves.at(place); g.token == [8]byte(c.Token[:8]) && now < g.expires {
			return nil // once more: its answer was lost
		}
	}
	var gone Record
	return gone.Apply(c)
}
