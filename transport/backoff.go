package transport

import (
	"math/rand/v2"
	"time"
)

// backoff spaces calls to a broker that fails: from 50 ms to 5 s, with jitter.
type backoff struct{ last time.Duration }

// wait blocks, and reports whether it was not cut short by over.
func (b *backoff) wait(over <-chan struct{}) bool {
	b.last = min(max(2*b.last, 50*time.Millisecond), 5*time.Second)
	timer := time.NewTimer(b.last/2 + rand.N(b.last/2+1))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-over:
		return false
	}
}
