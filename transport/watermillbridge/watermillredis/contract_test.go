package watermillredis

import (
	"sync"
	"testing"
	"time"

	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/drivertest"
)

// lease is the suite's: every delivery has it, so it must not be too short for a
// busy machine.
const lease = 4 * time.Second

func quick() Options {
	return Options{
		Consumers: 8, MaxIdle: value.Duration(lease),
		ClaimInterval: value.Duration(200 * time.Millisecond), BlockTime: value.Duration(50 * time.Millisecond),
	}
}

// TestContract runs the suite against a server process of its own.
func TestContract(t *testing.T) {
	server := brokertest.Redis(t)
	var lines sync.Map
	declared, documented := Capabilities(quick()), Capabilities(Options{})
	drivertest.Run(t, drivertest.Harness{
		Name: "watermill-redisstream", Documented: &documented,
		Open: func(tb testing.TB) driver.Driver {
			tb.Helper()
			d, line := open(tb, server.URL, quick())
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
			server.Kill(tb)
			server.Start(tb)
		},
		Lease: lease,
		Skip: map[string]string{
			"stale/batch-names-it":             "no lease is renewed",
			"stale/extend-names-only-the-lost": "no lease is renewed",
		},
	})
}
