package redisdriver

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/anywire/anywire/transport/driver"
)

// renewAtOnce is how many leases one script renews: the server does nothing else
// meanwhile.
const renewAtOnce = 500

// Extend renews the leases of what this member still has, by a script that looks:
// a plain XCLAIM would take back what another member has by now. What was trimmed
// from the stream nobody else can have, so it is not lost to its handler.
func (s *source) Extend(ctx context.Context, tokens []driver.Token) (lost []driver.Token, err error) {
	if s.closed() {
		return nil, s.errClosed()
	}
	held, lost := s.extendable(tokens)
	if len(held) == 0 {
		return lost, nil
	}
	start := time.Now()
	words := s.renewals(held)
	if err := s.say(ctx, words); err != nil {
		return nil, err
	}
	for _, w := range words {
		taken, err := s.renewed(w, start)
		if err != nil {
			return nil, fmt.Errorf("extend leases of group %q: %w", s.sub.Group, err)
		}
		lost = append(lost, taken...)
	}
	return lost, nil
}

// extendable sorts out what is not ours any more, and leaves out what is being
// settled or was trimmed.
func (s *source) extendable(tokens []driver.Token) (held []*delivery, lost []driver.Token) {
	held = make([]*delivery, 0, len(tokens))
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range tokens {
		d, ok := t.(*delivery)
		switch {
		case ok && d.src == s && d.settling:
		case !ok || d.src != s || d.stream.out[d.id] != d:
			lost = append(lost, t)
		case d.trimmed:
			d.deadline = time.Now().Add(s.sub.Lease)
		default:
			held = append(held, d)
		}
	}
	return held, lost
}

// renewals makes scripts of the deliveries, for one stream each.
func (s *source) renewals(held []*delivery) []*word {
	var words []*word
	open := make([]*word, len(s.streams))
	for _, d := range held {
		i := s.index(d.stream)
		if open[i] == nil || len(open[i].list) == renewAtOnce {
			open[i] = &word{script: extendScript, keys: d.stream.keys(), args: []any{s.token, s.sub.Group, s.me}}
			words = append(words, open[i])
		}
		open[i].list = append(open[i].list, d)
		open[i].args = append(open[i].args, d.id)
	}
	return words
}

// renewed notes the answer about a word's deliveries.
func (s *source) renewed(w *word, start time.Time) (lost []driver.Token, err error) {
	cmd, _ := w.cmd.(*redis.Cmd)
	result, err := states(cmd, len(w.list))
	switch {
	case isFenced(err):
		result = make([]int64, len(w.list))
	case err != nil:
		return nil, wrap(err)
	}
	var gone []string
	s.mu.Lock()
	for i, d := range w.list {
		switch {
		case d.settling, d.stream.out[d.id] != d: // it ended meanwhile
		case result[i] == 1:
			d.deadline = start.Add(s.sub.Lease)
		case result[i] == 0:
			s.forget(d)
			lost = append(lost, d)
		default:
			d.trimmed = true
			gone = append(gone, d.id)
		}
	}
	s.mu.Unlock()
	s.trimmed(w.list[0].stream, gone...)
	return lost, nil
}
