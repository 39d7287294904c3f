package all_test

import (
	"log/slog"
	"testing"

	"github.com/anywire/anywire/all"
	"github.com/anywire/anywire/transport"
)

func TestEveryKindTakesTheAppsLogger(t *testing.T) {
	t.Parallel()
	for _, named := range all.Options().Kinds {
		kind, ok := named.(transport.Kind)
		if !ok {
			continue // a store's: it is given one when it is opened
		}
		if _, ok := kind.NewOptions().(interface{ SetLogger(log *slog.Logger) }); !ok {
			t.Errorf("kind %s takes no logger", kind.KindName())
		}
	}
}
