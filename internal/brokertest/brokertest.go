package brokertest

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// startTimeout bounds the start of one server, its first installation
// included: building nats-server takes up to two minutes, loading Kafka's jars
// depends on the network.
const startTimeout = 8 * time.Minute

// NATS starts a nats-server of the test's own, with JetStream that writes every
// message through to the disk, and ends it with the test. Lines of config are
// added to its configuration file.
func NATS(tb testing.TB, config ...string) *Server {
	tb.Helper()
	return own(tb, natsKind{}, config)
}

// Kafka starts a Kafka of the test's own, broker and controller in one process,
// and ends it with the test. It takes four seconds and more: prefer
// [SharedKafka] where the server is not harmed. Lines of properties are added
// to server.properties. Topics are not created automatically.
func Kafka(tb testing.TB, properties ...string) *Server {
	tb.Helper()
	return own(tb, kafkaKind{}, properties)
}

// SharedNATS is the NATS of this test binary: the one that ANYWIRE_TEST_NATS
// names, or a process that the first call starts and [Runner] ends. Tests must
// leave it running and use names of their own.
func SharedNATS(tb testing.TB) *Server {
	tb.Helper()
	return sharedServers.get(tb, natsKind{})
}

// Redis starts a Redis of the test's own and ends it with the test. Every
// command is on the disk before it is answered. Lines of config are added to
// redis.conf and win over what is there; with tls-cert-file among them the
// server speaks TLS only.
func Redis(tb testing.TB, config ...string) *Server {
	tb.Helper()
	return own(tb, redisKind{}, config)
}

// SharedRedis is like [SharedNATS] for Redis and ANYWIRE_TEST_REDIS.
func SharedRedis(tb testing.TB) *Server {
	tb.Helper()
	return sharedServers.get(tb, redisKind{})
}

// Postgres starts a PostgreSQL of the test's own and ends it with the test. Lines
// of config are added to postgresql.conf and win over what is there. Connections
// are served by processes of their own: Pause keeps new ones waiting and leaves
// open ones alone; Kill ends those processes too where the system tells them
// (Linux), and else leaves them a moment to notice.
func Postgres(tb testing.TB, config ...string) *Server {
	tb.Helper()
	return own(tb, postgresKind{}, config)
}

// SharedPostgres is like [SharedNATS] for PostgreSQL and ANYWIRE_TEST_POSTGRES.
func SharedPostgres(tb testing.TB) *Server {
	tb.Helper()
	return sharedServers.get(tb, postgresKind{})
}

// SharedKafka is like [SharedNATS] for Kafka and ANYWIRE_TEST_KAFKA.
func SharedKafka(tb testing.TB) *Server {
	tb.Helper()
	return sharedServers.get(tb, kafkaKind{})
}

// Runner wraps m for TestMain: after the tests it ends the shared servers and
// prints which servers were used and which were skipped. Give it to goleak or
// call its Run.
func Runner(m interface{ Run() int }) interface{ Run() int } { return runner{m} }

type runner struct{ tests interface{ Run() int } }

func (r runner) Run() int {
	code := r.tests.Run()
	sharedServers.end()
	sharedServers.summary(os.Stdout)
	return code
}

// registry holds what belongs to the test binary as a whole.
type registry struct {
	mu      sync.Mutex
	servers map[string]*sharedServer
	lines   []string // for the summary, in order of first use
}

type sharedServer struct {
	once   sync.Once
	server *Server
	err    error
}

// sharedServers is global because what it holds is one per process by its
// meaning, and tests have no other place that all of them reach.
var sharedServers = registry{servers: map[string]*sharedServer{}}

func (r *registry) get(tb testing.TB, k kind) *Server {
	tb.Helper()
	skipIfAsked(tb, k)
	r.mu.Lock()
	s := r.servers[k.name()]
	if s == nil {
		s = &sharedServer{}
		r.servers[k.name()] = s
	}
	r.mu.Unlock()

	s.once.Do(func() { s.server, s.err = find(tb.Logf, k) })
	if s.err != nil {
		tb.Fatalf("brokertest: %s: %v", k.name(), s.err)
	}
	s.server.announce(tb)
	return s.server
}

// find gives the server at the address in the environment, else one that Docker
// Compose runs, else a local process.
func find(logf logFunc, k kind) (*Server, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if address := os.Getenv(envOf(k)); address != "" {
		return attach(ctx, k, address)
	}
	if file, ok := composable(ctx); ok {
		s, err := compose(ctx, logf, k, file, "anywire-"+k.name()+"-"+strconv.FormatUint(rand.Uint64(), 36))
		if err == nil {
			return s, nil
		}
		logf("brokertest: %s becomes a local process, because Docker Compose cannot: %v", k.name(), err)
	}
	dir, err := os.MkdirTemp("", "anywire-"+k.name()+"-")
	if err != nil {
		return nil, fmt.Errorf("no folder for its data: %w", err)
	}
	s, err := launch(ctx, logf, k, dir, nil)
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	s.removeDir = true
	return s, nil
}

func (r *registry) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.servers {
		if s.server != nil {
			s.server.end()
		}
	}
	clear(r.servers)
}

// record notes a line once, for the summary and the report file.
func (r *registry) record(line string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.Contains(r.lines, line) {
		return nil
	}
	r.lines = append(r.lines, line)
	report := os.Getenv("ANYWIRE_TEST_REPORT")
	if report == "" {
		return nil
	}
	f, err := os.OpenFile(report, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("ANYWIRE_TEST_REPORT: %w", err)
	}
	defer func() { _ = f.Close() }()
	if _, err := f.WriteString(line + "\n"); err != nil {
		return fmt.Errorf("ANYWIRE_TEST_REPORT: %w", err)
	}
	return nil
}

func (r *registry) summary(w io.Writer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, line := range r.lines {
		_, _ = fmt.Fprintln(w, "brokertest:", line)
	}
}

// own starts a local process that lives as long as the test.
func own(tb testing.TB, k kind, extra []string) *Server {
	tb.Helper()
	skipIfAsked(tb, k)
	ctx, cancel := context.WithTimeout(tb.Context(), startTimeout)
	defer cancel()
	s, err := launch(ctx, tb.Logf, k, tb.TempDir(), extra)
	if err != nil {
		tb.Fatalf("brokertest: %s: %v", k.name(), err)
	}
	tb.Cleanup(s.end)
	s.announce(tb)
	return s
}

func skipIfAsked(tb testing.TB, k kind) {
	tb.Helper()
	if !skipped(k) {
		return
	}
	line := fmt.Sprintf("%s SKIPPED, because ANYWIRE_TEST_SKIP=%s", k.name(), os.Getenv("ANYWIRE_TEST_SKIP"))
	if err := sharedServers.record(line); err != nil {
		tb.Fatalf("brokertest: %v", err)
	}
	tb.Skip("brokertest: " + line)
}

func skipped(k kind) bool {
	for name := range strings.SplitSeq(os.Getenv("ANYWIRE_TEST_SKIP"), ",") {
		if strings.EqualFold(strings.TrimSpace(name), k.name()) {
			return true
		}
	}
	return false
}
