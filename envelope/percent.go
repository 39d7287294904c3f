package envelope

import "unicode/utf8"

// percentEncode writes value for brokers whose headers are ASCII: everything
// outside U+0021 to U+007E, and '"' and '%', as the escaped bytes of its UTF-8.
func percentEncode(value string) string {
	if isHeaderSafe(value) {
		return value
	}
	const upperHex = "0123456789ABCDEF"
	out := make([]byte, 0, 3*len(value))
	for i := range len(value) {
		c := value[i]
		if mustEscape(c) {
			out = append(out, '%', upperHex[c>>4], upperHex[c&15])
		} else {
			out = append(out, c)
		}
	}
	return string(out)
}

func mustEscape(c byte) bool { return c <= ' ' || c > '~' || c == '"' || c == '%' }

// percentDecode reads a value that was written by [percentEncode] or by someone
// who escaped more, or quoted the whole as HTTP allows. It decodes once. The
// reason is empty where it succeeded.
func percentDecode(value string) (decoded, reason string) {
	if isHeaderSafe(value) {
		return value, ""
	}
	if decoded, reason = unescape(unquote(value)); reason != "" {
		return "", reason
	}
	if !utf8.ValidString(decoded) {
		return "", "is not UTF-8 after percent-decoding"
	}
	return decoded, ""
}

func unescape(value string) (decoded, reason string) {
	out := make([]byte, 0, len(value))
	for i := 0; i < len(value); i++ {
		if value[i] != '%' {
			out = append(out, value[i])
			continue
		}
		if i+2 >= len(value) {
			return "", "ends within a percent escape"
		}
		high, low := unhex(value[i+1]), unhex(value[i+2])
		if high > 15 || low > 15 {
			return "", "has the bad percent escape " + quote(value[i:i+3])
		}
		out = append(out, high<<4|low)
		i += 2
	}
	return string(out), ""
}

// unhex is the value of a hexadecimal digit, or more than 15.
func unhex(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	default:
		return 255
	}
}

// unquote takes the quotes from a quoted-string of HTTP, and leaves everything
// else as it is.
func unquote(value string) string {
	if len(value) < 2 || value[0] != '"' || value[len(value)-1] != '"' {
		return value
	}
	inner := value[1 : len(value)-1]
	out := make([]byte, 0, len(inner))
	for i := 0; i < len(inner); i++ {
		if inner[i] == '\\' && i+1 < len(inner) {
			i++
		}
		out = append(out, inner[i])
	}
	return string(out)
}
