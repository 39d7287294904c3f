package router

import (
	"math/rand/v2"
	"time"
)

// backoff is an exponential wait between bounds. Jitter adds up to a fifth, so
// that what failed together is not repeated together.
type backoff struct{ min, max time.Duration }

// stallBackoff is the wait between tries to publish what must not be lost.
var stallBackoff = backoff{100 * time.Millisecond, 30 * time.Second} //nolint:gochecknoglobals // a constant

// delay is the wait before retry n, from 0.
func (b backoff) delay(n int) time.Duration {
	d := b.min
	for range n {
		if d >= b.max/2 {
			d = b.max
			break
		}
		d *= 2
	}
	return d + rand.N(d/5+1)
}
