//go:build unix

package brokertest

import (
	"fmt"
	"os"
	"syscall"
)

const (
	sigStop   = syscall.SIGSTOP
	sigCont   = syscall.SIGCONT
	sigReload = syscall.SIGHUP
)

// detached lets a child outlive this process and its terminal.
func detached() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

// become adds to attr whom the child runs as.
func (a *account) become(attr *syscall.SysProcAttr) *syscall.SysProcAttr {
	if a == nil {
		return attr
	}
	if attr == nil {
		attr = &syscall.SysProcAttr{}
	}
	attr.Credential = &syscall.Credential{Uid: a.uid, Gid: a.gid}
	return attr
}

// lockFile takes the advisory lock of f: at once or not at all (held), or
// waiting for it. It is held until every copy of f is closed, a child's too.
func lockFile(f *os.File, wait bool) (held bool, err error) {
	how := syscall.LOCK_EX
	if !wait {
		how |= syscall.LOCK_NB
	}
	for {
		err = syscall.Flock(int(f.Fd()), how)
		switch err {
		case nil:
			return false, nil
		case syscall.EINTR:
		case syscall.EWOULDBLOCK:
			return true, nil
		default:
			return false, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
	}
}
