package drivertest

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/anywire/anywire/transport/driver"
)

func contentCases() []Case {
	return []Case{
		{
			Name:     "content/body-bytes",
			Sentence: "A driver moves plain bytes: every value of a byte comes through.",
			run: func(e *env) {
				m := e.msg("key", "x")
				m.Body = make([]byte, 256)
				for i := range m.Body {
					m.Body[i] = byte(i)
				}
				e.roundTrip(m)
			},
		},
		{
			Name:     "content/no-body",
			Sentence: "Body: nil and empty are distinct where the broker can tell; neither is lost nor filled.",
			run:      contentNoBody,
		},
		{
			Name:     "content/headers",
			Sentence: "Header is one name and value as the broker carries it: values come back byte for byte.",
			run: func(e *env) {
				m := e.msg("key", "x")
				for i, v := range headerValues(e.caps.Headers) {
					m.Headers = append(m.Headers, e.header(fmt.Sprintf("x%d", i), v))
				}
				e.roundTrip(m)
			},
		},
		{
			Name:     "content/empty-header",
			Sentence: "Header is one name and value: an empty value is not a missing header.",
			run: func(e *env) {
				m := e.msg("key", "x")
				m.Headers = append(m.Headers, e.header("subject", ""))
				e.roundTrip(m)
			},
		},
		{
			Name:     "content/many-headers",
			Sentence: "Headers: all of them come through, 64 and 16 KiB together.",
			run: func(e *env) {
				m := e.msg("key", "x")
				for i := range 63 {
					m.Headers = append(m.Headers, e.header(fmt.Sprintf("x%d", i), strings.Repeat("v", 240)))
				}
				e.roundTrip(m)
			},
		},
		{
			Name:     "content/no-headers",
			Sentence: "Message: which fields are meaningful depends on the direction; none of them is required.",
			run:      func(e *env) { e.roundTrip(&driver.Message{Body: []byte("bare")}) },
		},
		{
			Name:     "content/keys",
			Sentence: "Key orders and partitions, and comes back as it was.",
			run:      contentKeys,
		},
		{
			Name:     "content/local",
			Sentence: "Local carries the message itself inside one process, where Capabilities.InProcess says so.",
			Needs:    []Need{needInProcess},
			run:      contentLocal,
		},
	}
}

func (e *env) header(attribute, value string) driver.Header {
	return driver.Header{Name: e.caps.Headers.Prefix + attribute, Value: value}
}

// headerValues are legal under the style: where values are percent-encoded, the
// engine hands over nothing but visible ASCII.
func headerValues(style driver.HeaderStyle) []string {
	values := []string{"plain", "a%20b%25", "https://example.com/a?b=c&d=e", "2026-01-02T03:04:05.123456789Z", "a:b", "=?utf-8?q?x?="}
	if style.Percent {
		return values
	}
	return append(values, "Grüße", "ключ 鍵 🔑", "two words", "line\nbreak", "tab\tstop", "a\"quoted\" \\ value")
}

// roundTrip publishes want and compares what comes back.
func (e *env) roundTrip(want *driver.Message) {
	e.Helper()
	topic := e.topic(1)
	e.publish(topic, want)
	m := e.join(topic, e.group())
	got := m.take(1)[0]
	e.wantSame(got, want)
	m.ack(got)
}

// wantSame compares what a message carries. Headers may come in any order, and
// the broker may have added some.
func (e *env) wantSame(got, want *driver.Message) {
	e.Helper()
	if got.Key != want.Key {
		e.Errorf("key is %q, want %q", got.Key, want.Key)
	}
	if !bytes.Equal(got.Body, want.Body) {
		e.Errorf("body is %d bytes %.40q, want %d bytes %.40q", len(got.Body), got.Body, len(want.Body), want.Body)
	}
	for _, h := range want.Headers {
		if values := valuesOf(got, h.Name); !slices.Equal(values, []string{h.Value}) {
			e.Errorf("header %q has the values %q, want %q once", h.Name, values, h.Value)
		}
	}
}

func valuesOf(m *driver.Message, name string) []string {
	var values []string
	for _, h := range m.Headers {
		if h.Name == name {
			values = append(values, h.Value)
		}
	}
	return values
}

func contentNoBody(e *env) {
	topic := e.topic(1)
	none, empty := e.msg("key", "1"), e.msg("key", "2")
	none.Body, empty.Body = nil, []byte{}
	e.publish(topic, none, empty)
	for _, got := range e.join(topic, e.group()).take(2) {
		if len(got.Body) != 0 {
			e.Errorf("body is %q, want none", got.Body)
		}
	}
}

func contentKeys(e *env) {
	topic := e.topic(1)
	m := e.join(topic, e.group())
	for i, key := range []string{"", "a", "user/42", "with space", "a.b.*.>", "%41", "ключ 鍵", "{x}:y", strings.Repeat("k", 200)} {
		e.publish(topic, e.msg(key, strconv.Itoa(i)))
		got := m.takeOne(strconv.Itoa(i))
		if got.Key != key {
			e.Errorf("key is %q, want %q", got.Key, key)
		}
		m.ack(got)
	}
}

func contentLocal(e *env) {
	type thing struct{ name string }
	topic := e.topic(1)
	local := &thing{name: "itself"}
	e.publish(topic, &driver.Message{Key: "key", Local: local})
	got := e.join(topic, e.group()).take(1)[0]
	if got.Local != any(local) {
		e.Errorf("Local is %v, want the same pointer %v", got.Local, local)
	}
	if got.Key != "key" {
		e.Errorf("key is %q, want %q", got.Key, "key")
	}
}
