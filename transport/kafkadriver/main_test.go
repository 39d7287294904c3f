package kafkadriver

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/anywire/anywire/internal/brokertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(brokertest.Runner(m)) }

// mortal is a dialer whose connections end at once, as with their process.
type mortal struct {
	mu    sync.Mutex
	conns []net.Conn
	dead  bool
	still standstill
}

func (m *mortal) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if m.isDead() {
		return nil, errors.New("dead")
	}
	c, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		_ = c.Close()
		return nil, errors.New("dead")
	}
	m.conns = append(m.conns, c)
	return newStillConn(c, &m.still), nil
}

func (m *mortal) isDead() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.dead
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

// open connects to brokers; the driver is closed with the test. Its system is its
// own, so that nobody else forwards what it delays.
func open(tb testing.TB, brokers []string, change func(*Options)) (*Driver, *mortal) {
	tb.Helper()
	line := &mortal{}
	o := Options{Brokers: brokers, Dial: line.dial, System: unique(tb)}
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
