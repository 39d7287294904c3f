package redisdriver

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/anywire/anywire/transport/driver"
)

func TestStreamsOfTopics(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		shards int
		want   []string
	}{
		{0, []string{"tasks.write"}},
		{1, []string{"tasks.write"}},
		{3, []string{"tasks.write:0", "tasks.write:1", "tasks.write:2"}},
	} {
		if got := streamsOf("tasks.write", c.shards); !slices.Equal(got, c.want) {
			t.Errorf("%d shards: %v, want %v", c.shards, got, c.want)
		}
	}
}

// A companion is in the slot of its stream, which Redis takes from what stands in
// the first braces.
func TestCompanionsShareTheSlot(t *testing.T) {
	t.Parallel()
	if got := companion("tasks.write:2", "due:group"); got != "{tasks.write:2}:due:group" {
		t.Errorf("companion %q", got)
	}
}

func TestRecordsNameTheirTopic(t *testing.T) {
	t.Parallel()
	for _, topic := range []string{"a", "a.b", "a:1", "ü ключ", "}", "{a}"} {
		got, ok := topicOfRecord(recordOf(topic))
		if braces := strings.ContainsAny(topic, "{}"); ok == braces || got != topic {
			t.Errorf("record of %q: %q, %v", topic, got, ok)
		}
	}
	for _, key := range []string{"", "a", "{a}", "{a}:due", "a}:topic", "{}:topic"} {
		if topic, ok := topicOfRecord(key); ok {
			t.Errorf("key %q is the record of %q", key, topic)
		}
	}
}

func TestShardNames(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]int{"a:0": 0, "a:b:12": 12, "a": -1, ":1": -1, "a:": -1, "a:01": -1, "a:-1": -1, "a:+1": -1, "a:x": -1} {
		base, shard, ok := shardNamed(name)
		if ok != (want >= 0) || ok && (shard != want || streamOf(base, shard, 2) != name) {
			t.Errorf("%q: %q %d %v, want %d", name, base, shard, ok, want)
		}
	}
}

func TestNamesThatAreRefused(t *testing.T) {
	t.Parallel()
	for name, reason := range map[string]string{
		"":                               "without a name",
		"a{b}":                           "brace",
		"}":                              "brace",
		"a\nb":                           "control character",
		"a\xff":                          "UTF-8",
		strings.Repeat("x", maxName+1):   "1025 bytes",
		strings.Repeat("x", 10) + "\x00": "control character",
	} {
		err := checkName("topic", name)
		if !errors.Is(err, driver.ErrName) || !strings.Contains(err.Error(), reason) || !strings.HasPrefix(err.Error(), "topic ") {
			t.Errorf("%.20q: %v, want an error that says %q", name, err, reason)
		}
	}
	for _, name := range []string{"a", "a.b-c_D", "a:1", "ü ключ *", strings.Repeat("x", maxName)} {
		if err := checkName("topic", name); err != nil {
			t.Errorf("%.20q: %v", name, err)
		}
	}
}
