package value

import (
	"encoding"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Rate is a number of times per second. Its text is a number and a time, such as
// 100/s, 5/m or 1000/h; a number alone is per second.
type Rate float64

var (
	_ encoding.TextMarshaler   = Rate(0)
	_ encoding.TextUnmarshaler = (*Rate)(nil)
)

// ParseRate reads the text of a rate. It refuses what is negative, no number, or
// per something else than s, m or h.
func ParseRate(text string) (Rate, error) {
	number, per, _ := strings.Cut(strings.TrimSpace(text), "/")
	n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
		return 0, fmt.Errorf("%q is not a rate: write one such as 100/s or 5/m", text)
	}
	if n < 0 {
		return 0, fmt.Errorf("rate %q is negative: rates are 0 or more", text)
	}
	span, ok := map[string]time.Duration{"": time.Second, "s": time.Second, "m": time.Minute, "h": time.Hour}[strings.TrimSpace(per)]
	if !ok {
		return 0, fmt.Errorf("rate %q is per %q: use s, m or h", text, strings.TrimSpace(per))
	}
	return Rate(n / span.Seconds()), nil
}

// String answers the rate per second, minute or hour, whichever has the fewest
// digits.
func (r Rate) String() string {
	best := ""
	for _, per := range []struct {
		name    string
		seconds float64
	}{{"s", 1}, {"m", 60}, {"h", 3600}} {
		text := strconv.FormatFloat(math.Round(float64(r)*per.seconds*1e6)/1e6, 'f', -1, 64) + "/" + per.name
		if best == "" || len(text) < len(best) {
			best = text
		}
	}
	return best
}

// MarshalText answers what String does.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads what ParseRate does.
func (r *Rate) UnmarshalText(text []byte) error {
	parsed, err := ParseRate(string(text))
	if err != nil {
		return err
	}
	*r = parsed
	return nil
}
