//go:build !unix

package main

import "testing"

// runUntilBrief needs a signal that this system does not have.
func runUntilBrief(t *testing.T, _, _ string) {
	t.Helper()
	t.Log("the program was not run: there is no SIGINT to send")
}
