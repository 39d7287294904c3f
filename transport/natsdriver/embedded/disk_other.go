//go:build !linux && !darwin && !freebsd && !windows

package embedded

import "errors"

func freeBytes(string) (uint64, error) { return 0, errors.ErrUnsupported }
