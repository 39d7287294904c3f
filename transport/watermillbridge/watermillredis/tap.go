package watermillredis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/anywire/anywire/transport/driver"
)

// idField carries an entry's id from the reply to the codec. No field of a
// message can be called so: it is no UTF-8.
const idField = "\xffid"

// tap is the client as one consumer of the adapter sees it. It lets the adapter
// read only while somebody waits for a message and none is out, so that no entry
// ages unseen; it lets the consumers of one source read in turn, so that entries
// come in the order of the stream; it puts an entry's id beside its fields; it
// acknowledges only what the consumer still has, and tells what became of that;
// and it is not closed with the adapter.
type tap struct {
	redis.UniversalClient
	*crowd

	consumer string
	log      *slog.Logger
	tell     func(error)
	calls    sync.WaitGroup // reads and claims

	// Under the crowd's lock.
	busy   bool   // a read or a claim is on its way
	claims int    // claims that wait: they go before reads
	out    *entry // not acknowledged, nor left
}

// crowd is what the consumers of one source share.
type crowd struct {
	mu      sync.Mutex
	changed chan struct{} // closed and replaced when what follows changes
	wanted  bool          // somebody waits for a message
	reading bool          // one consumer has the turn
	shut    bool          // the source is closing
}

// entry is one that the adapter has.
type entry struct {
	id     string
	leave  bool // forget it without an acknowledgement
	tried  bool // an acknowledgement may have got through
	turn   bool // it came with the turn, which goes on when the entry is in its place
	done   chan struct{}
	result error // once done is closed
}

func newCrowd() *crowd { return &crowd{changed: make(chan struct{})} }

func newTap(client redis.UniversalClient, consumer string, c *crowd, log *slog.Logger) *tap {
	return &tap{UniversalClient: client, crowd: c, consumer: consumer, log: log, tell: func(error) {}}
}

// change lets who waits look again. The caller holds the lock.
func (c *crowd) change() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// want says whether somebody waits.
func (c *crowd) want(wanted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.wanted != wanted {
		c.wanted = wanted
		c.change()
	}
}

// await blocks until cond holds, and locks; false: ctx ended, and it is not
// locked.
func (c *crowd) await(ctx context.Context, cond func() bool) bool {
	c.mu.Lock()
	for !cond() {
		changed := c.changed
		c.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
		c.mu.Lock()
	}
	return true
}

// begin waits until the adapter may read; false: it may not any more.
func (t *tap) begin(ctx context.Context) bool {
	if !t.await(ctx, func() bool { return t.free() && t.claims == 0 && !t.reading }) {
		return false
	}
	defer t.mu.Unlock()
	t.busy, t.reading = true, true
	t.calls.Add(1)
	return true
}

// beginClaim is begin for a claim, which needs no turn.
func (t *tap) beginClaim(ctx context.Context) bool {
	t.mu.Lock()
	t.claims++
	t.mu.Unlock()
	ok := t.await(ctx, t.free)
	if !ok {
		t.mu.Lock()
	}
	defer t.mu.Unlock()
	t.claims--
	t.change()
	if ok {
		t.busy = true
		t.calls.Add(1)
	}
	return ok
}

func (t *tap) free() bool { return t.wanted && !t.busy && t.out == nil && !t.shut }

// end notes what a read or a claim brought. A read that brought nothing passes the
// turn on.
func (t *tap) end(messages []redis.XMessage, err error, read bool) {
	t.mu.Lock()
	t.busy = false
	if len(messages) > 0 {
		m := &messages[0] // the adapter looks at no other, and asks for no other
		if m.Values == nil {
			m.Values = map[string]any{} // the entry is gone
		}
		m.Values[idField] = m.ID
		t.out = &entry{id: m.ID, turn: read, done: make(chan struct{})}
	} else if read {
		t.reading = false
	}
	t.change()
	t.mu.Unlock()
	t.calls.Done()
	if err != nil {
		t.tell(err)
	}
}

// taken passes the turn on: the entry stands in its place.
func (t *tap) taken(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.out != nil && t.out.id == id {
		t.passTurn(t.out)
	}
}

func (t *tap) passTurn(e *entry) {
	if e.turn {
		e.turn, t.reading = false, false
		t.change()
	}
}

// XReadGroup reads one entry when there is demand.
func (t *tap) XReadGroup(ctx context.Context, a *redis.XReadGroupArgs) *redis.XStreamSliceCmd {
	if !t.begin(ctx) {
		return nothing(ctx)
	}
	cmd := t.UniversalClient.XReadGroup(ctx, a)
	streams, err := cmd.Result()
	if len(streams) > 0 {
		t.end(streams[0].Messages, nil, true)
		return cmd
	}
	err = t.regain(ctx, err, a.Streams[0], a.Group)
	if errors.Is(err, redis.Nil) || ctx.Err() != nil {
		t.end(nil, nil, true)
		return nothing(ctx)
	}
	t.end(nil, err, true)
	return cmd
}

// regain makes a group that somebody deleted anew, at the oldest message, so that
// nothing is lost, and says so.
func (t *tap) regain(ctx context.Context, err error, stream, group string) error {
	if !strings.HasPrefix(answerOf(err), "NOGROUP") {
		return err
	}
	switch made := t.XGroupCreateMkStream(ctx, stream, group, "0").Err(); {
	case made == nil:
		t.log.Error("the consumer group was deleted by somebody: it is made again, and what the stream has comes again",
			"topic", stream, "group", group)
	case !strings.HasPrefix(answerOf(made), "BUSYGROUP"): // of another consumer's making
		return made
	}
	return fmt.Errorf("group %q of topic %q was deleted and begins anew, at the oldest message: %w", group, stream, err)
}

// XPendingExt is how the adapter looks for entries to claim. It does not read
// before the first one has succeeded.
func (t *tap) XPendingExt(ctx context.Context, a *redis.XPendingExtArgs) *redis.XPendingExtCmd {
	cmd := t.UniversalClient.XPendingExt(ctx, a)
	err := cmd.Err()
	if err == nil || ctx.Err() != nil {
		return cmd
	}
	t.tell(t.regain(ctx, err, a.Stream, a.Group))
	if strings.HasPrefix(answerOf(err), "NOGROUP") {
		cmd.SetErr(nil)
	}
	return cmd
}

// nothing is what the adapter takes for a read in vain. It asks again at once,
// unless it is closing.
func nothing(ctx context.Context) *redis.XStreamSliceCmd {
	cmd := redis.NewXStreamSliceCmd(ctx)
	cmd.SetErr(redis.Nil)
	return cmd
}

// XClaim takes over an entry when there is demand.
func (t *tap) XClaim(ctx context.Context, a *redis.XClaimArgs) *redis.XMessageSliceCmd {
	if !t.beginClaim(ctx) {
		cmd := redis.NewXMessageSliceCmd(ctx)
		cmd.SetErr(context.Cause(ctx))
		return cmd
	}
	cmd := t.UniversalClient.XClaim(ctx, a)
	messages, err := cmd.Result()
	if errors.Is(err, redis.Nil) || ctx.Err() != nil {
		err = nil
	}
	t.end(messages, err, false)
	return cmd
}

// XAck acknowledges the entry that is out. Without the error that a lost delivery
// is, because the adapter would try again for ever.
func (t *tap) XAck(ctx context.Context, stream, group string, ids ...string) *redis.IntCmd {
	cmd := redis.NewIntCmd(ctx)
	t.mu.Lock()
	e := t.out
	leave := e != nil && e.leave
	t.mu.Unlock()
	if e == nil || len(ids) != 1 || ids[0] != e.id {
		return t.UniversalClient.XAck(ctx, stream, group, ids...)
	}
	if leave {
		t.finish(e, driver.ErrStale)
		return cmd
	}
	n, err := ackScript().Run(ctx, t.UniversalClient, []string{stream}, group, e.id, t.consumer).Int64()
	switch {
	case err != nil:
		e.tried = true
		cmd.SetErr(err)
	case n == 1 || n == 0 && e.tried:
		cmd.SetVal(1)
		t.finish(e, nil)
	default:
		t.finish(e, driver.ErrStale)
	}
	return cmd
}

// finish makes room for the next entry.
func (t *tap) finish(e *entry, result error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.out == e {
		t.out = nil
		t.passTurn(e)
		t.change()
	}
	e.result = result
	close(e.done)
}

// entryOf is the entry that is out, if it has this id.
func (t *tap) entryOf(id string) *entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.out == nil || t.out.id != id {
		return nil
	}
	return t.out
}

// leave marks the entry with this id as one that is not to be acknowledged. It is
// false for one that is not out.
func (t *tap) leave(id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.out == nil || t.out.id != id {
		return false
	}
	t.out.leave = true
	return true
}

// stop lets no further call begin and waits for the one that is on its way.
func (t *tap) stop() {
	t.mu.Lock()
	t.shut = true
	t.mu.Unlock()
	t.calls.Wait()
}

// Close does nothing: the client has other users.
func (*tap) Close() error { return nil }
