package config_test

import (
	"strings"
	"testing"

	"github.com/anywire/anywire/config"
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
