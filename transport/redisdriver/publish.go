package redisdriver

import (
	"context"
	"errors"
	"fmt"

	"github.com/anywire/anywire/transport/driver"
)

const (
	// mostTogether bounds one pipeline, in messages and in bytes.
	mostTogether      = 1024
	mostBytesTogether = 8 << 20
	// mostOfCall is how much of one call goes together.
	mostOfCall      = 512
	mostBytesOfCall = 4 << 20
)

// Publish stores msgs and waits for the server to confirm each. Messages of
// concurrent calls travel together. Publish waits for a connection, and for room
// among max_pending, as long as ctx and publish_timeout allow. A message whose
// confirmation gets lost counts as failed, though the server may have it: it is
// never sent twice. Of a call in which a key comes twice, all or nothing of up to
// 512 messages is stored, so that no message overtakes a failed one of its key.
func (d *Driver) Publish(ctx context.Context, name string, msgs []*driver.Message) error {
	if len(msgs) == 0 {
		return nil
	}
	if err := d.usable(); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ended(ctx)
	}
	t, err := d.topicFor(ctx, name)
	if err != nil {
		return err
	}
	p := publication{d: d, topic: t, msgs: msgs}
	for p.at < len(msgs) {
		p.send(ctx)
	}
	if len(msgs) == 1 && len(p.failed) == 1 {
		return p.failed[0]
	}
	return p.failed.Err()
}

// publication is one call of Publish on its way.
type publication struct {
	d      *Driver
	topic  *topic
	msgs   []*driver.Message
	at     int // the next message
	failed driver.BatchError
	broken map[string]struct{} // keys of which a message failed
}

// send stores as many messages as go together.
func (p *publication) send(ctx context.Context) {
	c := p.next() //nolint:contextcheck // commands are nobody's alone: see publisher.send
	if len(c.commands) == 0 {
		p.d.pub.recycle(c)
		return
	}
	if err := p.d.pub.do(ctx, c); err != nil { // c is not ours any more
		for _, i := range c.indexes {
			p.fail(i, err)
		}
		return
	}
	for at, i := range c.indexes {
		if err := c.commands[at].err; err != nil {
			p.fail(i, fmt.Errorf("topic %q: %w", p.topic.name, err))
		}
	}
	p.d.pub.recycle(c)
}

// next takes the messages of the next part.
func (p *publication) next() *call {
	c := p.d.pub.call()
	packed := p.d.o.Attributes == attributesPacked
	part := p.msgs[p.at:min(p.at+min(mostOfCall, p.d.o.MaxPending), len(p.msgs))]
	c.ordered = repeatsKey(part, c.keys)
	for _, m := range part {
		size := sizeOf(m)
		if len(c.commands) > 0 && c.bytes+size > mostBytesOfCall {
			break
		}
		at := p.at
		p.at++
		if err := p.check(m, size); err != nil {
			p.fail(at, err)
			continue
		}
		c.bytes += size
		c.add(at).fill(p.topic.streamFor(m.Key), m, packed, p.d.pub.cluster)
	}
	return c
}

// check refuses what cannot be stored, and what would overtake a failed message
// of its key.
func (p *publication) check(m *driver.Message, size int) error {
	if _, broken := p.broken[m.Key]; broken && m.Key != "" {
		return errOvertakes
	}
	if size > int(p.d.o.MaxBody) {
		return fmt.Errorf("message of %d bytes, attributes included; max_body is %v: %w", size, p.d.o.MaxBody, driver.ErrTooLarge)
	}
	return checkHeaders(m.Headers)
}

var errOvertakes = errors.New("not sent: an earlier message of its key failed")

func (p *publication) fail(i int, err error) {
	if p.failed == nil {
		p.failed, p.broken = driver.BatchError{}, map[string]struct{}{}
	}
	p.failed[i] = err
	p.broken[p.msgs[i].Key] = struct{}{}
}

// repeatsKey reports whether a later message has the key of an earlier one.
func repeatsKey(msgs []*driver.Message, seen map[string]struct{}) bool {
	if len(msgs) < 2 {
		return false
	}
	defer clear(seen)
	for _, m := range msgs {
		if m.Key == "" {
			continue
		}
		if _, again := seen[m.Key]; again {
			return true
		}
		seen[m.Key] = struct{}{}
	}
	return false
}
