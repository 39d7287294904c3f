package brokertest

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestUpAndDown(t *testing.T) {
	shareInstalled(t)
	first, second := up(t), up(t)
	t.Cleanup(func() { _ = Down(io.Discard) })
	if first != second || !strings.HasPrefix(first, "export ANYWIRE_TEST_NATS=nats://127.0.0.1:") {
		t.Fatalf("up prints %q, and %q when it is up", first, second)
	}
	url := strings.TrimSpace(strings.TrimPrefix(first, "export ANYWIRE_TEST_NATS="))
	server, err := attach(t.Context(), natsKind{}, url)
	if err != nil {
		t.Fatal(err)
	}
	state, err := readState(statePath(os.Getenv("ANYWIRE_TEST_CACHE"), natsKind{}))
	if err != nil || state.Version != server.Version {
		t.Fatalf("the state is %+v, %v", state, err)
	}

	var messages bytes.Buffer
	if err := Down(&messages, "nats", "kafka"); err != nil {
		t.Fatal(err)
	}
	if got := messages.String(); !strings.Contains(got, url+" is down") || !strings.Contains(got, "kafka was not up") {
		t.Errorf("down prints %q", got)
	}
	if _, err := server.probe(t.Context()); err == nil || exists(state.Dir) {
		t.Errorf("after down the server answers (%v) or its data is there (%v)", err, exists(state.Dir))
	}
}

func TestUpAfterItDied(t *testing.T) {
	shareInstalled(t)
	up(t)
	t.Cleanup(func() { _ = Down(io.Discard) })
	path := statePath(os.Getenv("ANYWIRE_TEST_CACHE"), natsKind{})
	dead, err := readState(path)
	if err != nil {
		t.Fatal(err)
	}
	if gone, err := endHolder(path+".lock", dead.PID, syscall.SIGKILL); !gone || err != nil {
		t.Fatalf("killed: %v, %v", gone, err)
	}
	up(t)
	if alive, err := readState(path); err != nil || alive.PID == dead.PID {
		t.Errorf("the state is %+v, %v after another up", alive, err)
	}
	if exists(dead.Dir) {
		t.Error("the dead server's data is still there")
	}
}

func TestUnknownBroker(t *testing.T) {
	t.Parallel()
	if err := Up(t.Context(), io.Discard, io.Discard, "rabbit"); err == nil || !strings.Contains(err.Error(), "kafka") {
		t.Errorf("error %v does not list the brokers", err)
	}
}

func up(t *testing.T) (exports string) {
	t.Helper()
	var out bytes.Buffer
	if err := Up(t.Context(), &out, t.Output(), "nats"); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// shareInstalled gives the test a cache of its own with nats-server in it.
func shareInstalled(t *testing.T) {
	t.Helper()
	cache, err := cacheDir()
	if err != nil {
		t.Fatal(err)
	}
	binary, err := natsKind{}.install(t.Context(), t.Logf, cache)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("ANYWIRE_TEST_NATS", "")
	t.Setenv("ANYWIRE_TEST_SKIP", "")
	t.Setenv("ANYWIRE_TEST_COMPOSE", "no")
	t.Setenv("ANYWIRE_TEST_CACHE", t.TempDir())
	if err := os.Symlink(binary, filepath.Join(os.Getenv("ANYWIRE_TEST_CACHE"), filepath.Base(binary))); err != nil {
		t.Fatal(err)
	}
}
