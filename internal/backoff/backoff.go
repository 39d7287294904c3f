// Package backoff has the one formula by which waits between retries grow: what
// the configuration explains is what the router does.
package backoff

import "time"

// Jitter is the part by which a wait may be longer than [Delay] says, so that
// what failed together is not repeated together.
const Jitter = 0.2

// Delay is the wait before retry n, from 0: shortest, doubled for each retry
// before it, and at most longest.
func Delay(shortest, longest time.Duration, n int) time.Duration {
	d := min(shortest, longest)
	for range n {
		if d > longest/2 {
			return longest
		}
		d *= 2
	}
	return d
}
