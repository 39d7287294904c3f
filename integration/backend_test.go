package integration

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/anywire/anywire"
	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/memory"
	"github.com/anywire/anywire/transport/natsdriver"
	"github.com/anywire/anywire/transport/natsdriver/embedded"
	"github.com/anywire/anywire/transport/watermillbridge/watermillredis"
)

// The names of the transports in every test's configuration: that of all topics,
// and that of a [world]'s witness where it has one.
const (
	bus     = "bus"
	witness = "witness"
)

// backend is one way to carry messages: what every test runs on.
type backend struct {
	name  string
	start func(t *testing.T) *world
	// loose is start without writing every message through to the disk, for
	// tests that need many and kill nobody. Nil: there is no difference.
	loose func(t *testing.T) *world
	// slowJoin: a member that comes or goes costs a second.
	slowJoin bool
	// bridged: Watermill's adapter carries the messages.
	bridged bool
}

var backends = []backend{
	{name: "memory", start: startMemory(memory.Options{})},
	{name: "paranoid", start: startMemory(memory.Options{Paranoid: &memory.Paranoid{Seed: 7}})},
	{name: "embedded", start: startEmbedded(embedded.Options{}), loose: startEmbedded(embedded.Options{Sync: "1s"})},
	{name: "nats", start: brokers["nats"].start, loose: startNATS(natsdriver.Options{Storage: "memory"})},
	{name: "redis", start: brokers["redis"].start},
	{name: "kafka", start: brokers["kafka"].start, slowJoin: true},
	{name: "watermill-redisstream", start: brokers["watermill-redisstream"].start, slowJoin: true, bridged: true},
	{name: "watermill-kafka", start: brokers["watermill-kafka"].start, slowJoin: true, bridged: true},
}

// world is the broker of one test. Each app of the test joins it as a process of
// its own would, as far as the backend allows that.
type world struct {
	entry config.Transport
	caps  driver.Capabilities
	// witness reads what the transport itself cannot: topics without a group, and
	// lags. Empty: the transport can.
	witness config.Transport
	// shared is the driver of all apps where the broker lives in this process;
	// nil: each app opens its own, as the entry says.
	shared driver.Driver
	// stranger opens a driver that no app knows of.
	stranger func(t *testing.T) driver.Driver
	// duplicates: the broker itself stores messages twice.
	duplicates bool
}

func startMemory(o memory.Options) func(t *testing.T) *world {
	return func(t *testing.T) *world {
		t.Helper()
		w := inProcess(t, config.Transport{Kind: "memory", Options: o}, memory.New(&o))
		w.duplicates = o.Paranoid != nil
		return w
	}
}

func startEmbedded(o embedded.Options) func(t *testing.T) *world {
	return func(t *testing.T) *world {
		t.Helper()
		mine := o
		mine.Dir = t.TempDir()
		d, err := embedded.Open(t.Context(), mine)
		if err != nil {
			t.Fatal(err)
		}
		return inProcess(t, config.Transport{Kind: "embedded", Options: mine}, d)
	}
}

// start is on the server that the tests share.
func (b *broker) start(t *testing.T) *world {
	t.Helper()
	return b.world(t, b.shared(t))
}

func startNATS(o natsdriver.Options) func(t *testing.T) *world {
	return func(t *testing.T) *world {
		t.Helper()
		mine := o // tests run side by side
		mine.URL = brokertest.SharedNATS(t).URL
		return brokers["nats"].worldWith(t, mine)
	}
}

// inProcess is a world whose broker is an object of this process.
func inProcess(t *testing.T, entry config.Transport, d driver.Driver) *world {
	t.Helper()
	t.Cleanup(func() { closeDriver(t, d) })
	return &world{entry: entry, caps: d.Capabilities(), shared: d, stranger: func(*testing.T) driver.Driver { return d }}
}

// remote is a world whose broker is a process; a prefix keeps tests apart.
func remote(
	t *testing.T, entry config.Transport, caps driver.Capabilities, open func(t *testing.T) (driver.Driver, error),
) *world {
	t.Helper()
	entry.Prefix = "it" + strings.ReplaceAll(envelope.NewID(), "-", "")[:16] + "."
	return &world{entry: entry, caps: caps, stranger: func(t *testing.T) driver.Driver {
		t.Helper()
		d, err := open(t)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { closeDriver(t, d) })
		return d
	}}
}

// native is a stranger of the kind that is ours on these servers.
func (w *world) native(t *testing.T) driver.Driver {
	t.Helper()
	if w.witness.Kind == "" {
		return w.stranger(t)
	}
	d, err := brokers[w.witness.Kind].kind.Open(t.Context(), w.witness.Options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeDriver(t, d) })
	return d
}

// beside is the same broker with another prefix.
func (w *world) beside(name string) *world {
	other := *w
	other.entry.Prefix += name + "."
	other.witness.Prefix = other.entry.Prefix
	return &other
}

// leased is the same broker with leases of d, where they are the transport's and
// no agent's.
func (w *world) leased(d time.Duration) *world {
	other := *w
	if o, ok := w.entry.Options.(watermillredis.Options); ok {
		o.MaxIdle = value.Duration(d)
		other.entry.Options, other.caps = o, watermillredis.Capabilities(o)
	}
	return &other
}

func closeDriver(t *testing.T, d driver.Driver) {
	t.Helper()
	if err := d.Close(context.WithoutCancel(t.Context())); err != nil {
		t.Errorf("close the driver: %v", err)
	}
}

// eachOrder has one subtest for each backend and for orders none and key.
func eachOrder(t *testing.T, test func(c *orderCase)) {
	t.Helper()
	for _, order := range []string{"none", "key"} {
		for _, b := range backends {
			t.Run(order+"/"+b.name, func(t *testing.T) {
				t.Parallel()
				w := b.start(t)
				needsOrder(t, w.caps, order)
				test(&orderCase{T: t, world: w, order: order})
			})
		}
	}
}

// orderCase is one of those subtests.
type orderCase struct {
	*testing.T

	world *world
	order string
}

// kinds are all that a backend of the table needs.
func kinds() []anywire.Kind {
	list := []anywire.Kind{memory.Kind(), embedded.Kind()}
	for _, b := range brokers {
		list = append(list, b.kind)
	}
	return list
}

// unremembered leaves out idempotency records, which would hide what a transport
// does: most scenarios are about that.
func unremembered() config.Idempotency { return config.Idempotency{Store: config.None} }

// options are those of an app of this world.
func (w *world) options(c *config.Config) *anywire.Options {
	o := &anywire.Options{Kinds: kinds()}
	c.Transport = bus
	c.Transports = map[string]config.Transport{bus: w.entry}
	if c.Idempotency.Store == "" {
		c.Idempotency = unremembered()
	}
	if w.witness.Kind != "" {
		c.Transports[witness] = w.witness
	}
	fitLease(c, w.caps.MaxLease)
	fitShards(c, w.caps)
	if w.shared != nil {
		o.Drivers = map[string]driver.Driver{bus: w.shared}
	}
	o.Config = c
	return o
}
