package brokertest

import (
	"context"
	"strings"
	"syscall"
)

// kind is what differs between brokers.
type kind interface {
	name() string
	// version is that of a local process; empty: it says so itself.
	version() string
	// install puts into the cache what is not there yet, and says where it is.
	install(ctx context.Context, logf logFunc, cache string) (path string, err error)
	// ports is how many it listens on; clients connect to the first.
	ports() int
	// url is what a client connects to, given the lines that the test adds to
	// the configuration.
	url(addr string, extra []string) string
	// setUp writes the configuration into dir and prepares an empty store there.
	setUp(ctx context.Context, install, dir string, ports []int, extra []string) (command, error)
	// probe is nil once the server at addr, one of those in address, takes
	// requests.
	probe(ctx context.Context, address, addr string) (version string, err error)
}

// stopper is a kind that SIGTERM does not stop.
type stopper interface{ stopSignal() syscall.Signal }

// restartist is a kind that may have to be started more than once after a kill.
type restartist interface {
	// startAgain says so by what the process logged before it ended.
	startAgain(log string) bool
}

// envOf is the environment variable with the address of a server of kind k.
func envOf(k kind) string { return "ANYWIRE_TEST_" + strings.ToUpper(k.name()) }
