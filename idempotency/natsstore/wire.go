package natsstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// glance is how often a wait without answers looks at the connection.
	glance = 50 * time.Millisecond
	// patience is how long no answer may come before those that are missing count
	// as lost, and the records are read.
	patience = 2 * time.Second
)

// wire sends many requests at once and matches the answers, without a goroutine
// or a channel for each: the reply's subject names the call and the request in
// it, so that an answer which comes too late meets nobody.
type wire struct {
	nc *nats.Conn

	mu     sync.Mutex
	prefix string
	sub    *nats.Subscription
	last   uint64
	calls  map[uint64]*flight
	closed bool
	out    sync.Pool // *outgoing
}

// request is one message to the server, and what becomes of it.
type request struct {
	subject  string
	expect   bool   // it is stored only if the key has this revision
	revision uint64 // 0: nothing is under the key
	owner    string
	parts    string
	ttl      string
	data     []byte

	reply *nats.Msg
	err   error // there is no reply, for this reason
}

// flight is a call whose requests are on their way.
type flight struct {
	requests []request
	left     int // without reply
	done     chan struct{}
}

// outgoing is what a message needs while it is written.
type outgoing struct {
	msg    nats.Msg
	values [4]string
}

func newWire(nc *nats.Conn) *wire {
	w := &wire{nc: nc, calls: map[uint64]*flight{}}
	w.out.New = func() any { return &outgoing{msg: nats.Msg{Header: nats.Header{}}} }
	return w
}

// exchange sends requests and returns when each has its reply or an error. Errors
// that are not final are marked by [errLost]: the server may have done it.
func (w *wire) exchange(ctx context.Context, requests []request) {
	if len(requests) == 0 {
		return
	}
	f := &flight{requests: requests, left: len(requests), done: make(chan struct{})}
	id, prefix, err := w.take(f)
	if err != nil {
		for i := range requests {
			requests[i].err = err
		}
		return
	}
	before := w.nc.Stats().Reconnects
	w.write(f, id, prefix)
	w.wait(ctx, f, id, before)
}

// take registers a call, and subscribes to the replies on first use.
func (w *wire) take(f *flight) (id uint64, prefix string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return 0, "", errClosed
	}
	if w.sub == nil {
		w.prefix = w.nc.NewInbox() + "."
		sub, err := w.nc.Subscribe(w.prefix+"*.*", w.replied)
		if err != nil {
			return 0, "", lost(err)
		}
		_ = sub.SetPendingLimits(-1, -1) // as many as there are requests
		w.sub = sub
	}
	w.last++
	w.calls[w.last] = f
	return w.last, w.prefix, nil
}

func (w *wire) write(f *flight, id uint64, prefix string) {
	o, _ := w.out.Get().(*outgoing)
	defer w.out.Put(o)
	var stack [80]byte
	stem := append(strconv.AppendUint(append(stack[:0], prefix...), id, 36), '.')
	for i := range f.requests {
		r := &f.requests[i]
		o.msg.Subject, o.msg.Data = r.subject, r.data
		o.msg.Reply = string(strconv.AppendUint(stem, uint64(i), 36))
		o.head(r)
		if err := w.nc.PublishMsg(&o.msg); err != nil {
			w.fail(id, i, lost(err))
		}
	}
}

func (o *outgoing) head(r *request) {
	clear(o.msg.Header)
	set := func(i int, name, value string) {
		o.values[i] = value
		o.msg.Header[name] = o.values[i : i+1 : i+1]
	}
	if r.expect {
		set(0, expectHeader, strconv.FormatUint(r.revision, 10))
	}
	if r.owner != "" {
		set(1, ownerHeader, r.owner)
	}
	if r.parts != "" {
		set(2, partsHeader, r.parts)
	}
	if r.ttl != "" {
		set(3, ttlHeader, r.ttl)
	}
}

// wait returns when all replies are there, or none will come any more.
func (w *wire) wait(ctx context.Context, f *flight, id, before uint64) {
	timer := time.NewTimer(glance)
	defer timer.Stop()
	left := len(f.requests)
	for waited := glance; ; waited += glance {
		select {
		case <-f.done:
			return
		case <-ctx.Done():
			w.abandon(id, lost(ended(ctx)))
			return
		case <-timer.C:
			if now := w.left(f); now < left {
				left, waited = now, 0
			}
			if err := w.trouble(f, waited, before); err != nil {
				w.abandon(id, err)
				return
			}
			timer.Reset(glance)
		}
	}
}

func (w *wire) left(f *flight) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return f.left
}

// trouble is why no more replies will come.
func (w *wire) trouble(f *flight, waited time.Duration, before uint64) error {
	switch {
	case w.nc.IsClosed():
		return errClosed
	case !w.nc.IsConnected(), w.nc.Stats().Reconnects != before:
		return lost(errDisconnected)
	case waited >= patience:
		return lost(errNoAnswer)
	}
	return w.denied(f)
}

// denied is the error of requests that the server does not let us make: it sends
// no reply, only an error beside them.
func (w *wire) denied(f *flight) error {
	err := w.nc.LastError()
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return nil
	}
	text := err.Error()
	w.mu.Lock()
	defer w.mu.Unlock()
	if strings.Contains(text, w.prefix) {
		return err
	}
	for i := range f.requests {
		if r := &f.requests[i]; r.reply == nil && r.err == nil && strings.Contains(text, `"`+r.subject+`"`) {
			return err
		}
	}
	return nil
}

// replied matches a reply, on the one goroutine of the subscription.
func (w *wire) replied(m *nats.Msg) {
	call, index, _ := strings.Cut(m.Subject[len(w.prefix):], ".")
	id, err := strconv.ParseUint(call, 36, 64)
	i, err2 := strconv.ParseUint(index, 36, 32)
	if err != nil || err2 != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.calls[id]
	if f == nil || i >= uint64(len(f.requests)) || f.requests[i].ended() {
		return
	}
	f.requests[i].reply = m
	w.count(id, f)
}

func (w *wire) fail(id uint64, i int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.calls[id]
	if f == nil || f.requests[i].ended() {
		return
	}
	f.requests[i].err = err
	w.count(id, f)
}

// count notes that one more request has ended. The lock is held.
func (w *wire) count(id uint64, f *flight) {
	if f.left--; f.left == 0 {
		delete(w.calls, id)
		close(f.done)
	}
}

// abandon ends what has no reply.
func (w *wire) abandon(id uint64, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.calls[id]
	if f == nil {
		return
	}
	for i := range f.requests {
		if !f.requests[i].ended() {
			f.requests[i].err = err
		}
	}
	delete(w.calls, id)
	close(f.done)
}

func (r *request) ended() bool { return r.reply != nil || r.err != nil }

// nobody is a reply subject that meets nobody.
func (w *wire) nobody() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.prefix + "0.0"
}

func (w *wire) close() {
	w.mu.Lock()
	w.closed = true
	sub := w.sub
	var ids []uint64
	for id := range w.calls {
		ids = append(ids, id)
	}
	w.mu.Unlock()
	if sub != nil {
		_ = sub.Unsubscribe() // a closed connection has none
	}
	for _, id := range ids {
		w.abandon(id, errClosed)
	}
}

// reachable waits for a connection until ctx ends.
func (w *wire) reachable(ctx context.Context) error {
	for !w.nc.IsConnected() {
		if w.nc.IsClosed() {
			return errClosed
		}
		if !pause(ctx, glance) {
			return fmt.Errorf("%w: %w", errDisconnected, ended(ctx))
		}
	}
	return nil
}

// pause reports whether ctx still lives afterwards.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
