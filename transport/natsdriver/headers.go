package natsdriver

import (
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/anywire/anywire/transport/driver"
)

const (
	attributePrefix = "ce-"
	keyHeader       = attributePrefix + "partitionkey"
	// reserved are the server's own headers: some of them purge streams.
	reserved = "Nats-"

	dedupHeader    = "Nats-Msg-Id"
	expectedHeader = "Nats-Expected-Stream"
	pinHeader      = "Nats-Pin-Id"
)

// fill writes a message's headers into h. The slices of h share one array, so
// that a message costs one allocation at most; h and it may be used again once
// the message is written.
func fill(h nats.Header, values []string, m *driver.Message, stream string) ([]string, error) {
	clear(h)
	values = values[:0]
	if need := len(m.Headers) + 3; cap(values) < need {
		values = make([]string, 0, need)
	}
	set := func(name, value string) {
		values = append(values, value)
		n := len(values)
		h[name] = values[n-1 : n : n]
	}
	hasKey := false
	for i := range m.Headers {
		name, value := m.Headers[i].Name, m.Headers[i].Value
		if err := legal(name, value); err != nil {
			return values, err
		}
		hasKey = hasKey || name == keyHeader
		if before, again := h[name]; again {
			h[name] = append(before, value)
			continue
		}
		set(name, value)
	}
	if m.Key != "" && !hasKey {
		set(keyHeader, percent(m.Key))
	}
	if m.DedupID != "" {
		set(dedupHeader, m.DedupID)
	}
	set(expectedHeader, stream)
	return values, nil
}

// legal refuses what the client would change on the way, or the server act on.
func legal(name, value string) error {
	if name == "" || strings.ContainsAny(name, ": \t\r\n") {
		return fmt.Errorf("header name %q: NATS takes no empty name, colon or white space in it", name)
	}
	if len(name) >= len(reserved) && strings.EqualFold(name[:len(reserved)], reserved) {
		return fmt.Errorf("header %q: names that begin with %s belong to the server", name, reserved)
	}
	if value == "" {
		return nil
	}
	if strings.IndexByte(value, '\n') >= 0 || strings.IndexByte(value, '\r') >= 0 {
		return fmt.Errorf("header %q: its value holds a line break, which NATS cannot carry: percent-encode it", name)
	}
	if isBlank(value[0]) || isBlank(value[len(value)-1]) {
		return fmt.Errorf("header %q: its value begins or ends with white space, which NATS drops: percent-encode it", name)
	}
	return nil
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// headersOf takes a message's headers and its key out of what NATS delivers;
// the server's own stay behind.
func headersOf(h nats.Header) (headers []driver.Header, key string) {
	if len(h) == 0 {
		return nil, ""
	}
	headers = make([]driver.Header, 0, len(h))
	for name, values := range h {
		if strings.HasPrefix(name, reserved) {
			continue
		}
		for _, v := range values {
			headers = append(headers, driver.Header{Name: name, Value: v})
		}
		if name == keyHeader && len(values) > 0 {
			key = unpercent(values[0])
		}
	}
	return headers, key
}

// percent encodes as CloudEvents do in headers: all but visible ASCII, and
// space, double quote and percent.
func percent(s string) string {
	n := 0
	for i := range len(s) {
		if mustEncode(s[i]) {
			n++
		}
	}
	if n == 0 {
		return s
	}
	b := make([]byte, 0, len(s)+2*n)
	for i := range len(s) {
		if c := s[i]; mustEncode(c) {
			b = append(b, '%', hexDigits[c>>4], hexDigits[c&15])
		} else {
			b = append(b, c)
		}
	}
	return string(b)
}

func mustEncode(c byte) bool { return c <= ' ' || c >= 0x7f || c == '"' || c == '%' }

// unpercent decodes; what is no escape stays as it is, since saying so is the
// work of whoever reads the attributes.
func unpercent(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if c, err := unhex(s[i+1], s[i+2]); err == nil {
				b = append(b, c)
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}

var errNotHex = errors.New("not hexadecimal")

func unhex(hi, lo byte) (byte, error) {
	h, l := nibble(hi), nibble(lo)
	if h > 15 || l > 15 {
		return 0, errNotHex
	}
	return h<<4 | l, nil
}

func nibble(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 16
}
