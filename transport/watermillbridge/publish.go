package watermillbridge

import (
	"context"
	"errors"
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/anywire/anywire/transport/driver"
)

var errBefore = errors.New("an earlier message of the call failed: this one was not sent")

// Publish sends messages one after the other, because a Pub/Sub does not say
// which of several failed. Watermill's publishers do not watch a context: where
// ctx ends first, Publish returns, and what was on its way may still be stored.
func (d *Driver) Publish(ctx context.Context, topic string, msgs []*driver.Message) error {
	if d.isClosed() {
		return fmt.Errorf("publish to %q: %w", topic, driver.ErrClosed)
	}
	if err := ctx.Err(); err != nil || len(msgs) == 0 {
		return err
	}
	p := &publishing{d: d, topic: topic, done: make(chan struct{}), failed: driver.BatchError{}}
	for _, m := range msgs {
		p.add(ctx, m)
	}
	if !d.begin() {
		return fmt.Errorf("publish to %q: %w", topic, driver.ErrClosed)
	}
	go p.run(ctx)
	select {
	case <-p.done:
		return p.failed.Err()
	case <-ctx.Done():
		return ctx.Err() // how far it came is not known
	}
}

// publishing is one call of Publish. Its goroutine owns next and failed until
// done is closed; it keeps nothing of the caller's but bodies.
type publishing struct {
	d        *Driver
	topic    string
	msgs     []*message.Message
	keys     []string
	tooLarge map[int]error
	done     chan struct{}
	failed   driver.BatchError
}

func (p *publishing) add(ctx context.Context, m *driver.Message) {
	if n, most := size(m), p.d.o.MaxBody; most > 0 && n > most {
		if p.tooLarge == nil {
			p.tooLarge = map[int]error{}
		}
		p.tooLarge[len(p.msgs)] = fmt.Errorf("message of %d bytes, the transport takes %d: %w", n, most, driver.ErrTooLarge)
	}
	w := p.d.toMessage(m)
	w.SetContext(ctx)
	p.msgs, p.keys = append(p.msgs, w), append(p.keys, m.Key)
}

func (p *publishing) run(ctx context.Context) {
	defer p.d.calls.Done()
	defer close(p.done)
	broken := map[string]bool{} // keys of which a message failed
	for i, w := range p.msgs {
		switch key := p.keys[i]; {
		case key != "" && broken[key]:
			p.failed[i] = errBefore
		case p.tooLarge[i] != nil:
			p.failed[i], broken[key] = p.tooLarge[i], true
		default:
			if err := p.send(ctx, w); err != nil {
				p.failed[i] = err
				p.giveUp(i + 1)
				return
			}
		}
	}
}

func (p *publishing) send(ctx context.Context, w *message.Message) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := p.d.pub.Publish(p.topic, w); err != nil {
		return p.d.o.Wrap(err)
	}
	return nil
}

// giveUp fails the rest of a call: what stopped one message stops them all.
func (p *publishing) giveUp(from int) {
	for i := from; i < len(p.msgs); i++ {
		p.failed[i] = errBefore
	}
}
