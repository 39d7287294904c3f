package value

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Day is 24 hours. A day of a configuration file knows no daylight saving.
const Day = 24 * time.Hour

// Duration is a time.Duration whose text may count in days: 7d, 1d12h, 1h30m,
// 500ms. A number without a unit is refused, except 0.
type Duration time.Duration

var (
	_ encoding.TextMarshaler   = Duration(0)
	_ encoding.TextUnmarshaler = (*Duration)(nil)
)

// ParseDuration reads the text of a duration. It refuses what is negative, has
// no unit or an unknown one, or does not fit (292 years).
func ParseDuration(text string) (Duration, error) {
	trimmed := strings.TrimSpace(text)
	switch {
	case trimmed == "":
		return 0, errors.New("an empty text is not a duration: write one such as 30s or 7d")
	case strings.HasPrefix(trimmed, "-"):
		return 0, fmt.Errorf("duration %q is negative: durations are 0 or more", text)
	case trimmed != "0" && isNumber(trimmed):
		return 0, fmt.Errorf("duration %q has no unit: write %ss, or another of ms, s, m, h, d", text, trimmed)
	}
	days, rest := splitDays(trimmed)
	total, err := parseDays(days)
	if err == nil && rest != "" {
		var more time.Duration
		more, err = parseClock(rest)
		if more > math.MaxInt64-total {
			err = errTooLong
		}
		total += more
	}
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration: write one such as 500ms, 30s, 1h30m or 7d, at most 292 years", text)
	}
	return Duration(total), nil
}

var errTooLong = errors.New("too long")

// splitDays cuts 1d12h into 1 and 12h. Without days the first part is empty.
func splitDays(text string) (days, rest string) {
	if before, after, found := strings.Cut(text, "d"); found {
		return before + "d", after
	}
	return "", text
}

func parseDays(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseFloat(strings.TrimSuffix(text, "d"), 64)
	if err != nil || !isNumber(strings.TrimSuffix(text, "d")) {
		return 0, fmt.Errorf("%q is not a number of days", text)
	}
	if n*float64(Day) >= math.MaxInt64 {
		return 0, errTooLong
	}
	return time.Duration(n * float64(Day)), nil
}

// parseClock reads what is not days. A sign has no place in it.
func parseClock(text string) (time.Duration, error) {
	if strings.HasPrefix(text, "-") || strings.HasPrefix(text, "+") {
		return 0, fmt.Errorf("%q has a sign", text)
	}
	return time.ParseDuration(text)
}

// isNumber reports whether text is digits with at most one point.
func isNumber(text string) bool {
	whole, frac, found := strings.Cut(text, ".")
	return isDigits(whole) && (!found || isDigits(frac))
}

// Std answers the duration as the standard library has it.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String answers the shortest exact text: 7d, 1h30m, 2m, 500ms.
func (d Duration) String() string {
	rest := time.Duration(d)
	if rest == 0 {
		return "0s"
	}
	sign := ""
	if rest < 0 {
		sign, rest = "-", -rest
	}
	if rest < 0 { // The least int64 has no positive twin.
		return time.Duration(d).String()
	}
	days := int64(rest / Day)
	rest %= Day
	text := ""
	if days > 0 {
		text = strconv.FormatInt(days, 10) + "d"
	}
	return sign + text + clock(rest)
}

// clock writes what is shorter than a day, without the zero minutes and
// seconds that time.Duration adds.
func clock(d time.Duration) string {
	if d == 0 {
		return ""
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// MarshalText answers what String does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what ParseDuration does.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := ParseDuration(string(text))
	if err != nil {
		return err
	}
	*d = parsed
	return nil
}
