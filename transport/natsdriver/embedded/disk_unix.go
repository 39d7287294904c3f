//go:build linux || darwin || freebsd

package embedded

import "golang.org/x/sys/unix"

// freeBytes is the room that is left for us on a folder's disk.
func freeBytes(dir string) (uint64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return uint64(s.Bavail) * uint64(s.Bsize), nil //nolint:unconvert // their types differ between systems
}
