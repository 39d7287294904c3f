package integration

import (
	"context"
	"strings"
	"testing"

	"github.com/anywire/anywire"
	"github.com/anywire/anywire/all"
	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/memory"
	"github.com/anywire/anywire/transport/natsdriver"
	"github.com/anywire/anywire/transport/natsdriver/embedded"
)

// bus is the name of the transport in every test's configuration.
const bus = "bus"

// backend is one way to carry messages: what every test runs on.
type backend struct {
	name  string
	start func(t *testing.T) *world
}

var backends = []backend{
	{"memory", func(t *testing.T) *world {
		return inProcess(t, config.Transport{Kind: "memory"}, openMemory(nil))
	}},
	{"paranoid", func(t *testing.T) *world {
		paranoid := memory.Options{Paranoid: &memory.Paranoid{Seed: 7}}
		w := inProcess(t, config.Transport{Kind: "memory", Options: paranoid}, openMemory(&paranoid))
		w.duplicates = true
		return w
	}},
	{"embedded", func(t *testing.T) *world {
		o := embedded.Options{Dir: t.TempDir()}
		return inProcess(t, config.Transport{Kind: "embedded", Options: o}, openEmbedded(o))
	}},
	{"nats", func(t *testing.T) *world {
		return remote(t, config.Transport{Kind: "nats", Options: natsdriver.Options{URL: brokertest.SharedNATS(t).URL}}, openNATS)
	}},
}

// world is the broker of one test. Each app of the test joins it as a process of
// its own would, as far as the backend allows that.
type world struct {
	t     *testing.T
	entry config.Transport
	// shared is the driver of all apps where the broker lives in this process;
	// nil: each app opens its own, as the entry says.
	shared driver.Driver
	// stranger opens a driver that no app knows of.
	stranger func(t *testing.T) driver.Driver
	// duplicates: the broker itself stores messages twice.
	duplicates bool
}

// onEach runs a test on every backend.
func onEach(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			test(t, b.start(t))
		})
	}
}

func openMemory(o *memory.Options) func(t *testing.T) driver.Driver {
	return func(*testing.T) driver.Driver { return memory.New(o) }
}

func openEmbedded(o embedded.Options) func(t *testing.T) driver.Driver {
	return func(t *testing.T) driver.Driver {
		t.Helper()
		d, err := embedded.Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
}

// inProcess is a world whose broker is an object of this process.
func inProcess(t *testing.T, entry config.Transport, open func(t *testing.T) driver.Driver) *world {
	t.Helper()
	d := open(t)
	t.Cleanup(func() { closeDriver(t, d) })
	return &world{t: t, entry: entry, shared: d, stranger: func(*testing.T) driver.Driver { return d }}
}

// remote is a world whose broker is a process; a prefix keeps tests apart.
func remote(t *testing.T, entry config.Transport, open func(t *testing.T, entry config.Transport) driver.Driver) *world {
	t.Helper()
	entry.Prefix = "it" + strings.ReplaceAll(envelope.NewID(), "-", "")[:16] + "."
	return &world{t: t, entry: entry, stranger: func(t *testing.T) driver.Driver {
		t.Helper()
		d := open(t, entry)
		t.Cleanup(func() { closeDriver(t, d) })
		return d
	}}
}

func openNATS(t *testing.T, entry config.Transport) driver.Driver {
	t.Helper()
	o, ok := entry.Options.(natsdriver.Options)
	if !ok {
		t.Fatalf("options %T", entry.Options)
	}
	d, err := natsdriver.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func closeDriver(t *testing.T, d driver.Driver) {
	t.Helper()
	if err := d.Close(context.WithoutCancel(t.Context())); err != nil {
		t.Errorf("close the driver: %v", err)
	}
}

// options are those of an app of this world.
func (w *world) options(c *config.Config) *anywire.Options {
	o := all.Options()
	o.Kinds = append(o.Kinds, embedded.Kind())
	c.Transport = bus
	c.Transports = map[string]config.Transport{bus: w.entry}
	if w.shared != nil {
		o.Drivers = map[string]driver.Driver{bus: w.shared}
	}
	o.Config = c
	return o
}
