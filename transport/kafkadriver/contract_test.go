package kafkadriver

import (
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/drivertest"
)

func full() bool { return os.Getenv("ANYWIRE_TEST_FULL") != "" }

// TestContract runs the suite against a broker process of its own, which is
// stopped and started again in between, and killed where it matters most. A broker
// that was killed comes back once its own registration has ended, after 9 to 12
// seconds; the groups' sessions outlive that. ANYWIRE_TEST_FULL=1 kills it always.
func TestContract(t *testing.T) {
	server := brokertest.Kafka(t)
	h := harness(server, nil, func(tb testing.TB) {
		tb.Helper()
		if full() || strings.HasSuffix(tb.Name(), "/keeps-acks") {
			server.Kill(tb)
		} else {
			server.Stop(tb)
		}
		server.Start(tb)
	})
	h.Name = "kafka"
	drivertest.Run(t, h)
}

// TestContractClassic runs it under the classic protocol.
func TestContractClassic(t *testing.T) {
	if !full() {
		t.Skip("only with ANYWIRE_TEST_FULL=1")
	}
	drivertest.Run(t, harness(brokertest.SharedKafka(t), func(o *Options) { o.Protocol = protocolClassic }, nil))
}

// TestContractFake runs it against a Kafka in this process. The real one has the
// last word.
func TestContractFake(t *testing.T) {
	if !full() {
		t.Skip("only with ANYWIRE_TEST_FULL=1")
	}
	drivertest.Run(t, harnessAt(fake(t).ListenAddrs(), nil, nil))
}

func harness(server *brokertest.Server, change func(*Options), restart func(testing.TB)) drivertest.Harness {
	return harnessAt(server.Addrs, change, restart)
}

func harnessAt(brokers []string, change func(*Options), restart func(testing.TB)) drivertest.Harness {
	var lines sync.Map
	declared := Capabilities(Options{})
	return drivertest.Harness{
		Open: func(tb testing.TB) driver.Driver {
			tb.Helper()
			d, line := open(tb, brokers, change)
			lines.Store(d, line)
			return d
		},
		Declared: &declared,
		Kill: func(_ testing.TB, d driver.Driver) {
			line, _ := lines.Load(d)
			line.(*mortal).cut(true)
		},
		Stall: func(_ testing.TB, d driver.Driver) func() {
			line, _ := lines.Load(d)
			return line.(*mortal).still.begin()
		},
		Restart: restart,
		// A dead member's partitions are free after the session of 6 s.
		Patience: 60 * time.Second,
	}
}
