package embedded

import (
	"strings"
	"testing"

	"github.com/anywire/anywire/config/value"
)

func TestOptionsAreCheckedWithoutOpening(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]Options{
		"":            {},
		"sync":        {Sync: "never"},
		"listen":      {Listen: "4222"},
		"max_body":    {MaxBody: 1 * value.GiB},
		"publish":     {PublishTimeout: -1},
		"max_pend":    {MaxPending: -1},
		"max_body 10": {MaxBody: 10},
	} {
		caps, err := Kind().Capabilities(o)
		switch {
		case name == "" && (err != nil || !caps.Durable):
			t.Errorf("defaults: %+v, %v", caps, err)
		case name != "" && (err == nil || !strings.Contains(err.Error(), name)):
			t.Errorf("%s: %v", name, err)
		}
	}
}
