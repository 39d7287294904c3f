package redisdriver

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// refusal is an error that the server answered.
type refusal string

func (r refusal) Error() string { return string(r) }

// RedisError makes it a redis.Error.
func (refusal) RedisError() {}

var errReply = errors.New("the server's reply cannot be read")

// resp reads a reply as it came. go-redis builds a map for each entry of a
// stream, which costs more than all else that happens to a message; here an
// entry's texts are parts of one string.
type resp struct {
	buf []byte
	at  int
	err error
}

// line returns the type of the next element, and what stands in its first line.
func (p *resp) line() (kind byte, rest []byte) {
	for i := p.at; p.err == nil && i+1 < len(p.buf); i++ {
		if p.buf[i] == '\r' && p.buf[i+1] == '\n' && i > p.at {
			kind, rest = p.buf[p.at], p.buf[p.at+1:i]
			p.at = i + 2
			return kind, rest
		}
	}
	p.fail()
	return 0, nil
}

func (p *resp) fail() {
	if p.err == nil {
		p.err = fmt.Errorf("%w: at byte %d of %d", errReply, p.at, len(p.buf))
	}
}

// number reads a length or an integer.
func (p *resp) number(text []byte) int {
	n, err := strconv.Atoi(string(text))
	if err != nil {
		p.fail()
	}
	return n
}

// length reads a number of elements, of which each takes some bytes.
func (p *resp) length(text []byte) int {
	n := p.number(text)
	if n > len(p.buf)-p.at {
		p.fail()
		return 0
	}
	return n
}

// array is the number of elements that follow; -1 for nil. Maps count twice.
func (p *resp) array() int {
	kind, rest := p.line()
	switch kind {
	case '*', '~':
		return p.length(rest)
	case '%':
		return 2 * p.length(rest)
	case '_':
		return -1
	case '$':
		if n := p.number(rest); n == -1 {
			return -1
		}
	case '-':
		p.err = refusal(rest)
		return 0
	}
	p.fail()
	return 0
}

// text is the place of a string in the reply; false for nil.
func (p *resp) text() (from, to int, ok bool) {
	start := p.at
	kind, rest := p.line()
	switch kind {
	case '$':
		n := p.number(rest)
		if n < 0 {
			return 0, 0, false
		}
		from, to = p.at, p.at+n
		if p.err != nil || to+2 > len(p.buf) {
			p.fail()
			return 0, 0, false
		}
		p.at = to + 2
		return from, to, true
	case '+', ':':
		return start + 1, p.at - 2, true
	case '_':
		return 0, 0, false
	case '-':
		p.err = refusal(rest)
		return 0, 0, false
	}
	p.fail()
	return 0, 0, false
}

// part is the place of a string that has to be there.
func (p *resp) part() (from, to int) {
	from, to, ok := p.text()
	if !ok {
		p.fail()
	}
	return from, to
}

// str copies the next string.
func (p *resp) str() string {
	from, to, _ := p.text()
	return string(p.buf[from:to])
}

// integer reads the next number.
func (p *resp) integer() int {
	from, to, ok := p.text()
	if !ok {
		return 0
	}
	return p.number(p.buf[from:to])
}

// entry is one of a stream. Its fields are valid until the next is read.
type entry struct {
	id     string
	fields []string // names and values in turn; nil: the entry was deleted
	count  int      // deliveries, where the reply tells
}

// entry reads [id, [name, value, …]], and [id, [name, value, …], count]. All its
// texts share one string, so that a message that is kept for long keeps no other.
func (p *resp) entry(spans []int, fields []string) (entry, []int, []string) {
	var e entry
	parts := p.array()
	start := p.at
	idFrom, idTo := p.part()
	n := p.array()
	spans, fields = spans[:0], fields[:0]
	for range n {
		from, to := p.part()
		if p.err != nil {
			return e, spans, fields
		}
		spans = append(spans, from-start, to-start)
	}
	if p.err != nil {
		return e, spans, fields
	}
	whole := string(p.buf[start:p.at])
	e.id = whole[idFrom-start : idTo-start]
	for i := 0; i < len(spans); i += 2 {
		fields = append(fields, whole[spans[i]:spans[i+1]])
	}
	if n >= 0 {
		e.fields = fields
	}
	e.count = 1
	if parts > 2 {
		e.count = p.integer()
	}
	return e, spans, fields
}

// isLost reports whether the server has no such group, or not even its stream.
func isLost(err error) bool {
	var r interface{ RedisError() }
	if !errors.As(err, &r) {
		return false
	}
	text := err.Error()
	return strings.Contains(text, "NOGROUP") || strings.Contains(text, "no such key") ||
		strings.Contains(text, "UNBLOCKED") || strings.Contains(text, "requires the key to exist")
}

// isFenced reports whether another reader of the shard came after this one.
func isFenced(err error) bool {
	return err != nil && strings.Contains(err.Error(), "FENCED")
}
