package all_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/anywire/anywire"
	"github.com/anywire/anywire/all"
	"github.com/anywire/anywire/config"
)

func TestEveryKindOnce(t *testing.T) {
	t.Parallel()
	var names []string
	for _, k := range all.Options().Kinds {
		names = append(names, k.KindName())
	}
	slices.Sort(names)                                                                                                                          // nats and redis are kinds of transports and of stores
	if got := fmt.Sprint(names); got != "[embedded kafka memory nats nats postgres redis redis sqlite watermill-kafka watermill-redisstream]" { //nolint:dupword // two kinds of one name
		t.Errorf("kinds %s", got)
	}
}

func TestOptionsAreFresh(t *testing.T) {
	t.Parallel()
	one := all.Options()
	one.Kinds[0] = nil
	if all.Options().Kinds[0] == nil {
		t.Error("two callers share their options")
	}
}

func ExampleOptions() {
	o := all.Options()
	o.Config = &config.Config{
		Transport: "nats", Transports: map[string]config.Transport{"nats": {}},
	}
	fmt.Println(anywire.New(o).Validate())
	// Output: <nil>
}
