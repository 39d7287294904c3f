// Package brokertest brings up the real brokers that tests and benchmarks run
// against, on a machine that has none of them:
//
//	func TestMain(m *testing.M) { goleak.VerifyTestMain(brokertest.Runner(m)) }
//
//	func TestPublish(t *testing.T) {
//		server := brokertest.SharedNATS(t) // one for the whole test binary
//		...
//	}
//
//	func TestBrokerDies(t *testing.T) {
//		server := brokertest.NATS(t) // its own, to be killed
//		server.Kill(t)
//		server.Start(t) // the same port, the same data
//	}
//
// A shared server is looked for in this order: an address in ANYWIRE_TEST_NATS,
// ANYWIRE_TEST_REDIS, ANYWIRE_TEST_KAFKA or ANYWIRE_TEST_POSTGRES; then Docker Compose with the
// repository's compose.yaml, where an engine answers and ANYWIRE_TEST_COMPOSE is
// not "no"; then a local process. A server that a test may kill is always a
// local process. What a local process needs is installed on first use into the
// user's cache folder under anywire/brokers (ANYWIRE_TEST_CACHE names another
// folder): nats-server is built from the module in go.mod; Kafka comes from
// Maven and runs on the machine's Java, which on Debian root installs; Redis is
// the redis-server in PATH, else Debian's package, unpacked into the cache and
// not installed; PostgreSQL is the newest below /usr/lib/postgresql or the one in
// PATH, else Debian's package likewise, and never runs as root.
//
// Nothing is skipped in silence: a broker that cannot be had fails the test,
// unless ANYWIRE_TEST_SKIP names it ("kafka", "nats,redis"). Each server and
// each skip is logged with its version, and [Runner] repeats them at the end;
// ANYWIRE_TEST_REPORT names a file that the same lines are appended to, for a
// summary over several test binaries.
//
// Ports are free ones, data lives in temporary folders, and the processes die
// with the test; on Linux also when the test binary is killed. Several test
// binaries may start at once: installs and ports are guarded by file locks.
//
// [Up] and [Down] keep servers between test runs.
package brokertest
