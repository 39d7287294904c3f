package redisdriver

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/transport/driver"
)

// detour keeps what one connection writes from the server, until long after its
// writer has given the connection up: so it is with a server that stands still,
// and with a network that comes back.
type detour struct {
	text []byte // of what is kept

	mu    sync.Mutex
	armed bool
	bytes []byte
	conn  net.Conn
}

type detoured struct {
	net.Conn

	d    *detour
	kept bool // by the one that reads and writes
}

func (c *detoured) Write(p []byte) (int, error) {
	c.d.mu.Lock()
	defer c.d.mu.Unlock()
	if !c.d.armed || !bytes.Contains(p, c.d.text) {
		return c.Conn.Write(p)
	}
	c.d.armed, c.kept = false, true
	c.d.bytes, c.d.conn = bytes.Clone(p), c.Conn
	return len(p), nil
}

func (c *detoured) Read(p []byte) (int, error) {
	if c.kept {
		return 0, io.EOF
	}
	return c.Conn.Read(p)
}

func (c *detoured) Close() error {
	if c.kept {
		return nil // the server has not heard of it yet
	}
	return c.Conn.Close()
}

// arrive lets the server have it, and waits for an answer.
func (d *detour) arrive(tb testing.TB) {
	tb.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn == nil {
		tb.Fatal("nothing was kept")
	}
	if _, err := d.conn.Write(d.bytes); err != nil {
		tb.Fatal(err)
	}
	_ = d.conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, err := d.conn.Read(make([]byte, 4096)); err != nil {
		tb.Fatal(err)
	}
	_ = d.conn.Close()
}

func (d *detour) arm() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.armed = true
}

// TestReadThatArrivesLate reaches the server when its reader has long looked for
// what it may have brought: nobody would know of what it brings. Without order, it
// comes again when its lease is over; a shard's owner has no such lease.
func TestReadThatArrivesLate(t *testing.T) {
	t.Parallel()
	late := &detour{text: []byte("xreadgroup")}
	d, _ := open(t, brokertest.SharedRedis(t).URL, func(o *Options) {
		dial := o.Dial
		o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := dial(ctx, network, address)
			return &detoured{Conn: c, d: late}, err
		}
	})
	topic := unique(t)
	src := subscribe(t, d, ordered(topic))
	publish(t, d, topic, "1")
	settle(t, src, driver.Ack, take(t, src, 1)...)
	late.arm()
	if _, err := src.Receive(patience(t), 1); err == nil {
		t.Fatal("Receive: no error, want that of the lost connection")
	}
	short, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if msgs, _ := src.Receive(short, 1); len(msgs) > 0 { // it looks for what it may have
		t.Fatalf("received %v, though nothing is there", bodies(msgs))
	}
	publish(t, d, topic, "2")
	late.arrive(t)
	publish(t, d, topic, "3")
	want(t, take(t, src, 2), "2", "3")
}
