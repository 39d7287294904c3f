package natsdriver

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/anywire/anywire/transport/driver"
)

// maxName is the longest name of a stream or consumer that a server takes.
const maxName = 255

// streamName is the name of a topic's stream: injective, and reversible by
// [topicOf].
func streamName(topic string) (string, error) {
	return assetName("topic", "stream", topic)
}

// consumerName is the name of a group's consumer; shard -1 reads all shards.
func consumerName(group string, shard int) (string, error) {
	name, err := assetName("group", "consumer", group)
	if err != nil || shard < 0 {
		return name, err
	}
	return name + "@" + strconv.Itoa(shard), nil
}

func assetName(what, asset, name string) (string, error) {
	if name == "" {
		return "", fmt.Errorf("%w: %s without a name: a NATS %s needs one", driver.ErrName, what, asset)
	}
	escaped := escapeName(name)
	const longest = maxName - len("@00000") // a shard may follow
	if len(escaped) > longest {
		return "", fmt.Errorf("%w: %s %.40q… is too long: its NATS %s name has %d bytes, and servers take %d: shorten it, or the prefix",
			driver.ErrName, what, name, asset, len(escaped), longest)
	}
	return escaped, nil
}

func escapeName(name string) string {
	var b strings.Builder
	for i := range len(name) {
		switch c := name[i]; {
		case c == '.':
			b.WriteByte('~')
		case isPlain(c):
			b.WriteByte(c)
		default:
			escapeByte(&b, c)
		}
	}
	return b.String()
}

// topicOf is the topic whose stream has this name; false for a name that
// [streamName] does not make.
func topicOf(stream string) (string, bool) {
	topic, ok := unescape(strings.ReplaceAll(stream, "~", "."))
	return topic, ok && escapeName(topic) == stream
}

// subjectOf is the subject of a topic with one shard, and the stem of the others.
func subjectOf(topic string) string {
	if isSubject(topic) {
		return topic
	}
	var b strings.Builder
	for i := range len(topic) {
		c := topic[i]
		emptyToken := c == '.' && (i == 0 || i == len(topic)-1 || topic[i-1] == '.')
		if emptyToken || c != '.' && !isSubjectByte(c) {
			escapeByte(&b, c)
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}

func isSubject(topic string) bool {
	for i := range len(topic) {
		if topic[i] != '.' && !isSubjectByte(topic[i]) {
			return false
		}
	}
	return topic[0] != '.' && topic[len(topic)-1] != '.' && !strings.Contains(topic, "..")
}

// subjectsOf lists a topic's subjects by shard.
func subjectsOf(topic string, shards int) []string {
	stem := subjectOf(topic)
	if shards <= 1 {
		return []string{stem}
	}
	subjects := make([]string, shards)
	for i := range subjects {
		subjects[i] = stem + "." + strconv.Itoa(i)
	}
	return subjects
}

// leaseKey is the key of a lease in its bucket: the scope and the name, each a
// token.
func leaseKey(scope, name string) string { return keyToken(scope) + "." + keyToken(name) }

// keyToken escapes for buckets, whose keys know no "~".
func keyToken(s string) string {
	if s == "" {
		return "="
	}
	var b strings.Builder
	for i := range len(s) {
		if isPlain(s[i]) {
			b.WriteByte(s[i])
			continue
		}
		escapeByte(&b, s[i])
	}
	return b.String()
}

func keyTokenOf(s string) (string, bool) {
	if s == "=" {
		return "", true
	}
	return unescape(s)
}

const hexDigits = "0123456789ABCDEF"

func escapeByte(b *strings.Builder, c byte) {
	b.WriteByte('=')
	b.WriteByte(hexDigits[c>>4])
	b.WriteByte(hexDigits[c&15])
}

func unescape(s string) (string, bool) {
	if !strings.Contains(s, "=") {
		return s, true
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '=' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", false
		}
		c, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
		if err != nil {
			return "", false
		}
		b.WriteByte(byte(c))
		i += 2
	}
	return b.String(), true
}

func isPlain(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}

// isSubjectByte reports whether c stands for itself within a token of a subject.
func isSubjectByte(c byte) bool {
	return c > ' ' && c < 0x7f && c != '*' && c != '>' && c != '=' && c != '$' && c != '.'
}
