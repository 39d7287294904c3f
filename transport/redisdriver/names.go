package redisdriver

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/anywire/anywire/transport/driver"
)

// maxName is the longest name of a topic: it stands in several keys, and twice
// in those of its groups.
const maxName = 1024

// streamOf is the key of a topic's stream: the topic itself, so that a plain XADD
// by a stranger works, and T:i for shard i of several.
func streamOf(topic string, shard, shards int) string {
	if shards <= 1 {
		return topic
	}
	return topic + ":" + strconv.Itoa(shard)
}

// streamsOf lists a topic's streams by shard.
func streamsOf(topic string, shards int) []string {
	streams := make([]string, max(shards, 1))
	for i := range streams {
		streams[i] = streamOf(topic, i, shards)
	}
	return streams
}

// companion is a key beside a stream, in the same slot of a Cluster.
func companion(stream, what string) string { return "{" + stream + "}:" + what }

// recordOf is the hash that says how many shards a topic has.
func recordOf(topic string) string { return companion(topic, "topic") }

// topicOfRecord is the topic of such a hash.
func topicOfRecord(key string) (string, bool) {
	rest, ok := strings.CutSuffix(key, "}:topic")
	if !ok || !strings.HasPrefix(rest, "{") {
		return "", false
	}
	topic := rest[1:]
	return topic, checkName("topic", topic) == nil
}

// shardNamed takes T:i apart; false for a name of another form.
func shardNamed(name string) (topic string, shard int, ok bool) {
	at := strings.LastIndexByte(name, ':')
	if at <= 0 {
		return "", 0, false
	}
	shard, err := strconv.Atoi(name[at+1:])
	if err != nil || shard < 0 || strconv.Itoa(shard) != name[at+1:] {
		return "", 0, false
	}
	return name[:at], shard, true
}

// checkName refuses what would not stay whole within keys. Braces are the hash
// tags of Redis Cluster.
func checkName(what, name string) error {
	switch {
	case name == "":
		return nameError(what + " without a name: a Redis key needs one")
	case len(name) > maxName:
		return nameError(fmt.Sprintf("%s %.40q… has %d bytes: use at most %d", what, name, len(name), maxName))
	case strings.ContainsAny(name, "{}"):
		return nameError(fmt.Sprintf("%s %q holds a brace: on Redis braces are hash tags, which decide the slot of a key: leave them out",
			what, name))
	case !utf8.ValidString(name):
		return nameError(fmt.Sprintf("%s %q is not UTF-8", what, name))
	case strings.ContainsFunc(name, unicode.IsControl):
		return nameError(fmt.Sprintf("%s %q holds a control character: leave it out", what, name))
	}
	return nil
}

// nameError says what is wrong with a name.
type nameError string

func (e nameError) Error() string { return string(e) }

func (nameError) Unwrap() error { return driver.ErrName }
