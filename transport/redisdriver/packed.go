package redisdriver

import (
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/anywire/anywire/transport/driver"
)

// pack appends the attributes of a message as one JSON object of texts. What JSON
// cannot carry (no UTF-8, a name that comes twice) and what is no attribute is
// returned, to become fields of their own.
func pack(buf []byte, headers []driver.Header, key string, rest []driver.Header) ([]byte, []driver.Header) {
	start := len(buf)
	buf = append(buf, '{')
	hasKey := false
	for i := range headers {
		h := &headers[i]
		hasKey = hasKey || h.Name == keyField
		attribute, ok := attributeOf(h.Name)
		if !ok || !utf8.ValidString(h.Value) || !utf8.ValidString(attribute) || named(headers[:i], h.Name) {
			rest = append(rest, *h)
			continue
		}
		buf = appendMember(buf, len(buf) > start+1, attribute, h.Value)
	}
	switch {
	case key == "" || hasKey:
	case utf8.ValidString(key):
		buf = appendMember(buf, len(buf) > start+1, "partitionkey", key)
	default:
		rest = append(rest, driver.Header{Name: keyField, Value: key})
	}
	return append(buf, '}'), rest
}

func named(headers []driver.Header, name string) bool {
	for i := range headers {
		if headers[i].Name == name {
			return true
		}
	}
	return false
}

func appendMember(buf []byte, comma bool, name, value string) []byte {
	if comma {
		buf = append(buf, ',')
	}
	buf = appendText(buf, name)
	buf = append(buf, ':')
	return appendText(buf, value)
}

const hexDigits = "0123456789abcdef"

// appendText appends s, which is UTF-8, as a text of JSON.
func appendText(buf []byte, s string) []byte {
	buf = append(buf, '"')
	from := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		buf = append(buf, s[from:i]...)
		if c < ' ' {
			buf = append(buf, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		} else {
			buf = append(buf, '\\', c)
		}
		from = i + 1
	}
	return append(append(buf, s[from:]...), '"')
}

// unpack calls add for each attribute of a JSON object. Numbers and truth values
// count as they are written; null as absent. It is false, with nothing added, for
// what is no such object.
func unpack(text string, add func(name, value string)) bool {
	p := parser{rest: text}
	if !p.object(nil) {
		return false
	}
	p = parser{rest: text}
	return p.object(func(name, value string) { add(headerOf(name), value) })
}

// parser reads a flat JSON object without copying what has no escapes.
type parser struct{ rest string }

func (p *parser) object(add func(name, value string)) bool {
	if !p.token('{') {
		return false
	}
	if p.token('}') {
		return p.end()
	}
	for {
		name, ok := p.text()
		if !ok || name == "" || !p.token(':') {
			return false
		}
		value, null, ok := p.value()
		if !ok {
			return false
		}
		if add != nil && !null {
			add(name, value)
		}
		if p.token('}') {
			return p.end()
		}
		if !p.token(',') {
			return false
		}
	}
}

func (p *parser) space() { p.rest = strings.TrimLeft(p.rest, " \t\r\n") }

func (p *parser) end() bool {
	p.space()
	return p.rest == ""
}

func (p *parser) token(c byte) bool {
	p.space()
	if p.rest == "" || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

// value is a text, or the number or word as it is written.
func (p *parser) value() (value string, null, ok bool) {
	p.space()
	if strings.HasPrefix(p.rest, `"`) {
		value, ok = p.text()
		return value, false, ok
	}
	n := strings.IndexAny(p.rest, ",} \t\r\n")
	if n <= 0 || strings.ContainsAny(p.rest[:n], `{[":`) || !json.Valid([]byte(p.rest[:n])) {
		return "", false, false
	}
	value, p.rest = p.rest[:n], p.rest[n:]
	return value, value == "null", true
}

// text reads a quoted text.
func (p *parser) text() (string, bool) {
	if !p.token('"') {
		return "", false
	}
	escaped := false
	for i := 0; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c == '"':
			quoted := p.rest[:i]
			p.rest = p.rest[i+1:]
			if !escaped || !utf8.ValidString(quoted) {
				return quoted, !escaped && utf8.ValidString(quoted)
			}
			var s string
			err := json.Unmarshal([]byte(`"`+quoted+`"`), &s)
			return s, err == nil
		case c < ' ':
			return "", false
		case c == '\\':
			escaped = true
			i++
		}
	}
	return "", false
}
