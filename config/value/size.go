package value

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Size is a number of bytes. Its text is a number with a unit, such as 900KiB,
// 1MiB or 1.5GB, or a plain number of bytes. KiB, MiB, GiB and TiB count in
// 1024, kB, MB, GB and TB in 1000; case does not matter.
type Size int64

// The units of a size.
const (
	Byte Size = 1

	KB = 1000 * Byte
	MB = 1000 * KB
	GB = 1000 * MB
	TB = 1000 * GB

	KiB = 1024 * Byte
	MiB = 1024 * KiB
	GiB = 1024 * MiB
	TiB = 1024 * GiB
)

var (
	_ encoding.TextMarshaler   = Size(0)
	_ encoding.TextUnmarshaler = (*Size)(nil)
)

// ParseSize reads the text of a size. It refuses what is negative, has an
// unknown unit, is no whole number of bytes, or does not fit.
func ParseSize(text string) (Size, error) {
	trimmed := strings.TrimSpace(text)
	if trimmed == "" {
		return 0, errors.New("an empty text is not a size: write one such as 1MiB or 900KiB")
	}
	if strings.HasPrefix(trimmed, "-") {
		return 0, fmt.Errorf("size %q is negative: sizes are 0 or more", text)
	}
	digits := strings.TrimRight(trimmed, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ")
	unit, ok := sizeUnit(strings.TrimSpace(trimmed[len(digits):]))
	if !ok {
		return 0, fmt.Errorf("size %q has the unknown unit %q: use B, KiB, MiB, GiB, TiB, kB, MB, GB or TB",
			text, strings.TrimSpace(trimmed[len(digits):]))
	}
	return sizeOf(text, digits, unit)
}

// sizeOf multiplies digits by unit without losing whole bytes to floating
// point.
func sizeOf(text, digits string, unit Size) (Size, error) {
	if n, err := strconv.ParseInt(digits, 10, 64); err == nil {
		if n > math.MaxInt64/int64(unit) {
			return 0, fmt.Errorf("size %q is too large: the largest is %d bytes", text, int64(math.MaxInt64))
		}
		return Size(n) * unit, nil
	}
	whole, frac, found := strings.Cut(digits, ".")
	if !found || !isDigits(whole) || !isDigits(frac) {
		if isDigits(digits) {
			return 0, fmt.Errorf("size %q is too large: the largest is %d bytes", text, int64(math.MaxInt64))
		}
		return 0, fmt.Errorf("%q is not a size: write one such as 1MiB, 900KiB or 1048576", text)
	}
	n, err := strconv.ParseFloat(digits, 64)
	bytes := n * float64(unit)
	switch {
	case err != nil || bytes >= math.MaxInt64:
		return 0, fmt.Errorf("size %q is too large: the largest is %d bytes", text, int64(math.MaxInt64))
	case bytes != math.Trunc(bytes):
		return 0, fmt.Errorf("size %q is no whole number of bytes", text)
	}
	return Size(bytes), nil
}

func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

func sizeUnit(name string) (Size, bool) {
	switch strings.ToLower(name) {
	case "", "b":
		return Byte, true
	case "kb":
		return KB, true
	case "mb":
		return MB, true
	case "gb":
		return GB, true
	case "tb":
		return TB, true
	case "kib":
		return KiB, true
	case "mib":
		return MiB, true
	case "gib":
		return GiB, true
	case "tib":
		return TiB, true
	}
	return 0, false
}

// String answers the shortest exact text: 1MiB, 900KiB, 1GB, 1500.
func (s Size) String() string {
	if s == 0 {
		return "0"
	}
	best := strconv.FormatInt(int64(s), 10)
	for _, u := range []struct {
		size Size
		name string
	}{{KiB, "KiB"}, {MiB, "MiB"}, {GiB, "GiB"}, {TiB, "TiB"}, {KB, "kB"}, {MB, "MB"}, {GB, "GB"}, {TB, "TB"}} {
		if s%u.size != 0 {
			continue
		}
		if text := strconv.FormatInt(int64(s/u.size), 10) + u.name; digitsOf(text) < digitsOf(best) {
			best = text
		}
	}
	return best
}

// digitsOf counts the digits of a size's text: fewer are easier to read.
func digitsOf(text string) int {
	return len(strings.TrimRight(text, "kKMGTiB"))
}

// MarshalText answers what String does.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what ParseSize does.
func (s *Size) UnmarshalText(text []byte) error {
	parsed, err := ParseSize(string(text))
	if err != nil {
		return err
	}
	*s = parsed
	return nil
}
