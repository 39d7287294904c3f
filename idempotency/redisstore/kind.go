package redisstore

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/anywire/anywire/idempotency"
)

// Kind is `kind: redis` of a store's entry, and the store of a Redis transport:
// [Open] with the entry's keys as [Options], or [New] on the transport's client.
func Kind() idempotency.Kind {
	return idempotency.NewKind("redis",
		func(ctx context.Context, o Options, s idempotency.Shared) (idempotency.Store, error) {
			o.Prefix, o.Logger = s.Prefix, s.Logger
			return Open(ctx, o)
		},
		func(_ context.Context, client any, s idempotency.Shared) (idempotency.Store, error) {
			c, ok := client.(redis.UniversalClient)
			if !ok {
				return nil, nil
			}
			store := New(c, &Options{Prefix: s.Prefix, Logger: s.Logger})
			if err := store.usable(); err != nil {
				return nil, err
			}
			return store, nil
		})
}
