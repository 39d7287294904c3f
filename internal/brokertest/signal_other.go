//go:build !unix

package brokertest

import (
	"errors"
	"os"
	"syscall"
)

// Without signals and file locks no local process is started: name running
// servers in the environment.
const (
	sigStop   = syscall.SIGKILL
	sigCont   = syscall.SIGKILL
	sigReload = syscall.SIGKILL
)

func detached() *syscall.SysProcAttr      { return nil }
func dieWithParent() *syscall.SysProcAttr { return nil }
func awaitStopped(int) error              { return nil }
func childrenOf(int) []int                { return nil }

func (*account) become(attr *syscall.SysProcAttr) *syscall.SysProcAttr { return attr }

func lockFile(*os.File, bool) (held bool, err error) {
	return false, errors.New("local broker processes need a Unix system: set ANYWIRE_TEST_NATS, _REDIS, _KAFKA and _POSTGRES")
}
