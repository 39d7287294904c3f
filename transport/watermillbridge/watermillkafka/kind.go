package watermillkafka

import (
	"context"
	"log/slog"

	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
)

// Kind is `kind: watermill-kafka` of a configuration: [Open] with the entry's keys
// as [Options].
func Kind() transport.Kind {
	return transport.NewKind("watermill-kafka", Capabilities, func(ctx context.Context, o Options) (driver.Driver, error) {
		return Open(ctx, o)
	})
}

// SetLogger sets Logger where it is nil.
func (o *Options) SetLogger(log *slog.Logger) {
	if o.Logger == nil {
		o.Logger = log
	}
}
