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
	// MaxRecords bounds the records of messages that are done: beyond, the oldest
	// are forgotten before their time. Default 1,000,000, about 100 MB.
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
}

const memoryShards = 64 // a power of two

var (
	_ Store   = (*Memory)(nil)
	_ Single  = (*Memory)(nil)
	_ Counter = (*Memory)(nil)
)

// memoryID is a key of 128 bits: the hash, mixed with that of its scope.
type memoryID [16]byte

// memoryShard is a part of the records. What is done moves from open to done,
// where it takes a third of the room.
type memoryShard struct {
	mu    sync.Mutex
	open  map[memoryID]*memoryRecord
	done  map[memoryID]tombstone
	order ages // of done
	spare *memoryRecord
}

type memoryRecord struct {
	Record

	until   time.Time // when the lease ends
	expires time.Time
}

// tombstone tells duplicates of a message that is done. Times are in seconds
// since the store was made.
type tombstone struct {
	fingerprint memoryID // its first half
	token       [8]byte  // its first half
	expires     uint32
	took        uint32 // milliseconds
}

// NewMemory returns a store without records. It starts nothing.
func NewMemory(o *MemoryOptions) *Memory {
	most := 1_000_000
	if o != nil && o.MaxRecords > 0 {
		most = o.MaxRecords
	}
	m := &Memory{began: time.Now(), most: max(1, most/memoryShards)}
	for i := range m.shards {
		m.shards[i].open = map[memoryID]*memoryRecord{}
		m.shards[i].done = map[memoryID]tombstone{}
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
	if t, ok := shard.done[id]; ok && m.seconds(now) < t.expires {
		return t.verdict(c), nil
	}
	r := shard.open[id]
	if r == nil {
		r = shard.add(id)
	} else if !now.Before(r.expires) {
		*r = memoryRecord{}
	}
	v := r.Begin(c, r.until.Sub(now))
	if v.State == Acquired {
		r.until, r.expires = now.Add(c.Lease), now.Add(c.TTL)
	}
	return v, nil
}

// UpdateOne implements [Single].
func (m *Memory) UpdateOne(_ context.Context, c *Change) error {
	id, shard := m.find(&c.Key)
	now := time.Now()
	shard.mu.Lock()
	defer shard.mu.Unlock()
	r := shard.open[id]
	if r == nil {
		return shard.closed(id, c)
	}
	if err := r.Apply(c); err != nil {
		return err
	}
	r.expires = now.Add(c.TTL)
	switch {
	case r.Phase == Settled:
		shard.bury(m, id, r, now)
	case r.Phase == InProgress:
		r.until = now.Add(r.Lease)
	}
	return nil
}

// Stats implements [Counter].
func (m *Memory) Stats() Stats {
	s := Stats{Evicted: m.evicted.Load()}
	now := time.Now()
	for i := range m.shards {
		shard := &m.shards[i]
		shard.mu.Lock()
		s.Records += len(shard.open) + len(shard.done)
		if oldest, ok := shard.order.oldest(); ok && len(shard.done) >= m.most {
			kept := now.Sub(m.began) - time.Duration(oldest.added)*time.Second
			if s.Window == 0 || kept < s.Window {
				s.Window = kept
			}
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

func (m *Memory) seconds(t time.Time) uint32 { return uint32(t.Sub(m.began) / time.Second) }

func (s *memoryShard) add(id memoryID) *memoryRecord {
	r := s.spare
	if r == nil {
		r = &memoryRecord{}
	}
	s.spare = nil
	s.open[id] = r
	return r
}

// bury leaves a tombstone of a record that is settled.
func (s *memoryShard) bury(m *Memory, id memoryID, r *memoryRecord, now time.Time) {
	at := m.seconds(now)
	t := tombstone{
		fingerprint: memoryID(r.Fingerprint[:16]), token: [8]byte(r.Token[:8]),
		expires: m.seconds(r.expires) + 1, took: uint32(min(r.Took/time.Millisecond, 1<<32-1)),
	}
	delete(s.open, id)
	*r = memoryRecord{}
	s.spare = r
	s.done[id] = t
	s.order.push(age{id, at})
	s.forget(m, at)
}

// forget drops tombstones that are over, and the oldest beyond the bound.
func (s *memoryShard) forget(m *Memory, now uint32) {
	for range 4 { // more than one for each that comes
		a, ok := s.order.oldest()
		if !ok {
			return
		}
		t, ok := s.done[a.id]
		over := !ok || t.expires <= now
		if !over && len(s.done) <= m.most {
			return
		}
		if !over {
			m.evicted.Add(1)
		}
		s.order.pop()
		delete(s.done, a.id)
	}
}

// closed answers a change of a record that is not open.
func (s *memoryShard) closed(id memoryID, c *Change) error {
	if c.Op == Settle {
		return nil
	}
	var gone Record
	if t, ok := s.done[id]; ok && c.Op == Complete && t.token == [8]byte(c.Token[:8]) {
		return nil
	}
	return gone.Apply(c)
}

func (t *tombstone) verdict(c *Claim) Verdict {
	if t.fingerprint != memoryID(c.Fingerprint[:16]) {
		v := Verdict{State: Mismatch}
		copy(v.Fingerprint[:], t.fingerprint[:])
		return v
	}
	return Verdict{State: Done, Took: time.Duration(t.took) * time.Millisecond}
}

// age is when a tombstone was added, in seconds since the store was made.
type age struct {
	id    memoryID
	added uint32
}

// ages is first in, first out, in chunks: growing it copies nothing.
type ages struct {
	chunks []*[agesChunk]age
	first  int // in the first chunk
	last   int // entries in the last chunk
}

const agesChunk = 256

func (q *ages) push(a age) {
	if len(q.chunks) == 0 || q.last == agesChunk {
		q.chunks, q.last = append(q.chunks, new([agesChunk]age)), 0
	}
	q.chunks[len(q.chunks)-1][q.last] = a
	q.last++
}

func (q *ages) oldest() (age, bool) {
	if len(q.chunks) == 0 || len(q.chunks) == 1 && q.first == q.last {
		return age{}, false
	}
	return q.chunks[0][q.first], true
}

func (q *ages) pop() {
	q.first++
	if q.first == agesChunk {
		q.chunks, q.first = q.chunks[1:], 0
	}
}
