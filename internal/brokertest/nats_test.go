package brokertest

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func TestNATSKeepsDataOverKill(t *testing.T) {
	t.Parallel()
	server := NATS(t)
	js := connect(t, server)
	_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "s", []byte("kept")); err != nil {
		t.Fatal(err)
	}
	url := server.URL

	server.Kill(t)
	if _, err := server.probe(t.Context()); err == nil {
		t.Fatal("a killed server answers")
	}
	server.Kill(t) // harmless
	server.Start(t)

	if server.URL != url {
		t.Fatalf("after the restart it is at %s, want %s", server.URL, url)
	}
	stream, err := connect(t, server).Stream(t.Context(), "S")
	if err != nil {
		t.Fatal(err)
	}
	msg, err := stream.GetLastMsgForSubject(t.Context(), "s")
	if err != nil || string(msg.Data) != "kept" {
		t.Fatalf("got %v, %v after the restart, want the message", msg, err)
	}
}

func TestNATSStopAndPause(t *testing.T) {
	t.Parallel()
	server := NATS(t, "max_payload: 2MB")
	if server.Version == "" || strings.HasPrefix(server.Version, "v") {
		t.Errorf("version is %q", server.Version)
	}

	server.Pause(t)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := server.probe(ctx); err == nil {
		t.Error("a paused server answers")
	}
	server.Resume(t)
	if _, err := server.probe(t.Context()); err != nil {
		t.Errorf("a resumed server does not answer: %v", err)
	}
	server.Pause(t)
	server.Stop(t) // also ends a paused one
	if _, err := server.probe(t.Context()); err == nil {
		t.Error("a stopped server answers")
	}
}

func TestSharedNATSIsOne(t *testing.T) {
	t.Parallel()
	first, own := SharedNATS(t), NATS(t)
	if second := SharedNATS(t); first != second {
		t.Error("two shared servers")
	}
	if own == first || own.URL == first.URL {
		t.Errorf("the test's own server at %s is the shared one", own.URL)
	}
	if !strings.Contains(first.String(), "nats 2.") {
		t.Errorf("the server is called %q", first)
	}
}

// TestServersDieWithTheirParent runs this binary again, as one that starts a
// server and is then killed.
func TestServersDieWithTheirParent(t *testing.T) {
	if addressFile := os.Getenv("BROKERTEST_CHILD"); addressFile != "" {
		server := NATS(t)
		if err := os.WriteFile(addressFile+".part", []byte(server.Addrs[0]), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(addressFile+".part", addressFile); err != nil {
			t.Fatal(err)
		}
		select {}
	}
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux ends the children of a killed process")
	}
	addressFile := filepath.Join(t.TempDir(), "address")
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	child.Env = append(os.Environ(), "BROKERTEST_CHILD="+addressFile, "TMPDIR="+t.TempDir())
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var addr []byte
	eventually(t, time.Minute, "the child has no server", func() bool {
		var err error
		addr, err = os.ReadFile(addressFile)
		return err == nil
	})
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // killed
	eventually(t, 10*time.Second, "the server outlives its parent", func() bool {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", string(addr))
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	})
}

func connect(t *testing.T, server *Server) jetstream.JetStream {
	t.Helper()
	conn, err := nats.Connect(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func eventually(t *testing.T, within time.Duration, complaint string, holds func() bool) {
	t.Helper()
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("%s after %v", complaint, within)
		}
	}
}
