package brokertest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"time"
)

// command is how a server's process is started, again and again.
type command struct {
	path string
	args []string
	env  []string // added to that of this process
	dir  string
	as   *account // nil: this process's own
}

// process is a child that runs. A goroutine of its own starts it and waits for
// it.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it ended
	err  error         // how it ended; valid after done
}

// startProcess starts c with its output appended to the file logPath.
func startProcess(c command, logPath string) (*process, error) {
	log, err := openLog(logPath)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // the child has its own copy

	cmd := c.build(log)
	cmd.SysProcAttr = c.as.become(dieWithParent())
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The kernel ends the child with the thread that started it, not with
		// the process, so that thread has to stay.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = exitError(cmd.Wait())
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", c.path, err)
	}
	return p, nil
}

func (c command) build(log *os.File) *exec.Cmd {
	cmd := exec.CommandContext(context.Background(), c.path, c.args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = c.dir, log, log
	if len(c.env) > 0 {
		cmd.Env = append(os.Environ(), c.env...)
	}
	return cmd
}

func openLog(path string) (*os.File, error) {
	log, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the server's log: %w", err)
	}
	return log, nil
}

// exitError makes a clean exit an error too: a server that ends by itself is
// always unexpected.
func exitError(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}

func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

func (p *process) signal(sig os.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("signal %v to process %d: %w", sig, p.cmd.Process.Pid, err)
	}
	return nil
}

// end sends sig and waits until the process is gone. A paused process is woken,
// or it would not see the signal.
func (p *process) end(sig os.Signal, timeout time.Duration) error {
	if err := errors.Join(p.signal(sig), p.signal(sigCont)); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-p.done:
		return nil
	case <-timer.C:
		return fmt.Errorf("process %d still runs %v after %v", p.cmd.Process.Pid, timeout, sig)
	}
}
