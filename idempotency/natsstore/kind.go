package natsstore

import (
	"context"

	"github.com/nats-io/nats.go"

	"github.com/anywire/anywire/idempotency"
)

// Kind is `kind: nats` of a store's entry: [Open] with the entry's keys as
// [Options]. It opens on the connection of a transport too, of the kinds nats and
// embedded.
func Kind() idempotency.Kind {
	return idempotency.NewKind("nats", open, openOn)
}

func open(ctx context.Context, o Options, s idempotency.Shared) (idempotency.Store, error) {
	return Open(ctx, o.with(s))
}

func openOn(ctx context.Context, client any, s idempotency.Shared) (idempotency.Store, error) {
	nc, ok := client.(*nats.Conn)
	if !ok {
		return nil, nil //nolint:nilnil // that is what the kind says of other clients
	}
	o := Options{}.with(s)
	store, err := New(nc, &o)
	if err != nil {
		return nil, err
	}
	if err := store.Ready(ctx); err != nil {
		return nil, err
	}
	return store, nil
}

func (o Options) with(s idempotency.Shared) Options {
	o.Prefix, o.TTL, o.MaxRecords = s.Prefix, s.TTL, s.MaxRecords
	if o.Logger == nil {
		o.Logger = s.Logger
	}
	return o
}
