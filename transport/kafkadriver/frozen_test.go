package kafkadriver

import (
	"context"
	"net"
	"sync"
)

// frost is a dialer whose connections can stand still, as those of a process that
// does, or of a network that lets nothing through.
type frost struct {
	mu   sync.Mutex
	thaw chan struct{} // closed when they go on; nil: they do
}

func (f *frost) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &frostedConn{Conn: c, frost: f, closed: make(chan struct{})}, nil
}

func (f *frost) freeze() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.thaw == nil {
		f.thaw = make(chan struct{})
	}
}

func (f *frost) goOn() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.thaw != nil {
		close(f.thaw)
		f.thaw = nil
	}
}

// frostedConn is one connection.
type frostedConn struct {
	net.Conn

	frost  *frost
	once   sync.Once
	closed chan struct{}
}

func (c *frostedConn) wait() {
	c.frost.mu.Lock()
	thaw := c.frost.thaw
	c.frost.mu.Unlock()
	if thaw != nil {
		select {
		case <-thaw:
		case <-c.closed:
		}
	}
}

func (c *frostedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.wait()
	return n, err
}

func (c *frostedConn) Write(b []byte) (int, error) {
	c.wait()
	return c.Conn.Write(b)
}

func (c *frostedConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}
