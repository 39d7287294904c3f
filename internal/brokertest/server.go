package brokertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Server is a running broker. Its methods may be called by several goroutines;
// those that act on the process fail the test on a server that was found by its
// address, for it is not ours.
type Server struct {
	// URL is what a client connects to: nats://HOST:PORT, redis://HOST:PORT/0
	// (rediss with TLS), postgres://USER@HOST:PORT/DATABASE, or for Kafka the seed brokers as HOST:PORT,HOST:PORT.
	URL string
	// Addrs are the host and port of each broker.
	Addrs []string
	// Version is what the server says it is. Kafka does not say it; for one
	// that was found by its address it is empty.
	Version string

	kind      kind
	dir       string
	ports     []*port
	command   command
	removeDir bool
	project   *project // where Docker Compose runs it

	mu   sync.Mutex
	proc *process // nil: not running, or not ours
}

type logFunc func(format string, args ...any)

const (
	stopTimeout  = 30 * time.Second
	readyTimeout = 60 * time.Second
	probeTimeout = 5 * time.Second
	probePause   = 25 * time.Millisecond
	logTail      = 16 << 10 // bytes of the server's log that a failed test prints
)

// attach uses a server that somebody else runs.
func attach(ctx context.Context, k kind, address string) (*Server, error) {
	s := &Server{kind: k, URL: address}
	for addr := range strings.SplitSeq(address, ",") {
		s.Addrs = append(s.Addrs, hostPort(addr))
	}
	version, err := s.ready(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("%s=%s: %w", envOf(k), address, err)
	}
	s.Version = version
	return s, nil
}

// hostPort is what is left of a URL without its scheme, user and path.
func hostPort(address string) string {
	address = strings.TrimSpace(address)
	if _, rest, found := strings.Cut(address, "://"); found {
		address = rest
	}
	address, _, _ = strings.Cut(address, "/")
	if at := strings.LastIndexByte(address, '@'); at >= 0 {
		address = address[at+1:]
	}
	return address
}

// launch installs what is missing and starts a process with its data in dir.
func launch(ctx context.Context, logf logFunc, k kind, dir string, extra []string) (*Server, error) {
	s, err := prepare(ctx, logf, k, dir, extra)
	if err != nil {
		return nil, err
	}
	if err := s.start(ctx); err != nil {
		s.end()
		return nil, err
	}
	return s, nil
}

// prepare does all that comes before the process: installation, ports,
// configuration, an empty store.
func prepare(ctx context.Context, logf logFunc, k kind, dir string, extra []string) (*Server, error) {
	cache, err := cacheDir()
	if err != nil {
		return nil, err
	}
	install, err := k.install(ctx, logf, cache)
	if err != nil {
		return nil, err
	}
	s := &Server{kind: k, dir: dir, Version: k.version()}
	numbers := make([]int, k.ports())
	for i := range numbers {
		p, err := reservePort(cache)
		if err != nil {
			s.end()
			return nil, err
		}
		s.ports = append(s.ports, p)
		numbers[i] = p.number
	}
	s.Addrs = []string{fmt.Sprintf("127.0.0.1:%d", numbers[0])}
	s.URL = k.url(s.Addrs[0], extra)
	if s.command, err = k.setUp(ctx, install, dir, numbers, extra); err != nil {
		s.end()
		return nil, err
	}
	return s, nil
}

// Start starts the server again after [Server.Kill] or [Server.Stop], on the
// same port and data, and returns when it serves.
func (s *Server) Start(tb testing.TB) {
	tb.Helper()
	s.mustBeOurs(tb)
	ctx, cancel := context.WithTimeout(tb.Context(), readyTimeout)
	defer cancel()
	if err := s.start(ctx); err != nil {
		tb.Fatalf("brokertest: %s: start again: %v", s.kind.name(), err)
	}
}

// Kill ends the process with SIGKILL and returns when it is gone. It is
// harmless on a server that does not run.
func (s *Server) Kill(tb testing.TB) {
	tb.Helper()
	s.mustBeOurs(tb)
	if err := s.signalAndWait(syscall.SIGKILL); err != nil {
		tb.Fatalf("brokertest: %s: kill: %v", s.kind.name(), err)
	}
}

// Stop asks the process to end, with SIGTERM or what else means that to it, and returns when it is gone, which a
// broker may take seconds for.
func (s *Server) Stop(tb testing.TB) {
	tb.Helper()
	s.mustBeOurs(tb)
	sig := syscall.SIGTERM
	if k, ok := s.kind.(stopper); ok {
		sig = k.stopSignal()
	}
	if err := s.signalAndWait(sig); err != nil {
		tb.Fatalf("brokertest: %s: stop: %v", s.kind.name(), err)
	}
}

// Pause stops the process with SIGSTOP and returns when it stands still: its
// connections stay open and nothing answers, until [Server.Resume].
func (s *Server) Pause(tb testing.TB) {
	tb.Helper()
	s.mustBeOurs(tb)
	if err := s.pause(); err != nil {
		tb.Fatalf("brokertest: %s: pause: %v", s.kind.name(), err)
	}
}

// Resume lets a paused process go on.
func (s *Server) Resume(tb testing.TB) {
	tb.Helper()
	s.mustBeOurs(tb)
	if err := s.signal(sigCont); err != nil {
		tb.Fatalf("brokertest: %s: resume: %v", s.kind.name(), err)
	}
}

// String names the server, its version and where it came from.
func (s *Server) String() string {
	version, origin := s.Version, "a local process"
	if version == "" {
		version = "of unknown version"
	}
	switch {
	case s.project != nil:
		origin = "Docker Compose"
	case s.dir == "":
		origin = envOf(s.kind)
	}
	return fmt.Sprintf("%s %s (%s)", s.kind.name(), version, origin)
}

// announce names the server in the test's log, and shows the server's own log
// if the test fails.
func (s *Server) announce(tb testing.TB) {
	tb.Helper()
	tb.Logf("brokertest: %v at %s", s, s.URL)
	if err := sharedServers.record(s.String()); err != nil {
		tb.Fatalf("brokertest: %v", err)
	}
	if s.dir == "" {
		return
	}
	from := s.logSize()
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("brokertest: log of %v at %s:\n%s", s, s.URL, s.log(from))
		}
	})
}

func (s *Server) mustBeOurs(tb testing.TB) {
	tb.Helper()
	if s.dir == "" {
		tb.Fatalf("brokertest: %v at %s is not ours to start or stop: take brokertest.NATS, Redis, Kafka or Postgres in this test", s, s.URL)
	}
}

func (s *Server) start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc != nil && s.proc.running() {
		return fmt.Errorf("it runs already at %s", s.URL)
	}
	version, err := s.startUntilReady(ctx)
	if err != nil {
		return fmt.Errorf("%w; the end of its log:\n%s", err, s.log(0))
	}
	if version != "" {
		s.Version = version
	}
	return nil
}

// startUntilReady starts the process, again where its kind says that this helps.
func (s *Server) startUntilReady(ctx context.Context) (version string, err error) {
	for {
		from := s.logSize()
		if s.proc, err = startProcess(s.command, s.logPath()); err != nil {
			return "", err
		}
		version, err = s.ready(ctx, s.proc)
		k, ok := s.kind.(restartist)
		if err == nil || s.proc.running() || !ok || !k.startAgain(s.log(from)) || ctx.Err() != nil {
			return version, err
		}
	}
}

// ready waits until every address answers as a broker that takes requests, or
// proc, if there is one, has ended.
func (s *Server) ready(ctx context.Context, proc *process) (version string, err error) {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	var ended <-chan struct{}
	if proc != nil {
		ended = proc.done
	}
	tick := time.NewTicker(probePause)
	defer tick.Stop()
	for {
		if version, err = s.probe(ctx); err == nil {
			return version, nil
		}
		select {
		case <-ended:
			return "", fmt.Errorf("the process ended before it was ready: %w", proc.err)
		case <-ctx.Done():
			return "", fmt.Errorf("%s does not answer as %s: %w", s.URL, s.kind.name(), err)
		case <-tick.C:
		}
	}
}

func (s *Server) probe(ctx context.Context) (version string, err error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	for _, addr := range s.Addrs {
		if version, err = s.kind.probe(ctx, s.URL, addr); err != nil {
			return "", err
		}
	}
	return version, nil
}

func (s *Server) signal(sig os.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		return errors.New("it does not run")
	}
	return s.proc.signal(sig)
}

func (s *Server) pause() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		return errors.New("it does not run")
	}
	if err := s.proc.signal(sigStop); err != nil {
		return err
	}
	return awaitStopped(s.proc.cmd.Process.Pid)
}

func (s *Server) signalAndWait(sig os.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		return nil
	}
	var children []int
	if sig == syscall.SIGKILL { // else the server ends them
		children = childrenOf(s.proc.cmd.Process.Pid)
	}
	if err := s.proc.end(sig, stopTimeout); err != nil {
		return err
	}
	for _, pid := range children {
		if child, err := os.FindProcess(pid); err == nil {
			_ = child.Kill() // it may have ended with its parent
		}
	}
	s.proc = nil
	return nil
}

// end kills the process or takes the containers down, if they are ours, and
// gives back the ports.
func (s *Server) end() {
	_ = s.signalAndWait(syscall.SIGKILL) // a process that survives SIGKILL cannot be helped
	if s.project != nil {
		_ = s.project.down() // what is left is shown by docker compose ls
	}
	s.releasePorts()
	if s.removeDir {
		_ = os.RemoveAll(s.dir) // a temporary folder: the system clears it
	}
}

func (s *Server) releasePorts() {
	for _, p := range s.ports {
		p.release()
	}
	s.ports = nil
}

func (s *Server) logPath() string { return filepath.Join(s.dir, "server.log") }

func (s *Server) logSize() int64 {
	info, err := os.Stat(s.logPath())
	if err != nil {
		return 0
	}
	return info.Size()
}

// log is the end of what the server logged after offset from.
func (s *Server) log(from int64) string {
	f, err := os.Open(s.logPath())
	if err != nil {
		return err.Error()
	}
	defer func() { _ = f.Close() }()
	if size := s.logSize(); size-from > logTail {
		from = size - logTail
	}
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		return err.Error()
	}
	var tail bytes.Buffer
	if _, err := io.Copy(&tail, f); err != nil {
		return err.Error()
	}
	return tail.String()
}

// dial opens a connection for a probe; it ends with ctx.
func dial(ctx context.Context, addr string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			_ = conn.Close()
			return nil, fmt.Errorf("connect to %s: %w", addr, err)
		}
	}
	return conn, nil
}
