package kafkadriver

import (
	"net"
	"os"
	"sync"
	"time"
)

// standstill is what holds connections open and lets nothing pass.
type standstill struct {
	mu   sync.Mutex
	over chan struct{} // closed when things go on; nil: they do
}

// begin starts it; resume ends it.
func (s *standstill) begin() (resume func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = make(chan struct{})
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		close(s.over)
		s.over = nil
	}
}

// stillConn is a connection that stands still with the others.
type stillConn struct {
	net.Conn

	still  *standstill
	closed chan struct{}
	once   sync.Once

	mu          sync.Mutex
	read, write time.Time // deadlines
}

func newStillConn(c net.Conn, s *standstill) *stillConn {
	return &stillConn{Conn: c, still: s, closed: make(chan struct{})}
}

// wait lasts as long as the standstill, but not beyond a deadline.
func (h *stillConn) wait(deadline *time.Time) error {
	h.still.mu.Lock()
	over := h.still.over
	h.still.mu.Unlock()
	if over == nil {
		return nil
	}
	h.mu.Lock()
	at := *deadline
	h.mu.Unlock()
	late := make(<-chan time.Time)
	if !at.IsZero() {
		timer := time.NewTimer(time.Until(at))
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-over:
		return nil
	case <-h.closed:
		return net.ErrClosed
	case <-late:
		return os.ErrDeadlineExceeded
	}
}

func (h *stillConn) Read(b []byte) (int, error) {
	n, err := h.Conn.Read(b)
	if late := h.wait(&h.read); late != nil {
		return 0, late
	}
	return n, err
}

func (h *stillConn) Write(b []byte) (int, error) {
	if err := h.wait(&h.write); err != nil {
		return 0, err
	}
	return h.Conn.Write(b)
}

func (h *stillConn) SetDeadline(t time.Time) error {
	h.note(t, &h.read, &h.write)
	return h.Conn.SetDeadline(t)
}

func (h *stillConn) SetReadDeadline(t time.Time) error {
	h.note(t, &h.read)
	return h.Conn.SetReadDeadline(t)
}

func (h *stillConn) SetWriteDeadline(t time.Time) error {
	h.note(t, &h.write)
	return h.Conn.SetWriteDeadline(t)
}

func (h *stillConn) note(t time.Time, deadlines ...*time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, d := range deadlines {
		*d = t
	}
}

func (h *stillConn) Close() error {
	h.once.Do(func() { close(h.closed) })
	return h.Conn.Close()
}
