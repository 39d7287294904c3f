//go:build unix && !solaris && !aix

package journal

import (
	"os"
	"syscall"
	"time"
)

// lock lasts until the file is closed or its process dies. It tries for half a
// second: a process that is being started holds for a moment what its parent has just
// let go.
func lock(f *os.File) error {
	deadline := time.Now().Add(500 * time.Millisecond)
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil || time.Now().After(deadline) {
			return err
		}
		<-time.After(10 * time.Millisecond)
	}
}
