package watermillkafka

import (
	"sync"
	"testing"
	"time"

	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/drivertest"
)

func quick() Options {
	return Options{InFlight: 1, SessionTimeout: value.Duration(6 * time.Second)}
}

// TestContract runs the suite with one message in flight, because most of its
// topics have one partition.
func TestContract(t *testing.T) {
	server := brokertest.Kafka(t)
	var lines sync.Map
	declared, documented := Capabilities(quick()), Capabilities(Options{})
	drivertest.Run(t, drivertest.Harness{
		Name: "watermill-kafka", Documented: &documented,
		Open: func(tb testing.TB) driver.Driver {
			tb.Helper()
			d, line := open(tb, server.Addrs, quick())
			lines.Store(d, line)
			return d
		},
		Declared: &declared,
		Kill: func(_ testing.TB, d driver.Driver) {
			line, _ := lines.Load(d)
			line.(*mortal).kill()
		},
		Restart: func(tb testing.TB) {
			tb.Helper()
			server.Stop(tb)
			server.Start(tb)
		},
		Patience: 60 * time.Second,
	})
}
