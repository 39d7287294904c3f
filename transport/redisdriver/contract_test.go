package redisdriver

import (
	"sync"
	"testing"

	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/drivertest"
)

// TestContract runs the suite against a server process of its own, which is
// killed and started again in between: it writes down every command before it
// answers.
func TestContract(t *testing.T) {
	server := brokertest.Redis(t)
	var lines sync.Map
	declared := Capabilities(Options{})
	drivertest.Run(t, drivertest.Harness{
		Name: "redis",
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
			server.Kill(tb)
			server.Start(tb)
		},
	})
}
