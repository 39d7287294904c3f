package integration

import (
	"flag"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/anywire/anywire/internal/brokertest"
)

// TestMain also is the main function of the worker processes that tests start
// and kill: they are this very binary.
func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		os.Exit(playRole(role))
	}
	// Tests mostly wait, for leases and for brokers.
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(brokertest.Runner(m),
		// The meters of Watermill's Kafka client share a goroutine that never ends.
		goleak.IgnoreTopFunction("github.com/rcrowley/go-metrics.(*meterArbiter).tick"),
		// Nor does one of Watermill's test.
		goleak.IgnoreTopFunction("github.com/ThreeDotsLabs/watermill/pubsub/tests.TestReconnect.func2"))
}

// full reports whether the long variants are asked for.
func full() bool { return os.Getenv("ANYWIRE_TEST_FULL") != "" }

// scale is how much work a test does: little, unless the long variants are asked
// for.
func scale(little, much int) int {
	if full() {
		return much
	}
	return little
}
