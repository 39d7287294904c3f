package faultproxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 30 * time.Second

func TestForwardsUntilBothHaveClosed(t *testing.T) {
	t.Parallel()
	for _, protocol := range []Protocol{Bytes, Redis, Kafka, NATS} { // what is no message of theirs passes, too
		proxy := New(t, protocol, echo(t))
		conn := dial(t, proxy)
		sent := bytes.Repeat([]byte("0123456789abcdef\r\n"), 1<<16)
		var group sync.WaitGroup
		group.Go(func() {
			if _, err := conn.Write(sent); err != nil {
				t.Error(err)
			}
			closeWrite(conn)
		})
		got, err := io.ReadAll(conn)
		if err != nil || !bytes.Equal(got, sent) {
			t.Errorf("protocol %d: sent %d bytes, got %d, %v", protocol, len(sent), len(got), err)
		}
		group.Wait()
		eventually(t, "no connection is left", func() bool { return proxy.Connections() == 0 })
	}
}

func TestCutResets(t *testing.T) {
	t.Parallel()
	proxy := New(t, Bytes, echo(t))
	old := dial(t, proxy)
	talk(t, old, "before")
	proxy.Cut()
	if _, err := old.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("an old connection: %v, want a reset", err)
	}
	talk(t, dial(t, proxy), "after")
	if n := proxy.Dials(); n != 2 {
		t.Errorf("%d dials, want 2", n)
	}
}

func TestRefuseLeavesOldConnections(t *testing.T) {
	t.Parallel()
	proxy := New(t, Bytes, echo(t))
	old := dial(t, proxy)
	talk(t, old, "before")
	proxy.Set(Faults{Refuse: true})
	if !refused(t, proxy) {
		t.Error("a new connection was not refused")
	}
	talk(t, old, "still there")
	proxy.Set(Faults{})
	talk(t, dial(t, proxy), "welcome")
}

// TestHoldIsOneWay: what is held arrives in order when the fault is over, and the
// other direction goes on.
func TestHoldIsOneWay(t *testing.T) {
	t.Parallel()
	heard := make(chan string, 10)
	proxy := New(t, Bytes, serve(t, func(conn net.Conn) {
		buffer := make([]byte, 100)
		for {
			n, err := conn.Read(buffer)
			if err != nil {
				return
			}
			heard <- string(buffer[:n])
			if _, err := conn.Write(buffer[:n]); err != nil {
				return
			}
		}
	}))
	conn := dial(t, proxy)
	proxy.Set(Faults{HoldReplies: true})
	send(t, conn, "1")
	if got := <-heard; got != "1" {
		t.Errorf("the server heard %q", got)
	}
	proxy.Set(Faults{HoldRequests: true})
	expect(t, conn, "1")
	send(t, conn, "2")
	if err := conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); !isTimeout(err) {
		t.Errorf("a black hole answers: %v", err)
	}
	if len(heard) > 0 {
		t.Errorf("the server heard %q through a black hole", <-heard)
	}
	proxy.Set(Faults{})
	expect(t, conn, "2")
}

func TestHeldConnectionEndsWithTheProxy(t *testing.T) {
	t.Parallel()
	proxy := New(t, Bytes, echo(t))
	proxy.Set(Faults{HoldRequests: true, HoldReplies: true})
	send(t, dial(t, proxy), "never")
	proxy.close() // hangs, if it does not
}

func TestLatencyAndSlices(t *testing.T) {
	t.Parallel()
	proxy := New(t, Bytes, echo(t))
	const latency = 30 * time.Millisecond
	proxy.Set(Faults{Latency: latency, Slice: 3})
	conn := dial(t, proxy)
	start := time.Now()
	var group sync.WaitGroup
	text := strings.Repeat("latency does not limit the throughput ", 300)
	group.Go(func() {
		for range 20 {
			send(t, conn, text)
		}
	})
	for range 20 {
		expect(t, conn, text)
	}
	group.Wait()
	if took := time.Since(start); took < 2*latency {
		t.Errorf("there and back in %v with a latency of %v", took, latency)
	}
}

// TestDropReply: replies before it arrive, the server has done what the client
// does not hear of, and those behind it are lost with the connection.
func TestDropReply(t *testing.T) {
	t.Parallel()
	server := newCounter()
	proxy := New(t, Redis, serve(t, server.serve))
	conn := dial(t, proxy)
	dropped := proxy.DropReply(2, Contains("xadd"))
	send(t, conn, respCommand("PING", "x")+respCommand("XADD", "a")+respCommand("xadd", "b"))
	expect(t, conn, "+PING 1\r\n+XADD 2\r\n")
	<-dropped
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("the reply was not dropped")
	}
	eventually(t, "the server has done all three", func() bool { return server.count() == 3 })
	again := dial(t, proxy)
	send(t, again, respCommand("XADD", "c"))
	expect(t, again, "+XADD 4\r\n")
}

func TestBreakRequest(t *testing.T) {
	t.Parallel()
	server := newCounter()
	proxy := New(t, Redis, serve(t, server.serve))
	conn := dial(t, proxy)
	broken := proxy.BreakRequest(1, Contains("XADD"))
	send(t, conn, respCommand("PING", "x"))
	expect(t, conn, "+PING 1\r\n")
	send(t, conn, respCommand("XADD", strings.Repeat("long", 1000)))
	<-broken
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("the connection lives")
	}
	send(t, dial(t, proxy), respCommand("PING", "y"))
	eventually(t, "the server goes on", func() bool { return server.count() == 2 })
}

func TestNewConnectionsGoToTheTarget(t *testing.T) {
	t.Parallel()
	proxy := New(t, Bytes, "")
	if !refused(t, proxy) {
		t.Error("a proxy without a target answers")
	}
	proxy.Target(echo(t))
	talk(t, dial(t, proxy), "hello")
}

func respCommand(args ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, arg := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(arg), arg)
	}
	return b.String()
}

// counter answers each command with its name and the number of commands so far.
type counter struct {
	mu sync.Mutex
	n  int
}

func newCounter() *counter { return &counter{} }

func (c *counter) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

func (c *counter) serve(conn net.Conn) {
	var pending []byte
	buffer := make([]byte, 100)
	for {
		n, err := conn.Read(buffer)
		if err != nil {
			return
		}
		pending = append(pending, buffer[:n]...)
		for len(pending) > 0 {
			size := respSize(pending)
			if size <= 0 {
				break
			}
			name := strings.Split(string(pending[:size]), "\r\n")[2]
			pending = pending[size:]
			c.mu.Lock()
			c.n++
			answer := fmt.Sprintf("+%s %d\r\n", name, c.n)
			c.mu.Unlock()
			if _, err := io.WriteString(conn, answer); err != nil {
				return
			}
		}
	}
}

// serve gives the address of a server that ends with the test.
func serve(t *testing.T, talk func(net.Conn)) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	group.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			group.Go(func() {
				defer func() { _ = conn.Close() }()
				talk(conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		group.Wait()
	})
	return listener.Addr().String()
}

func echo(t *testing.T) string {
	t.Helper()
	return serve(t, func(conn net.Conn) { _, _ = io.Copy(conn, conn) })
}

func dial(t *testing.T, proxy *Proxy) net.Conn {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", proxy.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// refused: a reset comes while the client connects, or right after.
func refused(t *testing.T, proxy *Proxy) bool {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", proxy.Addr())
	if err != nil {
		return true
	}
	defer func() { _ = conn.Close() }()
	_, err = conn.Read(make([]byte, 1))
	return err != nil
}

func send(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Error(err)
	}
}

func expect(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(text))
	if n, err := io.ReadFull(conn, got); err != nil || string(got) != text {
		t.Errorf("got %.100q, %v, want %.100q", got[:n], err, text)
	}
}

func talk(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	send(t, conn, text)
	expect(t, conn, text)
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}
