package value

import (
	"encoding"
	"fmt"
	"strings"
)

// Range is a span of durations, both ends included. Its text is a..b, such as
// 500ms..1m; one duration alone is the range from it to itself.
type Range struct {
	Min, Max Duration
}

var (
	_ encoding.TextMarshaler   = Range{}
	_ encoding.TextUnmarshaler = (*Range)(nil)
)

// ParseRange reads the text of a range. It refuses one whose end lies before
// its beginning.
func ParseRange(text string) (Range, error) {
	from, to, found := strings.Cut(text, "..")
	if !found {
		to = from
	}
	lo, err := ParseDuration(from)
	if err != nil {
		return Range{}, rangeError(text, "beginning", err)
	}
	hi, err := ParseDuration(to)
	if err != nil {
		return Range{}, rangeError(text, "end", err)
	}
	if hi < lo {
		return Range{}, fmt.Errorf("range %q ends before it begins: write %s..%s", text, hi, lo)
	}
	return Range{Min: lo, Max: hi}, nil
}

func rangeError(text, part string, err error) error {
	if !strings.Contains(text, "..") {
		return fmt.Errorf("%q is not a range of durations: write one such as 500ms..1m: %w", text, err)
	}
	return fmt.Errorf("the %s of range %q: %w", part, text, err)
}

// IsZero reports whether no range is given.
func (r Range) IsZero() bool { return r == Range{} }

// String answers a..b, or one duration where both ends are the same.
func (r Range) String() string {
	if r.Min == r.Max {
		return r.Min.String()
	}
	return r.Min.String() + ".." + r.Max.String()
}

// MarshalText answers what String does.
func (r Range) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads what ParseRange does.
func (r *Range) UnmarshalText(text []byte) error {
	parsed, err := ParseRange(string(text))
	if err != nil {
		return err
	}
	*r = parsed
	return nil
}
