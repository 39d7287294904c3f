package integration

import (
	"cmp"
	"context"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/internal/faultproxy"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/kafkadriver"
	"github.com/anywire/anywire/transport/natsdriver"
	"github.com/anywire/anywire/transport/redisdriver"
	"github.com/anywire/anywire/transport/watermillbridge/watermillkafka"
	"github.com/anywire/anywire/transport/watermillbridge/watermillredis"
)

// broker is what accidents need to know of a backend that is a process of its
// own.
type broker struct {
	name     string // of the kind, too
	kind     transport.Kind
	protocol faultproxy.Protocol
	// native is the kind that is ours on the same servers; empty: this one is.
	native string
	// shared is the server of all tests, which must not be harmed.
	shared func(testing.TB) *brokertest.Server
	// own starts one that may be.
	own func(tb testing.TB, config ...string) *brokertest.Server
	// options are a transport entry's for the server at url. dial makes the
	// connections; nil: the driver does.
	options func(url string, dial dialer) any
}

// dialer connects elsewhere than to the address that it is given.
type dialer func(ctx context.Context, network, address string) (net.Conn, error)

// brokers are by their names.
var brokers = map[string]*broker{
	"nats": {
		name: "nats", kind: natsdriver.Kind(), protocol: faultproxy.NATS,
		shared: brokertest.SharedNATS, own: brokertest.NATS,
		options: func(url string, dial dialer) any {
			o := natsdriver.Options{URL: url}
			if dial != nil {
				o.Connect = []nats.Option{nats.SetCustomDialer(plainDialer(dial))}
			}
			return o
		},
	},
	"redis": {
		name: "redis", kind: redisdriver.Kind(), protocol: faultproxy.Redis,
		shared: brokertest.SharedRedis, own: brokertest.Redis,
		options: func(url string, dial dialer) any { return redisdriver.Options{URL: url, Dial: dial} },
	},
	"kafka": {
		name: "kafka", kind: kafkadriver.Kind(), protocol: faultproxy.Kafka,
		shared: brokertest.SharedKafka, own: brokertest.Kafka,
		options: func(url string, dial dialer) any {
			return kafkadriver.Options{Brokers: strings.Split(url, ","), Dial: dial}
		},
	},
	"watermill-redisstream": {
		name: "watermill-redisstream", kind: watermillredis.Kind(), protocol: faultproxy.Redis, native: "redis",
		shared: brokertest.SharedRedis, own: brokertest.Redis,
		options: func(url string, dial dialer) any {
			return watermillredis.Options{
				URL: url, Dial: dial, MaxIdle: value.Duration(bridgedLease), ClaimInterval: value.Duration(200 * time.Millisecond),
			}
		},
	},
	"watermill-kafka": {
		name: "watermill-kafka", kind: watermillkafka.Kind(), protocol: faultproxy.Kafka, native: "kafka",
		shared: brokertest.SharedKafka, own: brokertest.Kafka,
		options: func(url string, dial dialer) any {
			o := watermillkafka.Options{Brokers: strings.Split(url, ","), SessionTimeout: value.Duration(6 * time.Second)}
			if dial != nil {
				o.Dial = plainDialer(dial).Dial
			}
			return o
		},
	},
}

// bridgedLease is how long Redis leaves an entry with a consumer of Watermill's,
// unless a test says otherwise: a machine that is busy for longer makes handlers
// start twice.
const bridgedLease = 10 * time.Second

// plainDialer is a dialer for clients that give it no context.
type plainDialer dialer

func (d plainDialer) Dial(network, address string) (net.Conn, error) {
	return d(context.Background(), network, address)
}

// eachBroker has one subtest for each broker, in a fixed order.
func eachBroker(t *testing.T, test func(t *testing.T, b *broker)) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(brokers)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, brokers[name])
		})
	}
}

// eachServer has one for each sort of server, with the kinds that it carries, the
// native one first.
func eachServer(t *testing.T, test func(t *testing.T, kinds []*broker)) {
	t.Helper()
	carried := map[string][]*broker{}
	for _, name := range slices.Sorted(maps.Keys(brokers)) { // ours come first by their names, too
		b := brokers[name]
		carried[b.server()] = append(carried[b.server()], b)
	}
	for _, name := range slices.Sorted(maps.Keys(carried)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, carried[name])
		})
	}
}

// eachBrokerOrder has one for each broker and for orders none and key.
func eachBrokerOrder(t *testing.T, test func(t *testing.T, b *broker, order string)) {
	t.Helper()
	for _, order := range []string{"none", "key"} {
		t.Run(order, func(t *testing.T) {
			t.Parallel()
			eachBroker(t, func(t *testing.T, b *broker) {
				t.Helper()
				needsOrder(t, b.capabilities(t), order)
				test(t, b, order)
			})
		})
	}
}

// world is on a server, with a prefix of its own.
func (b *broker) world(t *testing.T, server *brokertest.Server) *world {
	t.Helper()
	return b.worldAt(t, server.URL, nil)
}

// through is a world whose apps, and strangers, reach the server by a proxy.
func (b *broker) through(t *testing.T, server *brokertest.Server) (*world, *faultproxy.Proxy) {
	t.Helper()
	proxy := faultproxy.New(t, b.protocol, server.Addrs[0])
	return b.worldAt(t, server.URL, func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, proxy.Addr())
	}), proxy
}

// worldAt is on the server at url. What its kind cannot read, the native one
// reads, which understands what stands there.
func (b *broker) worldAt(t *testing.T, url string, dial dialer) *world {
	t.Helper()
	w := b.worldWith(t, b.options(url, dial))
	if b.native != "" {
		w.witness = config.Transport{Kind: b.native, Prefix: w.entry.Prefix, Options: brokers[b.native].options(url, dial)}
	}
	return w
}

// capabilities are those that the kind declares.
func (b *broker) capabilities(t *testing.T) driver.Capabilities {
	t.Helper()
	caps, err := b.kind.Capabilities(nil)
	if err != nil {
		t.Fatal(err)
	}
	return caps
}

// server is the sort of server behind the kind.
func (b *broker) server() string { return cmp.Or(b.native, b.name) }

func (b *broker) worldWith(t *testing.T, options any) *world {
	t.Helper()
	caps, err := b.kind.Capabilities(options)
	if err != nil {
		t.Fatal(err)
	}
	entry := config.Transport{Kind: b.name, Options: options}
	return remote(t, entry, caps, func(t *testing.T) (driver.Driver, error) {
		t.Helper()
		return b.kind.Open(t.Context(), options)
	})
}

// role is a worker process of a world of its own.
func (b *broker) role(t *testing.T, server *brokertest.Server, order string, lease time.Duration) role {
	t.Helper()
	return role{
		Broker: b.name, URL: server.URL, Prefix: b.world(t, server).entry.Prefix,
		Order: order, Lease: lease, Journal: journalFile(t),
	}
}
