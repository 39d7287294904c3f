//go:build unix && !linux

package brokertest

import "syscall"

// dieWithParent leaves the child in the group of the test binary: what ends the
// group ends it too. A test binary that is killed alone leaves it behind.
func dieWithParent() *syscall.SysProcAttr { return nil }

// childrenOf is not known.
func childrenOf(int) []int { return nil }

// awaitStopped trusts that the signal has arrived.
func awaitStopped(int) error { return nil }
