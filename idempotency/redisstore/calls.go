package redisstore

import (
	"context"
	"crypto/sha1" //nolint:gosec // the name that Redis gives a script
	_ "embed"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/anywire/anywire/idempotency"
	"github.com/anywire/anywire/internal/redisconn"
)

// A script holds the server up for as long as it runs, a microsecond or two for
// each record: what is beyond these bounds goes into the next.
const (
	mostItems = 256
	mostBytes = 1 << 20
)

// script runs whole within the server: nothing else happens meanwhile.
type script struct{ text, sha string }

func newScript(text string) script {
	sum := sha1.Sum([]byte(text)) //nolint:gosec // the name that Redis gives a script
	return script{text, hex.EncodeToString(sum[:])}
}

var (
	//go:embed lua/begin.lua
	beginText string
	//go:embed lua/update.lua
	updateText string

	//nolint:gochecknoglobals // constants
	beginScript, updateScript = newScript(beginText), newScript(updateText)
)

// task is one call of the store: items that a script answers.
type task struct {
	script script
	count  int
	parts  int  // what write marks for each item, and its key
	limit  bool // the script is told the size of a record
	item   func(i int) (key *idempotency.Key, ttl time.Duration)
	write  func(w *writer, i int, mark func())
	well   int64 // the answer of an item of which the script says no more
	answer func(i int, key string, answer any) error
}

// call is one run of a script.
type call struct {
	items []int // of the task
	ttl   time.Duration
	w     writer
	ends  []int  // of the parts
	mark  func() // notes an end
	texts []string
	cmd   *redis.Cmd
}

// run does a task. An error means that nothing is known of any item.
func (s *Store) run(ctx context.Context, t task) error {
	calls := s.divide(&t)
	if err := s.await(ctx, &t, calls); err != nil {
		return err
	}
	for _, c := range calls {
		if err := c.answers(&t); err != nil {
			return fmt.Errorf("record %q: %w", c.texts[0], err)
		}
	}
	return nil
}

// enter counts a call that is under way.
func (s *Store) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usableLocked(); err != nil {
		return err
	}
	s.calls.Add(1)
	return nil
}

// await sends calls, and waits no longer than ctx: what is under way then goes on
// for as long as the client lets it.
func (s *Store) await(ctx context.Context, t *task, calls []*call) error {
	if err := s.enter(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		defer s.calls.Done()
		done <- s.send(ctx, t, calls)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("no answer of Redis: %w", ended(ctx))
	}
}

// divide makes the calls of a task. Items of one bucket stay in order.
func (s *Store) divide(t *task) []*call {
	type group struct {
		scope  string
		bucket byte
	}
	split := s.split.Load()
	open := map[group]*call{}
	tags := map[group]string{}
	var calls []*call
	for i := range t.count {
		key, ttl := t.item(i)
		if key == nil {
			continue
		}
		name := group{key.Scope, key.Hash[0] % buckets}
		tag, ok := tags[name]
		if !ok {
			tag = s.tag(name.scope, name.bucket)
			tags[name] = tag
		}
		if !split {
			name = group{}
		}
		c := open[name]
		if c == nil || c.ttl != ttl || len(c.items) >= mostItems || c.w.Len() > mostBytes {
			c = newCall(ttl)
			if !split {
				c.grow(t)
			}
			open[name] = c
			calls = append(calls, c)
		}
		c.add(t, i, tag, key)
	}
	return calls
}

func newCall(ttl time.Duration) *call {
	c := &call{ttl: ttl}
	c.mark = func() { c.ends = append(c.ends, c.w.Len()) }
	return c
}

// grow makes room for small items.
func (c *call) grow(t *task) {
	n := min(t.count, mostItems)
	c.w.Grow(n * 160)
	c.items, c.ends = make([]int, 0, n), make([]int, 0, n*t.parts)
}

// add writes one item: its key, of whose hash 120 bits tell it from all others, and
// what the script is told.
func (c *call) add(t *task, i int, tag string, key *idempotency.Key) {
	var name [20]byte
	base64.RawURLEncoding.Encode(name[:], key.Hash[:15])
	c.items = append(c.items, i)
	c.w.WriteString(tag)
	c.w.Write(name[:])
	c.mark()
	t.write(&c.w, i, c.mark)
}

// args are what Redis gets: the command, the script, the number of keys, the keys,
// then the time to live and the rest of the parts.
func (c *call) args(s *Store, t *task, command, name string) []any {
	if c.texts == nil {
		whole, from := c.w.String(), 0
		c.texts = make([]string, len(c.ends))
		for i, end := range c.ends {
			c.texts[i], from = whole[from:end], end
		}
	}
	args := make([]any, 0, len(c.texts)+5)
	args = append(args, command, name, len(c.items), c.texts[0]) // a Cluster's client wants a string here
	for i := t.parts; i < len(c.texts); i += t.parts {
		args = append(args, &c.texts[i])
	}
	args = append(args, strconv.FormatUint(milliseconds(c.ttl), 10))
	if t.limit {
		args = append(args, int64(s.o.MaxRecord))
	}
	for i := range c.texts {
		if i%t.parts != 0 {
			args = append(args, &c.texts[i])
		}
	}
	return args
}

// send runs the calls in one round trip; in two where the server does not know the
// script yet.
func (s *Store) send(ctx context.Context, t *task, calls []*call) error {
	s.exec(ctx, t, calls, "evalsha", t.script.sha)
	var unknown []*call
	for _, c := range calls {
		if redisconn.IsAnswer(c.cmd.Err(), "NOSCRIPT") {
			unknown = append(unknown, c)
		}
	}
	if len(unknown) > 0 {
		s.exec(ctx, t, unknown, "eval", t.script.text)
	}
	for _, c := range calls {
		if err := c.cmd.Err(); err != nil {
			if redisconn.IsAnswer(err, "CROSSSLOT") {
				s.split.Store(true) // a proxy before a cluster; the repeated call is one for each bucket
			}
			return fmt.Errorf("record %q: %w", c.texts[0], explain(err))
		}
	}
	return nil
}

func (s *Store) exec(ctx context.Context, t *task, calls []*call, command, name string) {
	pipe := s.client.Pipeline()
	for _, c := range calls {
		c.cmd = redis.NewCmd(ctx, c.args(s, t, command, name)...)
		_ = pipe.Process(ctx, c.cmd) // a pipeline only keeps it
	}
	_, _ = pipe.Exec(ctx) // each command has its error
}

var errReply = errors.New("the server's reply cannot be read")

// answers hands out what the script returned: 1 where all went well, else a list.
func (c *call) answers(t *task) error {
	list, mixed := c.cmd.Val().([]any)
	if !mixed && c.cmd.Val() != any(int64(1)) || mixed && len(list) != len(c.items) {
		return errReply
	}
	for n, i := range c.items {
		answer := any(t.well)
		if mixed {
			answer = list[n]
		}
		if err := t.answer(i, c.texts[n*t.parts], answer); err != nil {
			return err
		}
	}
	return nil
}
