package drivertest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/anywire/anywire/transport/driver"
)

func (c *conn) Publish(ctx context.Context, name string, msgs []*driver.Message) error {
	if err := c.mayPublish(ctx, msgs); err != nil {
		return err
	}
	if c.breaks("publish/missing-topic") && strings.Contains(name, "missing") ||
		c.breaks("publish/odd-topic-names") && strings.Contains(name, " ") {
		return nil
	}
	if c.breaks("publish/concurrent") && c.collides() {
		return nil
	}
	msgs = c.bend(msgs)
	if err := c.room(ctx, name, len(msgs)); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.changed()
	if c.breaks("publish/topics-are-apart") {
		for other := range c.topics {
			if other != name {
				c.store(other, msgs)
			}
		}
	}
	return c.store(name, msgs).Err()
}

// mayPublish checks what needs no look at the messages one by one.
func (c *conn) mayPublish(ctx context.Context, msgs []*driver.Message) error {
	if err := c.gone("publish/closed"); err != nil {
		return err
	}
	if c.breaks("publish/empty-batch") && len(msgs) == 0 {
		return errors.New("a batch needs a message")
	}
	if c.breaks("content/no-headers") && len(msgs) > 0 && len(msgs[0].Headers) == 0 {
		return errors.New("a message needs a header")
	}
	if err := ctx.Err(); err != nil {
		if c.breaks("publish/cancelled") {
			return errors.New("gave up")
		}
		return fmt.Errorf("reference: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lost < c.restarts {
		if !c.breaks("restart/publisher-goes-on") {
			c.lost = c.restarts
		}
		return errOutage
	}
	return nil
}

// collides says whether another publish runs beside this one.
func (c *conn) collides() bool {
	c.mu.Lock()
	c.busy++
	others := c.busy > 1
	c.mu.Unlock()
	pass(time.Millisecond)
	c.mu.Lock()
	c.busy--
	c.mu.Unlock()
	return others
}

// bend applies the defects that concern a whole batch.
func (c *conn) bend(msgs []*driver.Message) []*driver.Message {
	switch c.broken {
	case "publish/confirmed-is-stored":
		return msgs[:len(msgs)-1]
	case "publish/many-in-one-call":
		return msgs[:min(len(msgs), 512)]
	case "publish/call-order", "order/published-order":
		msgs = slices.Clone(msgs)
		slices.Reverse(msgs)
	case "publish/leaves-messages-alone":
		for _, m := range msgs {
			m.Published = time.Now()
		}
	default:
	}
	return msgs
}

// room waits for it in a bounded topic.
func (c *conn) room(ctx context.Context, name string, n int) error {
	may := driver.MayOverflow(ctx) && !c.breaks("flow/overflow")
	if c.limit == 0 || may || c.breaks("flow/full-topic-blocks") {
		return nil
	}
	for {
		c.mu.Lock()
		used, wake := c.at(name, 1).unsettled(), c.wake
		c.mu.Unlock()
		if used+n <= c.limit {
			return nil
		}
		select {
		case <-wake:
		case <-ctx.Done():
			if c.breaks("flow/full-topic-and-ctx") {
				return errors.New("topic is full")
			}
			return ctx.Err()
		}
	}
}

// unsettled is the most that a group has before it.
func (t *topic) unsettled() int {
	most := 0
	for _, g := range t.groups {
		n := 0
		for _, e := range g.entries {
			if !e.done {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}

// store appends what can be, and names the rest.
func (c *conn) store(name string, msgs []*driver.Message) driver.BatchError {
	failed, bad := driver.BatchError{}, map[string]bool{}
	t := c.at(name, 1)
	for i, m := range msgs {
		err := c.fits(m)
		if err == nil && m.Key != "" && bad[m.Key] && !c.breaks("publish/nothing-of-a-key-after-a-failure") {
			err = errors.New("an earlier message of its key failed")
		}
		if err != nil {
			failed[i], bad[m.Key] = err, true
			continue
		}
		if c.duplicate(t, m) {
			continue
		}
		c.stored++
		c.appendTo(t, m)
	}
	if _, named := failed[1]; named && c.breaks("publish/batch-error-names-indexes") {
		failed[2] = failed[1]
		delete(failed, 1)
	}
	return failed
}

func (c *conn) fits(m *driver.Message) error {
	size := len(m.Key) + len(m.Body)
	for _, h := range m.Headers {
		size += len(h.Name) + len(h.Value)
	}
	limit := c.caps.MaxBody
	if c.breaks("publish/near-max-body") {
		limit /= 2
	}
	switch {
	case size <= limit:
		return nil
	case c.breaks("publish/too-large"):
		return errors.New("maximum payload exceeded")
	default:
		return fmt.Errorf("message of %d bytes, limit %d: %w", size, limit, driver.ErrTooLarge)
	}
}

func (c *conn) duplicate(t *topic, m *driver.Message) bool {
	id := m.DedupID
	if c.breaks("dedup/other-id") {
		id = string(m.Body)
	}
	if id == "" || c.breaks("dedup/same-id") || c.breaks("dedup/in-one-call") {
		return false
	}
	known := t.ids[id]
	t.ids[id] = true
	return known
}

// appendTo places the message and shows it to every group.
func (c *conn) appendTo(t *topic, m *driver.Message) {
	s := &stored{msg: c.copyOf(m), due: m.DeliverAt}
	if c.breaks("delay/not-before") {
		s.due = time.Time{}
	}
	if c.breaks("delay/past") && !m.DeliverAt.IsZero() {
		s.due = time.Now().Add(time.Hour)
	}
	s.msg.Shard = c.shardOf(t, m.Key)
	t.seq[s.msg.Shard]++
	s.msg.Seq = t.seq[s.msg.Shard]
	s.msg.Position = fmt.Sprintf("%d-%d", s.msg.Shard, s.msg.Seq)
	s.msg.Published = time.Now()
	t.log = append(t.log, s)
	if c.breaks("publish/calls-in-order") {
		slices.Reverse(t.log)
	}
	for _, g := range t.groups {
		g.entries = append(g.entries, &entry{stored: s, until: s.due})
	}
}

func (c *conn) shardOf(t *topic, key string) int {
	switch {
	case key == "" && c.breaks("order/no-key-spreads"):
		return 0
	case key == "":
		t.round++
		return t.round % t.shards
	case c.breaks("order/shard-of-key"):
		return len(key) % t.shards
	default:
		return driver.ShardOf(key, t.shards)
	}
}

// copyOf is what the broker keeps of a message.
func (c *conn) copyOf(m *driver.Message) *driver.Message {
	if c.breaks("publish/keeps-nothing") {
		return m
	}
	kept := &driver.Message{Key: m.Key, Headers: slices.Clone(m.Headers), Body: m.Body, Local: m.Local}
	switch c.broken {
	case "content/body-bytes":
		kept.Body = []byte(strings.ToValidUTF8(string(m.Body), ""))
	case "content/no-body":
		if len(m.Body) == 0 {
			kept.Body = []byte("null")
		}
	case "content/headers":
		for i, h := range kept.Headers {
			kept.Headers[i].Value = strings.TrimSpace(strings.ToLower(h.Value))
		}
	case "content/empty-header":
		kept.Headers = slices.DeleteFunc(kept.Headers, func(h driver.Header) bool { return h.Value == "" })
	case "content/many-headers":
		kept.Headers = kept.Headers[:min(len(m.Headers), 32)]
	case "content/keys":
		kept.Key = strings.ReplaceAll(m.Key, " ", "_")
	case "content/local":
		copied := fmt.Sprint(m.Local)
		kept.Local = &copied
	default:
	}
	return kept
}
