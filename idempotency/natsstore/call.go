package natsstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/anywire/anywire/idempotency"
)

// call is one Begin or Update: it goes around until every record is decided. In
// one round what has to be read is read, all at once, then what has to be written
// is written, all at once, each with the revision that it replaces.
type call struct {
	s      *Store
	decide func(*job) (write bool) // sets next, and perhaps doc
	all    bool                    // outputs are asked for
	jobs   []job
	byKey  map[idempotency.Key]int
	last   error // why it goes around again
}

// job is what a call does to one record: all that it was asked in one write, as
// a write needs the revision of the one before.
type job struct {
	key     idempotency.Key
	subject string
	items   []int // of the call, in order

	have  bool // known is to be decided on; otherwise the record is read
	guess bool // known is what we remember
	done  bool
	known known

	next  idempotency.Record
	doc   []byte // next as bytes, if that was needed before
	ttl   time.Duration
	parts parts // of doc
	torn  int   // how often parts were not all there
}

// mostTorn is how often a record may be without its parts before it is broken: who
// replaces a record removes them, which we may see before the new record.
const mostTorn = 5

func (s *Store) newCall(n int, decide func(*job) bool) *call {
	c := &call{s: s, decide: decide, jobs: make([]job, 0, n)}
	if n > 1 {
		c.byKey = make(map[idempotency.Key]int, n)
	}
	return c
}

func (c *call) add(i int, key *idempotency.Key) {
	if at, ok := c.byKey[*key]; ok {
		c.jobs[at].items = append(c.jobs[at].items, i)
		return
	}
	if c.byKey != nil {
		c.byKey[*key] = len(c.jobs)
	}
	c.jobs = append(c.jobs, job{key: *key, subject: c.s.subjects.of(key), items: []int{i}})
}

// run decides every job, or says why it could not.
func (c *call) run(ctx context.Context) error {
	for round := 0; ; round++ {
		if err := c.prepare(ctx, round); err != nil {
			return err
		}
		err := c.read(ctx)
		if err == nil {
			err = c.write(ctx)
		}
		if err != nil {
			return err
		}
		if c.isDone() {
			return nil
		}
	}
}

// prepare waits for what a round needs.
func (c *call) prepare(ctx context.Context, round int) error {
	if round > 1 && !pause(ctx, min(time.Duration(round)*time.Millisecond, glance)) {
		return c.over(ctx)
	}
	if ctx.Err() != nil {
		return c.over(ctx)
	}
	err := c.s.wire.reachable(ctx)
	if err == nil {
		err = c.s.Ready(ctx)
	}
	return err
}

// over is the error of a call that did not end in time.
func (c *call) over(ctx context.Context) error {
	if c.last != nil {
		return fmt.Errorf("%w: %w", c.last, ended(ctx))
	}
	return ended(ctx)
}

func (c *call) isDone() bool {
	for i := range c.jobs {
		if !c.jobs[i].done {
			return false
		}
	}
	return true
}

// again notes why a job is not decided yet; what will not change is returned.
func (c *call) again(j *job, err error) error {
	j.have, j.guess = false, false
	switch {
	case errors.Is(err, errConflict):
		c.s.cache.drop(j.key, j.known.revision)
	case errors.Is(err, errNoStream):
		c.s.bucket.good.Store(false)
		c.last = err
	case errors.Is(err, errLost), errors.Is(err, errBusy):
		c.last = err
	default:
		return err
	}
	return nil
}

// write decides on what is known, and writes what came of it. Parts go first.
func (c *call) write(ctx context.Context) error {
	var writes, pieces []request
	var jobs, split []*job
	room := c.s.bucket.room()
	for i := range c.jobs {
		j := &c.jobs[i]
		if j.done || !j.have {
			continue
		}
		if !c.decide(j) {
			j.done = j.have // it may want to be read
			continue
		}
		r, more := c.s.compose(j, room)
		if writes == nil {
			writes, jobs = make([]request, 0, len(c.jobs)), make([]*job, 0, len(c.jobs))
		}
		writes, jobs = append(writes, r), append(jobs, j)
		pieces = append(pieces, more...)
		for range more {
			split = append(split, j)
		}
	}
	if err := c.writePieces(ctx, pieces, split); err != nil {
		return err
	}
	c.s.wire.exchange(ctx, writes)
	return c.written(writes, jobs)
}

// writePieces writes parts; without them no record is written.
func (c *call) writePieces(ctx context.Context, pieces []request, jobs []*job) error {
	c.s.wire.exchange(ctx, pieces)
	for i := range pieces {
		_, err := pieces[i].stored(c.s.bucket.name)
		if err == nil {
			continue
		}
		if err := c.again(jobs[i], err); err != nil {
			return err
		}
	}
	return nil
}

// compose makes the message of a record, and those of its parts if it is too
// large.
func (s *Store) compose(j *job, room int) (request, []request) {
	if j.doc == nil {
		j.doc, _ = j.next.MarshalBinary() // never fails
	}
	r := request{subject: s.put + j.subject, expect: true, revision: j.known.revision, data: j.doc, ttl: s.bucket.ttl(j.ttl)}
	if j.next.Phase == idempotency.InProgress {
		r.owner = s.owner
	}
	if len(j.doc) <= room {
		j.parts = parts{}
		return r, nil
	}
	var pieces []request
	j.parts, pieces = split(s.put+j.subject, j.doc, room, r.ttl)
	short := j.next
	short.Outputs, short.Steps = nil, nil
	r.data, _ = short.MarshalBinary() // never fails
	r.parts = j.parts.String()
	return r, pieces
}

func (c *call) written(writes []request, jobs []*job) error {
	now := time.Now()
	for i, j := range jobs {
		revision, err := writes[i].stored(c.s.bucket.name)
		if err != nil {
			if errors.Is(err, errConflict) {
				c.s.discard(j.subject, j.parts)
			}
			if err := c.again(j, err); err != nil {
				return err
			}
			continue
		}
		c.s.discard(j.subject, j.known.parts)
		k := known{record: j.next, revision: revision, seen: now, owner: writes[i].owner, parts: j.parts}
		c.s.cache.note(j.key, &k)
		j.done = true
	}
	return nil
}
