package redisdriver

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/anywire/anywire/internal/redisconn"
	"github.com/anywire/anywire/transport/driver"
)

// word is one command about deliveries of a stream.
type word struct {
	list    []*delivery
	indexes []int // of the settlements
	cmd     redis.Cmder
	script  script // empty: a plain XACK
	args    []any
	keys    []string
	back    bool // they are given back
}

var errStale = fmt.Errorf("another member has it, or it is done: %w", driver.ErrStale)

// Settle tells the server in one round trip. A delivery whose lease cannot have
// ended by our own clock is acknowledged by a plain XACK; any other, and what is
// given back, by scripts that look whose it is.
func (s *source) Settle(ctx context.Context, list []driver.Settlement) error {
	if len(list) == 0 {
		return nil
	}
	if s.closed() {
		return s.errClosed()
	}
	var failed failures
	words := s.words(list, &failed)
	if err := s.say(ctx, words); err != nil {
		return err
	}
	for _, w := range words {
		s.heard(w, list, &failed)
	}
	s.rouse(ctx, words)
	return driver.BatchError(failed).Err()
}

// failures is a BatchError that is made when it is needed.
type failures driver.BatchError

func (f *failures) set(i int, err error) {
	if *f == nil {
		*f = failures{}
	}
	(*f)[i] = err
}

// words sorts settlements by stream and by how they are told.
func (s *source) words(list []driver.Settlement, failed *failures) []*word {
	const ack, checked, back, kinds = 0, 1, 2, 3
	sorted := make([]*word, len(s.streams)*kinds)
	now := time.Now()
	s.mu.Lock()
	for i := range list {
		d, ok := list[i].Token.(*delivery)
		if !ok || d.src != s || d.stream.out[d.id] != d {
			failed.set(i, errStale)
			continue
		}
		kind := back
		if list[i].Outcome == driver.Ack {
			kind = ack
			if d.deadline.Sub(now) < s.sub.Lease/4 {
				kind = checked
			}
		}
		if s.token != "" && kind == ack {
			kind = checked
		}
		d.settling = true
		at := s.index(d.stream)*kinds + kind
		if sorted[at] == nil {
			sorted[at] = &word{back: kind == back}
			if kind != ack {
				sorted[at].script = s.ackScript()
			}
		}
		w := sorted[at]
		w.list, w.indexes = append(w.list, d), append(w.indexes, i)
	}
	s.mu.Unlock()
	words := sorted[:0]
	for _, w := range sorted {
		if w != nil {
			s.phrase(w, list)
			words = append(words, w)
		}
	}
	return words
}

// ackScript looks at each delivery, or at the fence of an ordered shard.
func (s *source) ackScript() script {
	if s.token != "" {
		return ackOwnedScript
	}
	return ackScript
}

// index finds a stream of this source: shards are in order.
func (s *source) index(st *stream) int {
	if len(s.streams) == 1 {
		return 0
	}
	return st.shard
}

// phrase makes the arguments.
func (s *source) phrase(w *word, list []driver.Settlement) {
	st := w.list[0].stream
	w.keys = st.keys()
	switch {
	case w.script == (script{}):
		w.args = make([]any, 0, 3+len(w.list))
		w.args = append(w.args, "xack", st.name, s.sub.Group)
	case w.back && s.token != "":
		w.args = []any{s.token, s.sub.Group, s.me} // only the fence is looked at
		return
	case w.back:
		w.script = giveScript
		w.args = []any{"", s.sub.Group, s.me, holding}
		for i, d := range w.list {
			o := list[w.indexes[i]]
			count, delay := d.count, time.Duration(0)
			if o.Outcome == driver.Nack {
				delay = max(0, o.Delay)
			} else {
				count-- // it was never started
			}
			w.args = append(w.args, d.id, delay.Milliseconds(), max(0, count))
		}
		return
	default:
		w.args = []any{s.token, s.sub.Group, s.me}
	}
	for _, d := range w.list {
		w.args = append(w.args, d.id)
	}
}

// say sends the words together; each has its own result.
func (s *source) say(ctx context.Context, words []*word) error {
	if ctx.Err() != nil {
		s.unsettle(words)
		return ended(ctx)
	}
	for _, w := range words {
		if w.script == (script{}) {
			w.cmd = redis.NewIntCmd(ctx, w.args...)
		} else {
			cmd := redis.NewCmd(ctx, scriptArgs("evalsha", w.script.sha, w.keys, w.args)...)
			cmd.SetFirstKeyPos(3)
			w.cmd = cmd
		}
	}
	if len(words) == 1 {
		_ = s.d.client.Process(ctx, words[0].cmd)
	} else if len(words) > 1 {
		pipe := s.d.client.Pipeline()
		for _, w := range words {
			_ = pipe.Process(ctx, w.cmd)
		}
		_, _ = pipe.Exec(ctx)
	}
	for _, w := range words {
		if redisconn.IsAnswer(w.cmd.Err(), "NOSCRIPT") {
			w.cmd = s.d.client.Eval(ctx, w.script.text, w.keys, w.args...)
		}
	}
	return nil
}

func (s *source) unsettle(words []*word) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range words {
		for _, d := range w.list {
			d.settling = false
		}
	}
}

// heard notes what the server answered.
func (s *source) heard(w *word, list []driver.Settlement, failed *failures) {
	var result []int64
	err := w.cmd.Err()
	if cmd, ok := w.cmd.(*redis.Cmd); ok && err == nil && s.token == "" {
		result, err = states(cmd, len(w.list))
	}
	if err != nil {
		s.unheard(w, err, failed)
		return
	}
	var gone []string
	s.mu.Lock()
	for i, d := range w.list {
		if w.back && s.token != "" {
			if delay := list[w.indexes[i]].Delay; delay > 0 {
				d.stream.later[d.id] = time.Now().Add(delay)
			}
			continue
		}
		s.forget(d)
		switch {
		case result == nil, result[i] == 1:
		case d.trimmed: // it is counted, and nobody else has it
		case result[i] == 0:
			failed.set(w.indexes[i], errStale)
		default:
			gone = append(gone, d.id)
		}
	}
	if w.back && s.token != "" {
		s.reread(w.list...)
	}
	s.mu.Unlock()
	s.trimmed(w.list[0].stream, gone...)
}

// unheard notes that a word failed; whether the server has acted on it is not
// known, and telling it once more does no harm.
func (s *source) unheard(w *word, err error, failed *failures) {
	switch {
	case isFenced(err):
		err = fmt.Errorf("%w: %w", driver.ErrStale, err)
	default:
		err = wrap(err)
	}
	s.unsettle([]*word{w})
	for _, i := range w.indexes {
		failed.set(i, err)
	}
}

// rouse wakes the readers for what was given back.
func (s *source) rouse(ctx context.Context, words []*word) {
	for _, w := range words {
		if !w.back || w.cmd.Err() != nil {
			continue
		}
		r := s.readers[0]
		if len(s.readers) > 1 {
			r = s.readers[s.index(w.list[0].stream)]
		}
		s.dueAgain(r, time.Now())
		r.poke(ctx)
		signal(r.kick)
	}
}

// giveUnseen gives back what was never handed out.
func (s *source) giveUnseen(ctx context.Context, list []*delivery) {
	byStream := map[*stream][]any{}
	s.mu.Lock()
	for _, d := range list {
		if byStream[d.stream] == nil {
			byStream[d.stream] = []any{"", s.sub.Group, s.me, holding}
		}
		byStream[d.stream] = append(byStream[d.stream], d.id, 0, d.count-1)
	}
	s.mu.Unlock()
	for st, args := range byStream {
		if err := s.d.eval(ctx, giveScript, st.keys(), args...).Err(); err != nil {
			s.d.log.Warn("messages not given back: others get them when their lease ends",
				"topic", s.sub.Topic, "group", s.sub.Group, "error", err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(list...)
	for _, r := range s.readers {
		r.due = time.Now()
	}
}
