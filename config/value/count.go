package value

import (
	"encoding"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Count is a number of things. Its text is a whole number, or one with k, M or G
// for thousands, millions and thousands of millions, such as 500k or 1M.
type Count int

var (
	_ encoding.TextMarshaler   = Count(0)
	_ encoding.TextUnmarshaler = (*Count)(nil)
)

// ParseCount reads the text of a count. It refuses what is negative, no whole
// number, or does not fit.
func ParseCount(text string) (Count, error) {
	trimmed := strings.TrimSpace(text)
	factor := int64(1)
	for suffix, times := range map[string]int64{"k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9} {
		if digits, ok := strings.CutSuffix(trimmed, suffix); ok {
			trimmed, factor = digits, times
			break
		}
	}
	n, err := strconv.ParseInt(trimmed, 10, 64)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%q is not a count: write a whole number such as 500, 500k or 1M", text)
	case n < 0:
		return 0, fmt.Errorf("count %q is negative: counts are 0 or more", text)
	case n > math.MaxInt64/factor:
		return 0, fmt.Errorf("count %q is too large", text)
	}
	return Count(n * factor), nil
}

// String answers the number with the largest unit that leaves it whole.
func (c Count) String() string {
	for _, unit := range []struct {
		name  string
		times Count
	}{{"G", 1e9}, {"M", 1e6}, {"k", 1e3}} {
		if c != 0 && c%unit.times == 0 {
			return strconv.Itoa(int(c/unit.times)) + unit.name
		}
	}
	return strconv.Itoa(int(c))
}

// MarshalText answers what String does.
func (c Count) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads what ParseCount does.
func (c *Count) UnmarshalText(text []byte) error {
	parsed, err := ParseCount(string(text))
	if err != nil {
		return err
	}
	*c = parsed
	return nil
}
