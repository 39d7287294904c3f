package transport

import (
	"math/rand/v2"
	"time"
)

// backoff spaces calls to a broker that fails: from 50 ms to 5 s, with jitter.
type backoff struct{ last time.Duration }

// next is how long to wait now.
func (b *backoff) next() time.Duration {
	b.last = min(max(2*b.last, 50*time.Millisecond), 5*time.Second)
	return b.last/2 + rand.N(b.last/2+1)
}

// wait blocks, and reports whether it was not cut short by over.
func (b *backoff) wait(over <-chan struct{}) bool {
	return pause(b.next(), over)
}

func pause(d time.Duration, over <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-over:
		return false
	}
}
