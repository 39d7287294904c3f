package envelope

import (
	"strconv"
	"strings"
)

const (
	maxTypeName = 100
	maxVersion  = 999_999
)

// ParseType splits a wire type, "name@version", into its parts.
//
// A name is one or more words joined by dots; a word begins with a letter and
// goes on with letters, digits, '_' and '-', all of them lower case ASCII; a name
// has at most 100 bytes. A version is a decimal number from 1 to 999999 without
// leading zeros. Errors have code [Invalid] and say what is wrong.
func ParseType(wire string) (name string, version int, err error) {
	name, digits, err := splitType(wire, "name@version")
	if err != nil {
		return "", 0, err
	}
	version, ok := parseVersion(digits)
	if !ok {
		return "", 0, invalid("wire type %s: version %s is not a number from 1 to %d", quote(wire), quote(digits), maxVersion)
	}
	return name, version, nil
}

// ParseTypeRange splits "name@low..high", or "name@version" for a range of one,
// into its parts. Both ends belong to the range.
func ParseTypeRange(wire string) (name string, low, high int, err error) {
	name, digits, err := splitType(wire, "name@low..high")
	if err != nil {
		return "", 0, 0, err
	}
	from, to, isRange := strings.Cut(digits, "..")
	if !isRange {
		to = from
	}
	low, okLow := parseVersion(from)
	high, okHigh := parseVersion(to)
	if !okLow || !okHigh {
		return "", 0, 0, invalid("type range %s: versions are numbers from 1 to %d, as in name@2 or name@1..2", quote(wire), maxVersion)
	}
	if low > high {
		return "", 0, 0, invalid("type range %s: %d is greater than %d", quote(wire), low, high)
	}
	return name, low, high, nil
}

// FormatType joins a name and a version to a wire type.
func FormatType(name string, version int) string {
	return name + "@" + strconv.Itoa(version)
}

// splitType cuts a wire type at its '@' and checks the name.
func splitType(wire, form string) (name, rest string, err error) {
	name, rest, ok := strings.Cut(wire, "@")
	if !ok {
		return "", "", invalid("wire type %s has no version: write %s", quote(wire), form)
	}
	if len(name) > maxTypeName {
		return "", "", invalid("wire type %s: the name has %d bytes, at most %d are allowed", quote(wire), len(name), maxTypeName)
	}
	if !isTypeName(name) {
		return "", "", invalid("wire type %s: the name must be words joined by dots, each of them "+
			"a letter and then letters, digits, '_' and '-', all lower case", quote(wire))
	}
	return name, rest, nil
}

// isTypeName reports whether name is words joined by dots.
func isTypeName(name string) bool {
	start := true // of a word
	for i := range len(name) {
		switch c := name[i]; {
		case c >= 'a' && c <= 'z':
			start = false
		case start:
			return false
		case c == '.':
			start = true
		case c >= '0' && c <= '9', c == '_', c == '-':
		default:
			return false
		}
	}
	return !start
}

// parseVersion reads a version in its one spelling.
func parseVersion(digits string) (int, bool) {
	n, ok := parseCount(digits)
	return n, ok && n >= 1 && n <= maxVersion
}

// parseCount reads a decimal number from 0 to 2^31-1 without sign and leading
// zeros.
func parseCount(digits string) (int, bool) {
	const most = 1<<31 - 1
	if digits == "" || len(digits) > 10 || len(digits) > 1 && digits[0] == '0' {
		return 0, false
	}
	n := 0
	for i := range len(digits) {
		c := digits[i]
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, n <= most
}
