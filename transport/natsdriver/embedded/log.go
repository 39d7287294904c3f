package embedded

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"syscall"

	"github.com/nats-io/nats-server/v2/server"
)

// serverLog takes the server's log: warnings and errors go on, and what tells of
// a folder that cannot be written wakes the host. There is no other word of it:
// the server keeps silent to the publisher.
type serverLog struct {
	log    *slog.Logger
	broken chan breakage // one is kept

	mu   sync.Mutex
	dead error
}

// breakage is that the folder could not be written.
type breakage struct{ err error }

var _ server.Logger = (*serverLog)(nil)

func newServerLog(log *slog.Logger) *serverLog {
	return &serverLog{log: log, broken: make(chan breakage, 1)}
}

func (l *serverLog) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dead = nil
	select {
	case <-l.broken:
	default:
	}
}

// fatal is what the server could not start for.
func (l *serverLog) fatal() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dead
}

// Noticef drops the server's progress.
func (l *serverLog) Noticef(string, ...any) {}

// Debugf drops details.
func (l *serverLog) Debugf(string, ...any) {}

// Tracef drops the protocol.
func (l *serverLog) Tracef(string, ...any) {}

// Warnf passes a warning on.
func (l *serverLog) Warnf(format string, v ...any) {
	l.log.Warn("embedded NATS", "message", fmt.Sprintf(format, v...))
}

// Errorf passes an error on, and looks whether it is one of the folder.
func (l *serverLog) Errorf(format string, v ...any) {
	for _, arg := range v {
		err, isError := arg.(error)
		if !isError {
			continue
		}
		if errno, ok := errors.AsType[syscall.Errno](err); ok && ofStorage(errno) {
			select {
			case l.broken <- breakage{err}:
			default:
			}
		}
	}
	l.log.Error("embedded NATS", "message", fmt.Sprintf(format, v...))
}

func ofStorage(errno syscall.Errno) bool {
	switch errno {
	case syscall.ENOSPC, syscall.EIO, syscall.EROFS, syscall.EDQUOT, syscall.EFBIG:
		return true
	}
	return false
}

// Fatalf keeps why the server cannot run; it must not end the process.
func (l *serverLog) Fatalf(format string, v ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dead = fmt.Errorf(format, v...) //nolint:err113 // the server's words
}
