package redisdriver

import (
	"bytes"
	"context"
	"time"
)

// fetchOwned reads what is new in an ordered shard, or waits for that a while.
//
// A transaction reads only if the fence is still this reader's: its connection
// watches the key, and has seen its own token there since. That spares the server
// the way of every entry through a script. A blocking read cannot be part of it,
// so a plain one waits.
func (r *reader) fetchOwned(ctx context.Context, n int) ([]*delivery, error) {
	if !r.guarded {
		if err := r.guard(ctx); err != nil {
			return nil, err
		}
	}
	list, err := r.readOwned(ctx, n)
	if len(list) > 0 || err != nil || !r.guarded {
		return list, err
	}
	return nil, r.awaitOwned(ctx)
}

// guard begins to watch the fence, and looks up what the group has seen.
func (r *reader) guard(ctx context.Context) error {
	s, st := r.s, r.streams[0]
	replies, err := r.line.together(ctx, []any{"watch", st.fence}, []any{"get", st.fence})
	if err != nil {
		return err
	}
	if err := r.watching(replies[0], replies[1]); err != nil {
		return err
	}
	groups, err := s.d.client.XInfoGroups(ctx, st.name).Result()
	if err != nil {
		return err
	}
	for _, g := range groups {
		if g.Name == s.sub.Group {
			r.last = g.LastDeliveredID
			return nil
		}
	}
	return refusal("NOGROUP no such group on " + st.name)
}

// watching looks at the fence as it was after the watch began.
func (r *reader) watching(watch, get []byte) error {
	r.guarded = false
	if _, err := answered(watch); err != nil {
		return err
	}
	if _, err := answered(get); err != nil {
		return err
	}
	token := &resp{buf: get}
	if token.str() != r.s.token {
		return refusal("FENCED another reader of " + r.streams[0].name + " came after this one")
	}
	r.guarded = true
	return nil
}

// readOwned reads under the watch, and begins the next.
func (r *reader) readOwned(ctx context.Context, n int) ([]*delivery, error) {
	st, start := r.streams[0], time.Now()
	replies, err := r.line.together(ctx,
		[]any{"multi"},
		[]any{"xreadgroup", "group", r.s.sub.Group, r.s.me, "count", n, "streams", st.name, ">"},
		[]any{"exec"},
		[]any{"watch", st.fence},
		[]any{"get", st.fence})
	if err != nil {
		r.guarded = false
		return nil, err
	}
	for _, reply := range replies[:3] {
		if _, err := answered(reply); err != nil {
			r.guarded = false
			return nil, err
		}
	}
	if err := r.watching(replies[3], replies[4]); err != nil {
		return nil, err
	}
	result, done := bytes.CutPrefix(replies[2], []byte("*1\r\n"))
	if !done {
		return nil, nil // the fence was set again, to the same
	}
	if result, err = answered(result); err != nil {
		return nil, err
	}
	list, err := r.decodeStreams(result, r.streams, start)
	switch {
	case len(list) > 0:
		r.last = list[len(list)-1].id
	case r.woken:
		r.guarded = false // the group is further than we thought: look again
	}
	r.woken = false
	return list, err
}

// awaitOwned waits for an entry behind the last that the group has seen.
func (r *reader) awaitOwned(ctx context.Context) error {
	wait, ok := r.block()
	if !ok {
		return nil
	}
	defer r.unblocked()
	st := r.streams[0]
	reply, err := r.line.do(ctx, "xread", "count", 1, "block", wait.Milliseconds(), "streams", st.name, r.last)
	r.woken = (&resp{buf: reply}).array() > 0
	return err
}
