package natsdriver

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"

	"github.com/anywire/anywire/transport/driver"
)

// link watches the connection for all who wait on it.
type link struct {
	nc *nats.Conn

	losses atomic.Uint64 // counts the times that the connection was lost

	mu      sync.Mutex
	changed chan struct{} // closed and replaced at each change
	lost    []func()      // called when the connection is lost
	events  chan nats.Status
	ended   chan struct{}
}

func newLink(nc *nats.Conn) *link {
	return &link{nc: nc, changed: make(chan struct{})}
}

// state is a moment of the connection.
type state struct {
	connected, closed bool
	changed           <-chan struct{} // closed at the next change
}

func (l *link) now() state {
	l.start()
	l.mu.Lock()
	changed := l.changed
	l.mu.Unlock()
	status := l.nc.Status()
	return state{connected: status == nats.CONNECTED, closed: status == nats.CLOSED, changed: changed}
}

// wait blocks until there is a connection, or ctx ends.
func (l *link) wait(ctx context.Context) error {
	if ctx.Err() != nil {
		return ended(ctx)
	}
	if l.nc.IsConnected() {
		return nil
	}
	for {
		now := l.now()
		switch {
		case now.connected:
			return nil
		case now.closed:
			return fmt.Errorf("connection to NATS: %w", driver.ErrClosed)
		}
		select {
		case <-now.changed:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", errDisconnected, ended(ctx))
		}
	}
}

// onLoss registers f, which must be quick.
func (l *link) onLoss(f func()) {
	l.start()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost = append(l.lost, f)
}

// start begins to watch on first use.
func (l *link) start() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.events != nil {
		return
	}
	l.events, l.ended = l.nc.StatusChanged(), make(chan struct{})
	go l.watch(l.events)
}

func (l *link) watch(events <-chan nats.Status) {
	defer close(l.ended)
	for status := range events {
		if status != nats.CONNECTED {
			l.losses.Add(1)
		}
		l.mu.Lock()
		close(l.changed)
		l.changed = make(chan struct{})
		lost := l.lost
		l.mu.Unlock()
		if status == nats.CONNECTED {
			continue
		}
		for _, f := range lost {
			f()
		}
	}
}

// close ends the watch.
func (l *link) close() {
	l.mu.Lock()
	events, ended := l.events, l.ended
	l.mu.Unlock()
	if events == nil {
		return
	}
	l.nc.RemoveStatusListener(events)
	<-ended
}
