package natsdriver

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/anywire/anywire/transport/driver"
)

func TestStreamNames(t *testing.T) {
	t.Parallel()
	for topic, want := range map[string]string{
		"tasks.research": "tasks~research",
		"a-b_C9":         "a-b_C9",
		"a~b":            "a=7Eb",
		"a=b":            "a=3Db",
		"two words":      "two=20words",
		"a*.>/\\":        "a=2A~=3E=2F=5C",
		"ü":              "=C3=BC",
		".a..":           "~a~~",
	} {
		got, err := streamName(topic)
		if err != nil || got != want {
			t.Errorf("stream of topic %q is %q, %v; want %q", topic, got, err, want)
		}
		if back, ok := topicOf(got); !ok || back != topic {
			t.Errorf("topic of stream %q is %q, %v; want %q", got, back, ok, topic)
		}
	}
}

func TestNamesThatAreRefused(t *testing.T) {
	t.Parallel()
	for topic, want := range map[string]string{
		"":                       "without a name",
		strings.Repeat("x", 300): "300 bytes",
		strings.Repeat("ü", 100): "600 bytes",
	} {
		if _, err := streamName(topic); !errors.Is(err, driver.ErrName) || !strings.Contains(err.Error(), want) {
			t.Errorf("topic %.20q: error %v, want one that says %q", topic, err, want)
		}
	}
}

func TestForeignStreamsAreNoTopics(t *testing.T) {
	t.Parallel()
	for _, stream := range []string{"a=2", "a=zz", "a=2e", "KV_x=", "a=62"} {
		if topic, ok := topicOf(stream); ok {
			t.Errorf("stream %q is topic %q, though no topic has that stream", stream, topic)
		}
	}
}

func TestSubjects(t *testing.T) {
	t.Parallel()
	for topic, want := range map[string]string{
		"tasks.research": "tasks.research",
		"a.dead":         "a.dead",
		"a:1{}":          "a:1{}",
		"two words":      "two=20words",
		"a.*.>":          "a.=2A.=3E",
		"$JS.API":        "=24JS.API",
		"a..b":           "a.=2Eb",
		".a.":            "=2Ea=2E",
		"..":             "=2E=2E",
	} {
		if got := subjectOf(topic); got != want {
			t.Errorf("subject of topic %q is %q, want %q", topic, got, want)
		}
	}
	if got, want := subjectsOf("a.b", 3), []string{"a.b.0", "a.b.1", "a.b.2"}; !slices.Equal(got, want) {
		t.Errorf("subjects of three shards are %v, want %v", got, want)
	}
}

func TestConsumerNames(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, group := range []string{"a", "a.b", "a-b", "a~b", "a@0", "a@1"} {
		for shard := -1; shard < 2; shard++ {
			name, err := consumerName(group, shard)
			if err != nil {
				t.Fatal(err)
			}
			if other, taken := seen[name]; taken {
				t.Errorf("groups %q and %q share the consumer %q", group, other, name)
			}
			seen[name] = group
		}
	}
}

func TestKeyTokens(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "shard-0", "a.b", "=", "==", "ü *>"} {
		if back, ok := keyTokenOf(keyToken(s)); !ok || back != s {
			t.Errorf("%q is the token %q, which reads back as %q, %v", s, keyToken(s), back, ok)
		}
	}
}

// FuzzNames: two topics have two streams and two subjects, and every one of them
// is legal.
func FuzzNames(f *testing.F) {
	for _, seed := range []string{"tasks.research", "a..b", ".", "=2E", "~", "a b", "ü", "$JS", ">"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, topic string) {
		stream, err := streamName(topic)
		if err != nil {
			return
		}
		if back, ok := topicOf(stream); !ok || back != topic {
			t.Errorf("topic %q has the stream %q, which reads back as %q", topic, stream, back)
		}
		if strings.ContainsAny(stream, " \t\r\n\f.*>\\/") {
			t.Errorf("topic %q has the stream %q", topic, stream)
		}
		subject := subjectOf(topic)
		if back, ok := unescape(subject); !ok || back != topic {
			t.Errorf("topic %q has the subject %q, which reads back as %q", topic, subject, back)
		}
		for token := range strings.SplitSeq(subject, ".") {
			if token == "" || strings.ContainsAny(token, " \t\r\n*>") {
				t.Errorf("topic %q has the subject %q", topic, subject)
			}
		}
	})
}
