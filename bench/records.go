package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/anywire/anywire"
	"github.com/anywire/anywire/all"
	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/idempotency/sqlstore/sqlite"
	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/memory"
)

// recordRows measure what it costs to remember messages: the same work with and
// without records.
func recordRows() []row {
	remembered := func(name string, open opener, n int, goal string) row {
		return row{
			name: "idempotency, " + name, shape: "batches of 256", unit: "msg/s", goal: goal, peer: "store: none",
			pair: both(recording(open, config.Auto, n), recording(open, config.None, n)),
		}
	}
	return []row{
		remembered("memory", openMemory, messages, "≥ 0.5"),
		remembered("redis", openRedis, redisMessages, "≥ 0.5"),
		remembered("nats", openNats, natsMessages, "≥ 0.35"),
		{
			name: "idempotency, sqlite", shape: "redis, batches of 256", unit: "msg/s", goal: "reported", peer: "store: none",
			pair: both(recording(openRedis, "ledger", redisMessages/4), recording(openRedis, config.None, redisMessages/4)),
		},
	}
}

func openMemory(context.Context) (driver.Driver, error) { return memory.New(nil), nil }

// recording handles n messages with an app on a driver and a store.
func recording(open opener, store string, n int) measurement {
	return func(ctx context.Context) (rate float64, err error) {
		d, err := open(ctx)
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, d.Close(ctx)) }()
		dir, err := os.MkdirTemp("", "anywire-bench-")
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
		c := &config.Config{
			Transport: "bus", Transports: map[string]config.Transport{"bus": {Prefix: fresh() + "."}},
			Idempotency: config.Idempotency{Store: store},
		}
		if store == "ledger" {
			c.Stores = map[string]config.Store{store: {Kind: "sqlite", Options: sqlite.Options{Path: filepath.Join(dir, "records.db")}}}
		}
		handled := newCounter(n)
		o := anywire.Options{Config: c, Kinds: all.Options().Kinds, Drivers: map[string]driver.Driver{"bus": d}}
		a, err := startApp(ctx, o, config.Agent{Policy: config.Policy{Concurrency: 256, Window: window}}, func(a *anywire.App) {
			a.HandleEnvelope("sink", func(context.Context, *envelope.Envelope) ([]*envelope.Envelope, error) {
				handled.add()
				return nil, nil
			})
		})
		if err != nil {
			return 0, fmt.Errorf("store %s: %w", store, err)
		}
		t, err := a.Transport("bus")
		if err != nil {
			return 0, errors.Join(err, a.close())
		}
		began := time.Now()
		if err := publishAll(ctx, t, n, 256, noKey); err != nil {
			return 0, errors.Join(err, a.close())
		}
		if err := handled.wait(ctx); err != nil {
			return 0, errors.Join(err, a.close())
		}
		took := time.Since(began)
		return float64(n) / took.Seconds(), a.close()
	}
}
