package router

import (
	"math/rand/v2"
	"time"

	formula "github.com/anywire/anywire/internal/backoff"
)

// backoff is an exponential wait between bounds, with jitter.
type backoff struct{ min, max time.Duration }

// stallBackoff is the wait between tries to publish what must not be lost.
var stallBackoff = backoff{100 * time.Millisecond, 30 * time.Second} //nolint:gochecknoglobals // a constant

// delay is the wait before retry n, from 0.
func (b backoff) delay(n int) time.Duration {
	d := formula.Delay(b.min, b.max, n)
	return d + rand.N(time.Duration(float64(d)*formula.Jitter)+1)
}
