//go:build unix && !solaris && !aix

package journal

import (
	"os"
	"syscall"
)

// lock lasts until the file is closed or its process dies.
func lock(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) }
