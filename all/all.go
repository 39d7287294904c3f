// Package all links every transport, and every store of idempotency records, that this module has, for binaries whose
// configuration decides at run time:
//
//	app := anywire.New(all.Options())
//
// A slim binary lists its kinds itself:
//
//	app := anywire.New(&anywire.Options{Kinds: []anywire.Kind{natsdriver.Kind()}})
//
// A program that uses only memory needs neither: memory is always there.
package all

import (
	"github.com/anywire/anywire"
	"github.com/anywire/anywire/idempotency/natsstore"
	"github.com/anywire/anywire/idempotency/redisstore"
	"github.com/anywire/anywire/idempotency/sqlstore/postgres"
	"github.com/anywire/anywire/idempotency/sqlstore/sqlite"
	"github.com/anywire/anywire/transport/kafkadriver"
	"github.com/anywire/anywire/transport/memory"
	"github.com/anywire/anywire/transport/natsdriver"
	"github.com/anywire/anywire/transport/natsdriver/embedded"
	"github.com/anywire/anywire/transport/redisdriver"
	"github.com/anywire/anywire/transport/watermillbridge/watermillkafka"
	"github.com/anywire/anywire/transport/watermillbridge/watermillredis"
)

// Options returns options with every kind. They are fresh each time, so the
// caller may fill in the rest.
func Options() *anywire.Options {
	return &anywire.Options{Kinds: []anywire.Kind{
		memory.Kind(),
		embedded.Kind(),
		natsdriver.Kind(),
		redisdriver.Kind(),
		kafkadriver.Kind(),
		watermillredis.Kind(),
		watermillkafka.Kind(),
		redisstore.Kind(),
		natsstore.Kind(),
		postgres.Kind(),
		sqlite.Kind(),
	}}
}
