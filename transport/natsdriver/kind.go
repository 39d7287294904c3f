package natsdriver

import (
	"context"

	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
)

// Kind is `kind: nats` of a configuration: [Open] with the entry's keys as
// [Options].
func Kind() transport.Kind {
	return transport.NewKind("nats", Capabilities, func(ctx context.Context, o Options) (driver.Driver, error) {
		return Open(ctx, o)
	})
}
