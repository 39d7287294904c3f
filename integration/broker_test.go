package integration

import (
	"context"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/internal/faultproxy"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/kafkadriver"
	"github.com/anywire/anywire/transport/natsdriver"
	"github.com/anywire/anywire/transport/redisdriver"
)

// broker is what accidents need to know of a backend that is a process of its
// own.
type broker struct {
	name     string // of the kind, too
	kind     transport.Kind
	protocol faultproxy.Protocol
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
				o.Connect = []nats.Option{nats.SetCustomDialer(natsDialer(dial))}
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
}

type natsDialer dialer

func (d natsDialer) Dial(network, address string) (net.Conn, error) {
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

// eachBrokerOrder has one for each broker and for orders none and key.
func eachBrokerOrder(t *testing.T, test func(t *testing.T, b *broker, order string)) {
	t.Helper()
	for _, order := range []string{"none", "key"} {
		t.Run(order, func(t *testing.T) {
			t.Parallel()
			eachBroker(t, func(t *testing.T, b *broker) {
				t.Helper()
				test(t, b, order)
			})
		})
	}
}

// world is on a server, with a prefix of its own.
func (b *broker) world(t *testing.T, server *brokertest.Server) *world {
	t.Helper()
	return b.worldWith(t, b.options(server.URL, nil))
}

// through is a world whose apps, and strangers, reach the server by a proxy.
func (b *broker) through(t *testing.T, server *brokertest.Server) (*world, *faultproxy.Proxy) {
	t.Helper()
	proxy := faultproxy.New(t, b.protocol, server.Addrs[0])
	return b.worldWith(t, b.options(server.URL, func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, proxy.Addr())
	})), proxy
}

func (b *broker) worldWith(t *testing.T, options any) *world {
	t.Helper()
	entry := config.Transport{Kind: b.name, Options: options}
	return remote(t, entry, func(t *testing.T) (driver.Driver, error) {
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
