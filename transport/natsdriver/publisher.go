package natsdriver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/anywire/anywire/transport/driver"
)

// publisher sends messages and matches confirmations, without a goroutine, a
// timer or a channel per message. A slot stands for one message on its way; the
// reply subject names the slot and how often it was used, so that a late
// confirmation meets nobody.
type publisher struct {
	d *Driver

	once    sync.Once
	started atomic.Bool
	err     error
	prefix  string
	sub     *nats.Subscription
	slots   []slot
	free    chan uint32
	calls   sync.Pool // *call
	out     sync.Pool // *outgoing
}

type slot struct {
	mu    sync.Mutex
	token uint64
	c     *call // nil: free
	i     int   // the message's index
}

const slotBits = 16

func (p *publisher) init(d *Driver) {
	p.d = d
	p.calls.New = func() any { return &call{done: make(chan struct{}, 1)} }
	p.out.New = func() any { return &outgoing{msg: nats.Msg{Header: nats.Header{}}} }
}

// start subscribes to confirmations on first use.
func (p *publisher) start() error {
	p.once.Do(func() {
		p.slots = make([]slot, p.d.o.MaxPending)
		p.free = make(chan uint32, p.d.o.MaxPending)
		for i := range p.slots {
			p.slots[i].token = uint64(i)
			p.free <- uint32(i)
		}
		p.prefix = p.d.nc.NewInbox() + "."
		p.sub, p.err = p.d.nc.Subscribe(p.prefix+"*", p.confirmed)
		if p.err != nil {
			return
		}
		p.err = p.sub.SetPendingLimits(-1, -1) // as many as there are slots
		p.started.Store(true)
		p.d.link.onLoss(func() { p.failAll(errDisconnected, nil) })
	})
	return p.err
}

func (p *publisher) close() {
	p.once.Do(func() { p.err = driver.ErrClosed })
	if p.sub != nil {
		_ = p.sub.Unsubscribe() // a closed connection has none
		p.failAll(fmt.Errorf("NATS driver: %w", driver.ErrClosed), nil)
	}
}

func (p *publisher) call(t *topic, msgs []*driver.Message) *call {
	c, _ := p.calls.Get().(*call)
	c.topic, c.msgs = t, msgs
	return c
}

func (p *publisher) recycle(c *call) {
	c.topic, c.msgs, c.failed, c.full = nil, nil, nil, nil
	c.slots, c.absent, c.todo = c.slots[:0], c.absent[:0], c.todo[:0]
	p.calls.Put(c)
}

// send writes the messages of c that are to be sent and returns when nothing of
// it is on its way.
func (p *publisher) send(ctx context.Context, c *call) {
	all := len(c.absent) == 0
	c.todo = append(c.todo[:0], c.absent...)
	slices.Sort(c.todo)
	c.slots, c.absent, c.full = c.slots[:0], c.absent[:0], nil
	n := len(c.todo)
	if all {
		n = len(c.msgs)
	}
	c.left.Store(1) // the sender's own, so that nobody reports before the last is sent
	if err := p.start(); err != nil {
		c.failRest(all, n, 0, wrap(err))
	} else {
		p.write(ctx, c, all, n)
	}
	c.release()
	select {
	case <-c.done:
	case <-ctx.Done():
		p.abandon(c, ended(ctx))
		<-c.done
	}
}

func (p *publisher) write(ctx context.Context, c *call, all bool, n int) {
	o, _ := p.out.Get().(*outgoing)
	defer p.out.Put(o)
	for at := range n {
		i := at
		if !all {
			i = c.todo[at]
		}
		token, err := p.take(ctx)
		if err != nil {
			c.failRest(all, n, at, err)
			return
		}
		p.arm(token, c, i)
		if err := p.writeOne(ctx, c, o, token, i); err != nil {
			p.resolve(token, err)
		}
	}
}

// take waits for a free slot.
func (p *publisher) take(ctx context.Context) (uint64, error) {
	var n uint32
	select {
	case n = <-p.free:
	default:
		select {
		case n = <-p.free:
		case <-ctx.Done():
			return 0, ended(ctx)
		}
	}
	s := &p.slots[n]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.token += 1 << slotBits
	return s.token, nil
}

func (p *publisher) arm(token uint64, c *call, i int) {
	c.left.Add(1)
	c.slots = append(c.slots, token)
	s := p.slot(token)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.c, s.i = c, i
}

func (p *publisher) slot(token uint64) *slot { return &p.slots[token&(1<<slotBits-1)] }

func (p *publisher) writeOne(ctx context.Context, c *call, o *outgoing, token uint64, i int) error {
	m, t := c.msgs[i], c.topic
	values, err := fill(o.msg.Header, o.values, m, t.stream)
	o.values = values
	if err != nil {
		return err
	}
	if size := sizeOf(m); size > int(p.d.o.MaxBody) {
		return fmt.Errorf("message of %d bytes, headers included; max_body is %v: %w", size, p.d.o.MaxBody, driver.ErrTooLarge)
	}
	var reply [80]byte
	o.msg.Subject = t.subjects[t.shardOf(m.Key)]
	o.msg.Reply = string(strconv.AppendUint(append(reply[:0], p.prefix...), token, 36))
	o.msg.Data = m.Body
	for {
		err := p.d.nc.PublishMsg(&o.msg)
		if !errors.Is(err, nats.ErrReconnectBufExceeded) {
			return wrap(err)
		}
		if err := p.d.link.wait(ctx); err != nil {
			return err
		}
	}
}

// confirmed matches a confirmation, on the one goroutine of the subscription.
func (p *publisher) confirmed(m *nats.Msg) {
	token, err := strconv.ParseUint(m.Subject[len(p.prefix):], 36, 64)
	if err != nil || token&(1<<slotBits-1) >= uint64(len(p.slots)) {
		return
	}
	s := p.slot(token)
	s.mu.Lock()
	c, i := s.c, s.i
	if s.token != token || c == nil {
		s.mu.Unlock()
		return
	}
	s.c = nil
	good := bytes.HasPrefix(m.Data, c.topic.ackPrefix)
	s.mu.Unlock()
	if !good {
		c.reject(i, confirmation(m))
	}
	p.free <- uint32(token & (1<<slotBits - 1))
	c.release()
}

// confirmation is the error of an answer that is no success.
func confirmation(m *nats.Msg) error {
	if len(m.Data) == 0 && m.Header.Get("Status") == "503" {
		return errNoJetStream
	}
	var answer struct {
		Error  *jetstream.APIError `json:"error"`
		Stream string              `json:"stream"`
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return fmt.Errorf("confirmation %.60q is not of JetStream: does another responder listen on the subject? %w", m.Data, err)
	}
	if answer.Error != nil {
		return wrap(answer.Error)
	}
	return fmt.Errorf("stored in stream %q: it took the subject over", answer.Stream)
}

// resolve ends a message that was armed, unless somebody else did.
func (p *publisher) resolve(token uint64, err error) {
	s := p.slot(token)
	s.mu.Lock()
	c, i := s.c, s.i
	if s.token != token || c == nil {
		s.mu.Unlock()
		return
	}
	s.c = nil
	s.mu.Unlock()
	c.reject(i, err)
	p.free <- uint32(token & (1<<slotBits - 1))
	c.release()
}

// abandon ends what is still on its way.
func (p *publisher) abandon(c *call, err error) {
	for _, token := range c.slots {
		p.resolve(token, err)
	}
}

// failAll ends everything that is on its way, or what which says.
func (p *publisher) failAll(err error, which func(*topic) bool) {
	for i := range p.slots {
		s := &p.slots[i]
		s.mu.Lock()
		token, c := s.token, s.c
		mine := c != nil && (which == nil || which(c.topic))
		s.mu.Unlock()
		if mine {
			p.resolve(token, err)
		}
	}
}

// denied ends messages to a subject that the server does not let us publish to:
// it sends no confirmation, only an error beside them.
func (p *publisher) denied(err error) {
	if !p.started.Load() || !errors.Is(err, nats.ErrPermissionViolation) {
		return
	}
	p.failAll(wrap(err), func(t *topic) bool {
		for _, subject := range t.subjects {
			if strings.Contains(err.Error(), `"`+subject+`"`) {
				return true
			}
		}
		return false
	})
}
