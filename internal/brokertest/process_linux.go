package brokertest

import "syscall"

// dieWithParent has the kernel kill the child when the test binary dies,
// however it dies, and keeps the terminal's Ctrl-C from it.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
