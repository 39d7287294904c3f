package config_test

import (
	"strings"
	"testing"

	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/envelope"
)

func TestCheckTopic(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a", "0", "Tasks.eu-west_1", strings.Repeat("x", 200)} {
		if err := config.CheckTopic(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for name, want := range map[string]string{
		"":                       `"" is not the name of a topic: use letters, digits, - and _`,
		"a b":                    `"a b" is not the name of a topic`,
		"a..b":                   `is not the name`,
		".a":                     `is not the name`,
		"a*":                     `is not the name`,
		"a\n":                    `is not the name`,
		"none":                   `it means that there is none`,
		strings.Repeat("x", 201): `is 201 bytes long, and 200 are allowed`,
	} {
		if err := config.CheckTopic(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", name, err, want)
		}
	}
}

// TestPlainIsAWireType: this package's grammar is that of envelope.
func TestPlainIsAWireType(t *testing.T) {
	t.Parallel()
	for _, wire := range []string{
		"research.task@1", "a@999999", "a-b_c.d9@10", strings.Repeat("x", 100) + "@1",
		"a", "a@", "a@0", "a@01", "a@1000000", "a@1..2", "A@1", "a.@1", ".a@1", "9@1", "a..b@1", "a b@1", "a@1\n", strings.Repeat("x", 101) + "@1",
	} {
		_, _, err := envelope.ParseType(wire)
		c := config.Config{Topics: map[string]config.Topic{"tasks": {Plain: wire}}}
		if found := c.Check(); (len(found) == 0) != (err == nil) {
			t.Errorf("%q: %v, and envelope says %v", wire, found, err)
		}
	}
	c := config.Config{Topics: map[string]config.Topic{"tasks": {Plain: "Task"}}}
	const want = `topics.tasks.plain: "Task" is not the name and version of a type`
	if found := c.Check(); len(found) != 1 || !strings.Contains(found[0].Error(), want) {
		t.Errorf("found %v, want %s", found, want)
	}
}
