package embedded

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// host runs the server, and starts it again after trouble with the folder: a
// server that could not write once refuses to write for good.
type host struct {
	o      Options
	id     string
	opts   server.Options
	log    *serverLog
	lock   *folderLock // kept here, as long as the server runs: a file that is out of sight is closed
	closed chan struct{}
	once   sync.Once
	ended  chan struct{}

	mu      sync.Mutex
	running *server.Server
	bad     error // why it does not run
}

var _ nats.InProcessConnProvider = (*host)(nil)

const (
	readyPoll = 20 * time.Millisecond
	// roomPoll is how often the folder is tried while it cannot be written, and
	// room what must fit.
	roomPoll = 500 * time.Millisecond
	room     = 1 << 20
	// restartTimeout bounds one attempt to start again.
	restartTimeout = time.Minute
)

func newHost(ctx context.Context, o Options, p plan, lock *folderLock) (*host, error) {
	h := &host{o: o, id: ownerID(), lock: lock, log: newServerLog(o.Logger), closed: make(chan struct{}), ended: make(chan struct{})}
	h.opts = server.Options{
		ServerName: "anywire", NoSigs: true, DisableJetStreamBanner: true,
		DontListen: p.port == 0, Host: p.host, Port: p.port,
		JetStream: true, StoreDir: o.Dir, SyncAlways: p.interval == 0, SyncInterval: p.interval,
		MaxPayload: int32(o.MaxBody),
		// The disk is the limit: by default the server stops at three quarters of
		// what was free when it started.
		JetStreamMaxStore: math.MaxInt64 / 2,
	}
	if err := h.start(ctx); err != nil {
		return nil, err
	}
	go h.watch() //nolint:contextcheck // it outlives the ctx of Open
	return h, nil
}

// start runs a new server until ctx ends or it is ready.
func (h *host) start(ctx context.Context) error {
	opts := h.opts
	s, err := server.NewServer(&opts)
	if err != nil {
		return err
	}
	h.log.reset()
	s.SetLoggerV2(h.log, false, false, false)
	go s.Start()
	for !s.ReadyForConnections(readyPoll) {
		err := h.log.fatal()
		if err == nil && ctx.Err() != nil {
			err = fmt.Errorf("not ready in time: %w", context.Cause(ctx))
		}
		if err != nil {
			stop(s)
			return err
		}
	}
	if err := h.log.fatal(); err != nil {
		stop(s)
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.running, h.bad = s, nil
	return nil
}

func stop(s *server.Server) {
	s.Shutdown()
	s.WaitForShutdown()
}

// InProcessConn connects the driver, also anew after a restart.
func (h *host) InProcessConn() (net.Conn, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.running == nil {
		return nil, errors.Join(errors.New("the embedded server does not run"), h.bad)
	}
	return h.running.InProcessConn()
}

// Owner tells this possession of the folder from those before it. A store on the
// driver's connection asks for it: a folder has one owner at a time, so what was
// begun as another is over.
func (h *host) Owner() string { return h.id }

func ownerID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// trouble is why the folder cannot be written; nil if it can.
func (h *host) trouble() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.bad
}

// watch restarts the server when the folder could not be written and can again.
func (h *host) watch() {
	defer close(h.ended)
	for {
		select {
		case b := <-h.log.broken:
			h.halt(b.err)
			h.resume()
		case <-h.closed:
			return
		}
	}
}

// halt stops the server: what is not confirmed yet fails, with this reason.
func (h *host) halt(err error) {
	h.mu.Lock()
	s := h.running
	h.running = nil
	h.bad = fmt.Errorf("folder %s cannot be written, nothing that was confirmed is lost: make room or mend it, and the transport goes on: %w",
		h.o.Dir, err)
	h.mu.Unlock()
	h.o.Logger.Error("embedded transport stopped", "dir", h.o.Dir, "error", err)
	if s != nil {
		stop(s)
	}
}

func (h *host) resume() {
	ticker := time.NewTicker(roomPoll)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-h.closed:
			return
		}
		if tryFolder(h.o.Dir, room) != nil {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), restartTimeout)
		err := h.start(ctx)
		cancel()
		if err == nil {
			h.o.Logger.Info("embedded transport goes on", "dir", h.o.Dir)
			return
		}
	}
}

// tryFolder writes so many bytes and removes them.
func tryFolder(dir string, bytes int) (err error) {
	f, err := os.CreateTemp(dir, ".try-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	if _, err = f.Write(make([]byte, bytes)); err != nil {
		return err
	}
	return f.Sync()
}

func (h *host) close() {
	h.once.Do(func() { close(h.closed) })
	<-h.ended
	h.mu.Lock()
	s := h.running
	h.running = nil
	h.mu.Unlock()
	if s != nil {
		stop(s)
	}
}
