package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// restartWait is how long a worker stays away after it has died.
const restartWait = 200 * time.Millisecond

// supervised is a worker process that is started again whenever it ends, as a
// supervisor does in production.
type supervised struct {
	role role

	mu      sync.Mutex
	process *exec.Cmd
	stdin   io.Closer
	said    bytes.Buffer // on stderr, since the last start
	stopped bool
	ended   chan struct{}
	failure error // a start that failed
}

func supervise(r role) *supervised {
	s := &supervised{role: r, ended: make(chan struct{})}
	go s.run()
	return s
}

func (s *supervised) run() {
	defer close(s.ended)
	for {
		cmd, err := s.start()
		if err != nil || cmd == nil {
			s.mu.Lock()
			s.failure = err
			s.mu.Unlock()
			return
		}
		_ = cmd.Wait()
		time.Sleep(restartWait) //nolint:forbidigo // a supervisor waits, whatever happens
	}
}

// start starts the process, unless it was stopped for good.
func (s *supervised) start() (*exec.Cmd, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return nil, nil
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("worker: %w", err)
	}
	text, err := json.Marshal(s.role)
	if err != nil {
		return nil, fmt.Errorf("worker: %w", err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), roleVariable+"="+string(text))
	s.said.Reset()
	cmd.Stderr = &s.said
	if s.stdin, err = cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("worker: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("worker: %w", err)
	}
	s.process = cmd
	return cmd, nil
}

func (s *supervised) signal(sig os.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != nil {
		_ = s.process.Process.Signal(sig) // it may just have ended
	}
}

func (s *supervised) kill() { s.signal(syscall.SIGKILL) }
func (s *supervised) end()  { s.signal(syscall.SIGTERM) }

func (s *supervised) pause(ctx context.Context, d time.Duration) {
	s.signal(syscall.SIGSTOP)
	_ = pause(ctx, d)
	s.signal(syscall.SIGCONT)
}

// calm has the worker drain, and come back without crashes of its own.
func (s *supervised) calm() {
	s.mu.Lock()
	s.role.Odds = 0
	s.mu.Unlock()
	s.end()
}

// stop ends it for good.
func (s *supervised) stop() error {
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	s.end()
	select {
	case <-s.ended:
	case <-time.After(20 * time.Second):
		s.kill()
		<-s.ended
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failure
}
