package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
)

// removedType is that of the notes in a topic of removals.
const removedType = "anywire.removed@1"

// removals are the letters that were taken out of a topic of a broker which cannot
// do that. They are notes in a topic of their own, one for each batch.
type removals struct {
	broker *transport.Transport
	topic  string
	made   bool

	shards map[int]*spans
}

// removalNote is the body of a note.
type removalNote struct {
	Spans []removedSpan `json:"spans"`
	// Until is when the newest of these letters was published: later ones in the
	// same places are others, since the topic was made anew.
	Until time.Time `json:"until"`
}

// removedSpan is a run of places in a shard, both ends included.
type removedSpan struct {
	Shard int    `json:"shard"`
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

// spans are the places of one shard, in order and apart from each other.
type spans struct {
	list  []removedSpan
	until time.Time
}

// read reads the notes that are there.
func (r *removals) read(ctx context.Context) error {
	r.shards = map[int]*spans{}
	if _, err := lookUp(ctx, r.broker, r.topic); err != nil {
		if errors.Is(err, driver.ErrNotFound) {
			return nil
		}
		return err
	}
	var all []removedSpan
	var broken error
	err := r.broker.Browse(ctx, r.topic, driver.Start{}, false, func(d *transport.Delivery) bool {
		var note removalNote
		switch {
		case d.Envelope == nil || d.Envelope.WireType() != removedType:
			return true // somebody else's
		default:
			broken = json.Unmarshal(d.Envelope.Data, &note)
		}
		if broken != nil {
			broken = fmt.Errorf("topic %s, which says what was removed, has a note that cannot be read: %w", r.topic, broken)
			return false
		}
		for _, s := range note.Spans {
			r.shard(s.Shard).see(note.Until)
		}
		all = append(all, note.Spans...)
		return true
	})
	if err := errors.Join(err, broken); err != nil {
		return err
	}
	slices.SortFunc(all, func(a, b removedSpan) int { return cmp.Compare(a.First, b.First) })
	for _, s := range all {
		r.shard(s.Shard).append(s)
	}
	return nil
}

func (r *removals) shard(n int) *spans {
	s := r.shards[n]
	if s == nil {
		s = &spans{}
		r.shards[n] = s
	}
	return s
}

func (s *spans) see(until time.Time) {
	if until.After(s.until) {
		s.until = until
	}
}

// append adds a span that begins no earlier than those before.
func (s *spans) append(next removedSpan) {
	if n := len(s.list); n > 0 && next.First <= s.list[n-1].Last+1 {
		s.list[n-1].Last = max(s.list[n-1].Last, next.Last)
		return
	}
	s.list = append(s.list, next)
}

// has reports whether a message was removed. A nil receiver knows of none.
func (r *removals) has(m *driver.Message) bool {
	if r == nil || r.shards[m.Shard] == nil {
		return false
	}
	s := r.shards[m.Shard]
	if m.Published.After(s.until) {
		return false
	}
	i, found := slices.BinarySearchFunc(s.list, m.Seq, func(span removedSpan, seq uint64) int { return cmp.Compare(span.First, seq) })
	return found || i > 0 && m.Seq <= s.list[i-1].Last
}

// note has letters removed for every later look.
func (r *removals) note(ctx context.Context, letters []*letter) error {
	if len(letters) == 0 {
		return nil
	}
	if !r.made {
		if _, err := r.broker.EnsureTopic(ctx, driver.Topic{Name: r.topic, RetentionAge: -1}); err != nil {
			return err
		}
		r.made = true
	}
	note := removalNote{}
	shards := map[int]*spans{}
	for _, l := range slices.SortedFunc(slices.Values(letters), func(a, b *letter) int { return cmp.Compare(a.Raw.Seq, b.Raw.Seq) }) {
		if shards[l.Raw.Shard] == nil {
			shards[l.Raw.Shard] = &spans{}
		}
		shards[l.Raw.Shard].append(removedSpan{l.Raw.Shard, l.Raw.Seq, l.Raw.Seq})
		if l.Raw.Published.After(note.Until) {
			note.Until = l.Raw.Published
		}
	}
	for _, s := range shards {
		note.Spans = append(note.Spans, s.list...)
	}
	body, err := json.Marshal(note)
	if err != nil {
		return err
	}
	e, err := envelope.New(envelope.Raw{Type: removedType, ContentType: "application/json", Data: body})
	if err != nil {
		return err
	}
	return r.broker.Publish(ctx, r.topic, e)
}
