package natsdriver

import (
	"sync"
	"testing"

	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/drivertest"
)

// TestContract runs the suite against a server process of its own, which is
// ended and started again in between. It is not killed: a server writes down what
// was acknowledged ten times a second, and TestKilledServer looks at that.
func TestContract(t *testing.T) {
	server := brokertest.NATS(t)
	var lines sync.Map
	declared := Capabilities(Options{})
	drivertest.Run(t, drivertest.Harness{
		Name: "nats",
		Open: func(tb testing.TB) driver.Driver {
			tb.Helper()
			d, line := open(tb, server.URL, nil)
			lines.Store(d, line)
			return d
		},
		Declared: &declared,
		Kill: func(_ testing.TB, d driver.Driver) {
			line, _ := lines.Load(d)
			line.(*mortal).cut(true)
		},
		Restart: func(tb testing.TB) {
			tb.Helper()
			server.Stop(tb)
			server.Start(tb)
		},
	})
}
