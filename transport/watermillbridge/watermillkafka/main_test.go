package watermillkafka

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

// TestMain lets one goroutine of the Kafka client live: its meters share it for as
// long as the process lives.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(brokertest.Runner(m), goleak.IgnoreTopFunction("github.com/rcrowley/go-metrics.(*meterArbiter).tick"))
}

// mortal is a dialer whose connections end at once, as with their process.
type mortal struct {
	mu    sync.Mutex
	conns []net.Conn
	dead  bool
}

func (m *mortal) dial(network, address string) (net.Conn, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return nil, errors.New("dead")
	}
	c, err := net.DialTimeout(network, address, 5*time.Second)
	if err == nil {
		m.conns = append(m.conns, c)
	}
	return c, err
}

// kill ends the connections and refuses new ones.
func (m *mortal) kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dead = true
	for _, c := range m.conns {
		_ = c.Close()
	}
}

// open connects to brokers; the driver is closed with the test.
func open(tb testing.TB, brokers []string, o Options) (*Driver, *mortal) {
	tb.Helper()
	line := &mortal{}
	o.Brokers, o.Dial = brokers, line.dial
	d, err := Open(tb.Context(), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), 30*time.Second)
		defer cancel()
		_ = d.Close(ctx)
	})
	return d, line
}
