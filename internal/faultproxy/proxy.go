package faultproxy

import (
	"context"
	"maps"
	"net"
	"slices"
	"sync"
	"testing"
	"time"
)

const dialTimeout = 10 * time.Second

// Faults is what a proxy does to bytes and new connections. The zero value does
// nothing to them.
type Faults struct {
	// Refuse resets new connections as soon as they are there. Old ones go on:
	// see [Proxy.Cut].
	Refuse bool
	// HoldRequests keeps what clients send from the server, HoldReplies the
	// other way round; both make a black hole, which accepts connections and
	// never says anything. The bytes arrive when the fault is over.
	HoldRequests, HoldReplies bool
	// Latency is added to each direction. It does not limit the throughput.
	Latency time.Duration
	// Slice forwards no more bytes than this at a time; 0 forwards what came.
	Slice int
}

// Proxy forwards connections to one server. Its methods may be called by several
// goroutines.
type Proxy struct {
	listener net.Listener
	protocol Protocol
	group    sync.WaitGroup

	mu      sync.Mutex
	target  string
	closed  bool
	faults  Faults
	changed chan struct{} // closed and made anew when faults change
	conns   map[*connection]struct{}
	traps   []*trap
	dials   int
}

// New starts a proxy to the server at target, a HOST:PORT, that may be empty
// until [Proxy.Target] is called. It ends with the test.
func New(tb testing.TB, protocol Protocol, target string) *Proxy {
	tb.Helper()
	listener, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("faultproxy: %v", err)
	}
	p := &Proxy{
		listener: listener, protocol: protocol, target: target,
		changed: make(chan struct{}), conns: map[*connection]struct{}{},
	}
	p.group.Go(p.accept)
	tb.Cleanup(p.close)
	return p
}

// Addr is where clients connect to: a HOST:PORT.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Target changes where new connections go.
func (p *Proxy) Target(addr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = addr
}

// Set replaces the faults, for all connections at once.
func (p *Proxy) Set(f Faults) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = f
	close(p.changed)
	p.changed = make(chan struct{})
}

// Cut resets all connections, on both of their sides, and returns when that is
// done. New ones are welcome.
func (p *Proxy) Cut() {
	p.mu.Lock()
	conns := slices.Collect(maps.Keys(p.conns))
	p.mu.Unlock()
	for _, c := range conns {
		c.reset()
	}
}

// Connections is how many there are now.
func (p *Proxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns)
}

// Dials is how many connections clients have begun since the start, refused ones
// included.
func (p *Proxy) Dials() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dials
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		p.mu.Lock()
		p.dials++
		refuse, target := p.faults.Refuse || p.closed, p.target
		if !refuse {
			p.group.Go(func() { p.serve(client, target) })
		}
		p.mu.Unlock()
		if refuse {
			reset(client)
		}
	}
}

func (p *Proxy) serve(client net.Conn, target string) {
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	server, err := (&net.Dialer{}).DialContext(ctx, "tcp", target)
	cancel()
	if err != nil {
		reset(client)
		return
	}
	c := &connection{proxy: p, client: client, server: server, dialect: p.protocol.dialect(), gone: make(chan struct{})}
	if !p.add(c) {
		c.reset()
		return
	}
	c.run()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

func (p *Proxy) add(c *connection) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.conns[c] = struct{}{}
	return true
}

// now gives the faults, and a channel that is closed when they change.
func (p *Proxy) now() (f Faults, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.faults, p.changed
}

func (p *Proxy) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	_ = p.listener.Close() // it has no more to say
	p.Cut()
	p.group.Wait()
}

// reset ends a connection with RST instead of FIN, where the system can.
func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // a connection that is gone cannot be reset
	}
	_ = conn.Close()
}

// String names the proxy in a test's log.
func (p *Proxy) String() string { return "proxy at " + p.Addr() }
