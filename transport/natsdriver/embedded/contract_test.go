package embedded

import (
	"testing"

	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/drivertest"
)

// TestContract runs the suite; each driver has a folder of its own. What needs a
// second process is in crash_test.go.
func TestContract(t *testing.T) {
	t.Parallel()
	declared := Capabilities(Options{})
	drivertest.Run(t, drivertest.Harness{
		Name: "embedded",
		Open: func(tb testing.TB) driver.Driver {
			tb.Helper()
			return open(tb, Options{Dir: tb.TempDir()})
		},
		Declared: &declared,
	})
}
