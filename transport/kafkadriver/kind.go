package kafkadriver

import (
	"context"

	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
)

// Kind is `kind: kafka` of a configuration: [Open] with the entry's keys as
// [Options].
func Kind() transport.Kind {
	return transport.NewKind("kafka", Capabilities, func(ctx context.Context, o Options) (driver.Driver, error) {
		return Open(ctx, o)
	})
}
