package backoff_test

import (
	"math"
	"testing"
	"time"

	"github.com/anywire/anywire/internal/backoff"
)

func TestDelay(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		shortest, longest time.Duration
		n                 int
		want              time.Duration
	}{
		{time.Second, time.Minute, 0, time.Second},
		{time.Second, time.Minute, 3, 8 * time.Second},
		{time.Second, 8 * time.Second, 3, 8 * time.Second},
		{time.Second, time.Minute, 6, time.Minute},
		{time.Second, time.Minute, 1_000_000, time.Minute},
		{time.Minute, time.Second, 0, time.Second},
		{time.Second, math.MaxInt64, 100, math.MaxInt64},
	} {
		if got := backoff.Delay(c.shortest, c.longest, c.n); got != c.want {
			t.Errorf("Delay(%v, %v, %d) = %v, want %v", c.shortest, c.longest, c.n, got, c.want)
		}
	}
}
