package redisdriver

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/anywire/anywire/internal/brokertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(brokertest.Runner(m)) }

// mortal is a dialer whose connections end at once, as with their process.
type mortal struct {
	mu    sync.Mutex
	conns []net.Conn
	dead  bool
}

func (m *mortal) dial(ctx context.Context, network, address string) (net.Conn, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return nil, errors.New("dead")
	}
	d := net.Dialer{Timeout: 5 * time.Second}
	c, err := d.DialContext(ctx, network, address)
	if err == nil {
		m.conns = append(m.conns, c)
	}
	return c, err
}

// cut ends the connections; new ones are refused if dead.
func (m *mortal) cut(dead bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dead = dead
	for _, c := range m.conns {
		_ = c.Close()
	}
	m.conns = nil
}

// open connects to url; the driver is closed with the test.
func open(tb testing.TB, url string, change func(*Options)) (*Driver, *mortal) {
	tb.Helper()
	line := &mortal{}
	o := Options{URL: url, Dial: line.dial}
	if change != nil {
		change(&o)
	}
	d, err := Open(tb.Context(), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = d.Close(context.WithoutCancel(tb.Context())) })
	return d, line
}
