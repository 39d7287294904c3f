package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"

	"github.com/anywire/anywire"
	"github.com/anywire/anywire/config"
	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/envelope"
	"github.com/anywire/anywire/internal/brokertest"
	"github.com/anywire/anywire/transport"
	"github.com/anywire/anywire/transport/driver"
	"github.com/anywire/anywire/transport/kafkadriver"
	"github.com/anywire/anywire/transport/redisdriver"
	"github.com/anywire/anywire/transport/watermillbridge/watermillkafka"
	"github.com/anywire/anywire/transport/watermillbridge/watermillredis"
)

// Placed is what the shop of the migration publishes. By and Cents are empty.
type Placed struct {
	ID   string
	Cups int
}

// WireType implements [anywire.Typed].
func (Placed) WireType() string { return "order.placed@1" }

// Priced is what its second service makes of it.
type Priced struct {
	ID    string
	Cents int
	By    string // who did it: watermill, bridge or native
}

// WireType implements [anywire.Typed].
func (Priced) WireType() string { return "order.priced@1" }

func priced(p Placed, by string) Priced { return Priced{ID: p.ID, Cents: 250 * p.Cups, By: by} }

// bill is what the third service writes down.
type bill struct {
	Priced

	Correlation, Biller string
}

// fleet is a broker as the services of Watermill and the agents see it.
type fleet struct {
	kinds          []anywire.Kind
	lease          time.Duration // of the native transport; 0: the default
	bridge, native config.Transport
	publisher      func() (message.Publisher, error)
	subscriber     func(group string) (message.Subscriber, error)
}

// aMoment is how long an entry may stay with a dead consumer, on both sides: short,
// so that what a service leaves behind comes again within the test.
const aMoment = 3 * time.Second

func redisFleet(t *testing.T) *fleet {
	t.Helper()
	url := brokertest.SharedRedis(t).URL
	client := func() redis.UniversalClient { // the adapter closes it
		o, err := redis.ParseURL(url)
		if err != nil {
			t.Fatal(err)
		}
		return redis.NewClient(o)
	}
	return &fleet{
		kinds: []anywire.Kind{watermillredis.Kind(), redisdriver.Kind()}, lease: aMoment,
		bridge: config.Transport{Kind: "watermill-redisstream", Options: watermillredis.Options{
			URL: url, MaxIdle: value.Duration(aMoment), ClaimInterval: value.Duration(200 * time.Millisecond),
		}},
		native: config.Transport{Kind: "redis", Options: redisdriver.Options{URL: url}},
		publisher: func() (message.Publisher, error) {
			return redisstream.NewPublisher(redisstream.PublisherConfig{Client: client()}, watermill.NopLogger{})
		},
		subscriber: func(group string) (message.Subscriber, error) {
			return redisstream.NewSubscriber(redisstream.SubscriberConfig{
				Client: client(), ConsumerGroup: group, MaxIdleTime: aMoment, ClaimInterval: 200 * time.Millisecond,
				DisableIndefiniteInitialBlock: true,
			}, watermill.NopLogger{})
		},
	}
}

func kafkaFleet(t *testing.T) *fleet {
	t.Helper()
	addrs := brokertest.SharedKafka(t).Addrs
	cfg := func() *sarama.Config {
		c := sarama.NewConfig()
		c.Version = sarama.V2_8_0_0
		c.Consumer.Offsets.Initial = sarama.OffsetOldest
		c.Consumer.Return.Errors, c.Producer.Return.Successes = true, true
		c.Producer.Retry.Max = 10
		c.Consumer.Group.Session.Timeout, c.Consumer.Group.Heartbeat.Interval = 6*time.Second, time.Second
		return c
	}
	return &fleet{
		kinds: []anywire.Kind{watermillkafka.Kind(), kafkadriver.Kind()},
		bridge: config.Transport{Kind: "watermill-kafka", Options: watermillkafka.Options{
			Brokers: addrs, SessionTimeout: value.Duration(6 * time.Second),
		}},
		native: config.Transport{Kind: "kafka", Options: kafkadriver.Options{Brokers: addrs, Protocol: "classic"}},
		publisher: func() (message.Publisher, error) {
			return kafka.NewPublisher(kafka.PublisherConfig{
				Brokers: addrs, Marshaler: kafka.DefaultMarshaler{}, OverwriteSaramaConfig: cfg(),
			}, watermill.NopLogger{})
		},
		subscriber: func(group string) (message.Subscriber, error) {
			return kafka.NewSubscriber(kafka.SubscriberConfig{
				Brokers: addrs, Unmarshaler: kafka.DefaultMarshaler{}, OverwriteSaramaConfig: cfg(), ConsumerGroup: group,
			}, watermill.NopLogger{})
		},
	}
}

// TestMigration is docs/watermill.md: a shop of three Watermill services moves one
// of them after the other to anywire, and back, while orders keep coming. Nothing
// is lost, nothing is renamed, and a conversation keeps its correlation.
func TestMigration(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(*testing.T) *fleet{"redis": redisFleet, "kafka": kafkaFleet} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			migrate(t, newShop(t, start(t)))
		})
	}
}

func migrate(t *testing.T, s *shop) {
	t.Helper()
	s.makeTopics()
	endIntake := s.intake()

	pricing, billing := s.pricing(), s.billing()
	s.awaitBills("a system of Watermill's", "watermill", "watermill")

	agent := s.agent("pricing", s.fleet.bridge, "bridge")
	s.awaitBills("an agent beside the service it replaces, in one group", "bridge", "watermill")
	pricing()
	s.awaitBills("the agent alone", "bridge", "watermill")

	pricing = s.pricing()
	s.stop(agent)
	s.awaitBills("back again", "watermill", "watermill")

	collector := s.agent("billing", s.fleet.bridge, "bridge")
	billing()
	s.awaitBills("a service feeds an agent", "watermill", "bridge")

	pricing()
	agent = s.agent("pricing", s.fleet.bridge, "bridge")
	s.awaitBills("agents only", "bridge", "bridge")

	s.stop(agent)
	s.agent("pricing", s.fleet.native, "native")
	s.awaitBills("an agent on the native transport", "native", "bridge")
	s.stop(collector)
	s.agent("billing", s.fleet.native, "native")
	s.awaitBills("all on the native transport", "native", "native")

	s.check(endIntake())
}

// shop is the system that moves.
type shop struct {
	t      *testing.T
	fleet  *fleet
	prefix string
	bills  journal[bill]
}

func newShop(t *testing.T, f *fleet) *shop {
	t.Helper()
	return &shop{t: t, fleet: f, prefix: "shop" + strings.ReplaceAll(envelope.NewID(), "-", "") + "."}
}

// makeTopics gives the topics several partitions, where the broker has such.
func (s *shop) makeTopics() {
	s.t.Helper()
	if s.fleet.bridge.Kind != "watermill-kafka" {
		return
	}
	d, err := s.fleet.kinds[0].(transport.Kind).Open(s.t.Context(), s.fleet.bridge.Options)
	if err != nil {
		s.t.Fatal(err)
	}
	defer closeDriver(s.t, d)
	for _, topic := range []string{"orders", "priced"} {
		if _, err := d.(driver.Admin).EnsureTopic(s.t.Context(), driver.Topic{Name: s.prefix + topic, Shards: 4}); err != nil {
			s.t.Fatal(err)
		}
	}
}

// intake publishes orders until the returned function ends it, which says how many
// there were.
func (s *shop) intake() (end func() int) {
	s.t.Helper()
	pub := s.publisher()
	ctx, cancel := context.WithCancel(s.t.Context())
	count := make(chan int, 1)
	go func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		n := 0
		for ctx.Err() == nil {
			m := message.NewMessage(watermill.NewUUID(), fmt.Appendf(nil, `{"ID":"%d","Cups":2}`, n))
			m.Metadata.Set("correlation_id", fmt.Sprint("visit-", n))
			m.Metadata.Set("Tenant-Name", "acme")
			if err := pub.Publish(s.prefix+"orders", m); err != nil {
				s.t.Errorf("order %d: %v", n, err)
				break
			}
			n++
			<-tick.C
		}
		count <- n
	}()
	s.t.Cleanup(cancel)
	return func() int { cancel(); return <-count }
}

func (s *shop) publisher() message.Publisher {
	s.t.Helper()
	pub, err := s.fleet.publisher()
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = pub.Close() })
	return pub
}

// service is a handler on the published adapter, with its default marshaler. What
// it returns stops it.
func (s *shop) service(group, topic string, handle func(m *message.Message) error) (stop func()) {
	s.t.Helper()
	sub, err := s.fleet.subscriber(s.prefix + group)
	if err != nil {
		s.t.Fatal(err)
	}
	messages, err := sub.Subscribe(context.Background(), s.prefix+topic)
	if err != nil {
		s.t.Fatal(err)
	}
	var done sync.WaitGroup
	done.Go(func() {
		for m := range messages {
			if err := handle(m); err != nil {
				s.t.Errorf("%s: message %s: %v", group, m.UUID, err)
			}
			m.Ack()
		}
	})
	stop = sync.OnceFunc(func() { _ = sub.Close(); done.Wait() })
	s.t.Cleanup(stop)
	return stop
}

func (s *shop) pricing() (stop func()) {
	s.t.Helper()
	pub := s.publisher()
	return s.service("pricing", "orders", func(m *message.Message) error {
		var p Placed
		if err := json.Unmarshal(m.Payload, &p); err != nil {
			return err
		}
		body, _ := json.Marshal(priced(p, "watermill"))
		out := message.NewMessage(watermill.NewUUID(), body)
		out.Metadata.Set("correlation_id", m.Metadata.Get("correlation_id"))
		return pub.Publish(s.prefix+"priced", out)
	})
}

func (s *shop) billing() (stop func()) {
	s.t.Helper()
	return s.service("billing", "priced", func(m *message.Message) error {
		b := bill{Correlation: m.Metadata.Get("correlation_id"), Biller: "watermill"}
		if m.UUID == "" {
			return fmt.Errorf("a message without UUID: %v", m.Metadata)
		}
		if err := json.Unmarshal(m.Payload, &b.Priced); err != nil {
			return err
		}
		s.bills.note(b)
		return nil
	})
}

// agent runs one agent in a process of its own, as far as that goes.
func (s *shop) agent(name string, entry config.Transport, by string) *running {
	s.t.Helper()
	entry.Prefix = s.prefix
	agents := map[string]config.Agent{
		"pricing": {Consumes: "orders", Produces: "priced"},
		"billing": {Consumes: "priced"},
	}
	app := anywire.New(&anywire.Options{Kinds: s.fleet.kinds, Config: &config.Config{
		Transport: bus, Transports: map[string]config.Transport{bus: entry}, Idempotency: unremembered(),
		Topics: map[string]config.Topic{"orders": {Plain: "order.placed@1"}, "priced": {Plain: "order.priced@1"}},
		Agents: map[string]config.Agent{name: agents[name]},
		Defaults: config.Policy{
			Timeout: value.Duration(aMoment / 2), Lease: value.Duration(s.fleet.lease), Retry: config.Retry{Immediate: new(0)},
		},
	}})
	if name == "pricing" {
		anywire.Handle(app, name, func(_ context.Context, p Placed) (Priced, error) { return priced(p, by), nil })
	} else {
		anywire.Consume(app, name, func(ctx context.Context, p Priced) error {
			s.bills.note(bill{Priced: p, Correlation: anywire.Envelope(ctx).CorrelationID, Biller: by})
			return nil
		})
	}
	return run(s.t, app)
}

func (s *shop) stop(r *running) {
	s.t.Helper()
	if err := r.stop(); err != nil {
		s.t.Errorf("stop: %v", err)
	}
}

// awaitBills waits until a few more orders went this way.
func (s *shop) awaitBills(what, by, biller string) {
	s.t.Helper()
	from := len(s.bills.all())
	const few = 10
	await(s.t, what, func() bool {
		n := 0
		for _, b := range s.bills.all()[from:] {
			if b.By == by && b.Biller == biller {
				n++
			}
		}
		return n >= few
	}, func() any { return fmt.Sprintf("%d bills before, %v since", from, s.ways(from)) })
}

// ways counts who did what.
func (s *shop) ways(from int) map[string]int {
	ways := map[string]int{}
	for _, b := range s.bills.all()[from:] {
		ways[b.By+" to "+b.Biller]++
	}
	return ways
}

func (s *shop) check(orders int) {
	s.t.Helper()
	missing := func() []string {
		billed := map[string]bool{}
		for _, b := range s.bills.all() {
			billed[b.ID] = true
		}
		var list []string
		for i := range orders {
			if id := fmt.Sprint(i); !billed[id] {
				list = append(list, id)
			}
		}
		return list
	}
	await(s.t, "every order is billed", func() bool { return len(missing()) == 0 }, func() any {
		return fmt.Sprintf("of %d orders are missing %v", orders, missing())
	})
	for _, b := range s.bills.all() {
		if b.Correlation != "visit-"+b.ID || b.Cents != 500 {
			s.t.Errorf("bill %+v", b)
		}
	}
	s.t.Logf("%d orders, %d bills: %v", orders, len(s.bills.all()), s.ways(0))
}
