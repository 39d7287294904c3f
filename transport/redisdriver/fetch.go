package redisdriver

import (
	"context"
	"slices"
	"time"
)

// readNew reads what no member of the group has had, from streams in turn. The
// first of several calls does not block, so that no stream waits for another.
func (r *reader) readNew(ctx context.Context, n int) ([]*delivery, error) {
	k := len(r.streams)
	if n < k {
		for range (k + n - 1) / n {
			list, err := r.readGroup(ctx, r.next(n), 1, -1)
			if len(list) > 0 || err != nil {
				return list, err
			}
		}
	}
	wait, ok := r.block()
	if !ok {
		return nil, nil
	}
	defer r.unblocked()
	list, err := r.readGroup(ctx, r.next(k), max(1, n/k), wait)
	if len(list) > n { // several had something at the same moment
		r.s.giveUnseen(ctx, list[n:])
		list = list[:n]
	}
	return list, err
}

// next is the next n streams in turn.
func (r *reader) next(n int) []*stream {
	if len(r.streams) == 1 {
		return r.streams
	}
	r.turn %= len(r.streams)
	list := slices.Concat(r.streams[r.turn:], r.streams[:r.turn])[:n]
	if n == len(r.streams) {
		r.turn++
	} else {
		r.turn += n
	}
	return list
}

// readGroup reads at most count of each stream, and blocks for the wait unless it
// is negative.
func (r *reader) readGroup(ctx context.Context, streams []*stream, count int, wait time.Duration) ([]*delivery, error) {
	args := make([]any, 0, 9+2*len(streams))
	args = append(args, "xreadgroup", "group", r.s.sub.Group, r.s.me, "count", count)
	if wait >= 0 {
		args = append(args, "block", wait.Milliseconds())
	}
	args = append(args, "streams")
	for _, st := range streams {
		args = append(args, st.name)
	}
	for range streams {
		args = append(args, ">")
	}
	start := time.Now()
	reply, err := r.line.do(ctx, args...)
	if err != nil {
		return nil, err
	}
	return r.decodeStreams(reply, streams, start)
}

// decodeStreams reads [[stream, [entry, …]], …], which RESP3 makes a map of.
func (r *reader) decodeStreams(reply []byte, streams []*stream, start time.Time) ([]*delivery, error) {
	p := &resp{buf: reply}
	flat := len(reply) > 0 && reply[0] == '%'
	n := p.array()
	if flat {
		n /= 2
	}
	var list []*delivery
	for range n {
		if !flat {
			p.array()
		}
		name := p.str()
		i := slices.IndexFunc(streams, func(st *stream) bool { return st.name == name })
		if p.err != nil {
			break
		}
		if i < 0 {
			return nil, errReply
		}
		list = r.decodeEntries(p, streams[i], start, list)
	}
	return list, p.err
}

// decodeEntries reads [entry, …].
func (r *reader) decodeEntries(p *resp, st *stream, start time.Time, list []*delivery) []*delivery {
	n := max(p.array(), 0)
	if list == nil {
		list = make([]*delivery, 0, min(n, 1<<16))
	}
	for range n {
		var e entry
		e, r.spans, r.fields = p.entry(r.spans, r.fields)
		if p.err != nil {
			break
		}
		list = append(list, r.s.deliver(st, e, start))
	}
	return list
}

// deliver makes a message of an entry that became this member's after start.
func (s *source) deliver(st *stream, e entry, start time.Time) *delivery {
	d := &delivery{src: s, stream: st, id: e.id, count: e.count, deadline: start.Add(s.sub.Lease)}
	d.msg = decodeEntry(e.fields)
	d.msg.Token = d
	d.msg.Shard = st.shard
	d.msg.Seq = seqOf(e.id)
	d.msg.Position = position(e.id, st.shard, s.shards)
	d.msg.Published = publishedAt(e.id)
	d.msg.Deliveries = e.count
	return d
}

// look takes what is due again, and, once in a while, what others let lapse.
func (r *reader) look(ctx context.Context, n int) ([]*delivery, error) {
	s, now := r.s, time.Now()
	lapsed := now.Sub(r.looked) >= min(lookEvery, s.sub.Lease/3)
	s.mu.Lock()
	due := !now.Before(r.due)
	r.due = earliest(r.due, due, now.Add(min(lookEvery, max(s.sub.Lease/3, time.Millisecond))))
	s.mu.Unlock()
	if !due && !lapsed {
		return nil, nil
	}
	lease, orphans := int64(0), 0
	if lapsed {
		lease = max(1, s.sub.Lease.Milliseconds())
		r.looked = now
		if now.Sub(r.searched) >= s.sub.Lease/3 {
			r.searched, orphans = now, 1
		}
	}
	var list []*delivery
	for _, st := range r.streams {
		got, wait, err := r.deliveries(ctx, st, takeScript, n-len(list), holding, n-len(list), lease, orphans)
		list = append(list, got...)
		if err != nil {
			return list, err
		}
		if wait >= 0 {
			s.dueAgain(r, now.Add(wait))
		}
		if len(list) >= n {
			s.dueAgain(r, now) // there may be more
			break
		}
	}
	return list, nil
}

// earliest is when to look again: next, or what is known, unless that is over.
func earliest(known time.Time, over bool, next time.Time) time.Time {
	if over || next.Before(known) {
		return next
	}
	return known
}

// dueAgain makes the reader look not later than at t.
func (s *source) dueAgain(r *reader, t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.Before(r.due) {
		r.due = t
	}
}

// deliveries runs a script that answers with entries, the ids of those that were
// trimmed, and a time in milliseconds.
func (r *reader) deliveries(ctx context.Context, st *stream, sc script, room int, args ...any) ([]*delivery, time.Duration, error) {
	s := r.s
	start := time.Now()
	all := append([]any{s.token, s.sub.Group, s.me}, args...)
	reply, err := r.line.run(ctx, sc, st.keys(), all...)
	if err != nil {
		return nil, 0, err
	}
	p := &resp{buf: reply}
	p.array()
	list := r.decodeEntries(p, st, start, make([]*delivery, 0, max(0, min(room, 16))))
	var gone []string
	for range max(p.array(), 0) {
		gone = append(gone, p.str())
	}
	wait := time.Duration(p.integer()) * time.Millisecond
	s.trimmed(st, gone...)
	return list, wait, p.err
}
