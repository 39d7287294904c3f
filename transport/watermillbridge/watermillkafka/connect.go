package watermillkafka

import (
	"crypto/tls"
	"net"
	"time"

	"github.com/IBM/sarama"

	"github.com/anywire/anywire/internal/tlsfiles"
)

// version is the protocol that we speak: the oldest that current brokers take, and
// new enough for everything here.
var version = sarama.V2_8_0_0

// base is what every client of a driver has in common; files are read here.
func (o Options) base() (*sarama.Config, error) {
	c := sarama.NewConfig()
	c.Version = version
	c.ClientID = o.ClientID
	c.ChannelBufferSize = 64                  // records of a partition that are fetched ahead
	c.Metadata.Timeout = 10 * time.Second     // before the brokers count as gone
	c.Metadata.AllowAutoTopicCreation = false // the driver creates topics, or requires them
	c.Net.DialTimeout = min(o.ConnectTimeout.Std(), 5*time.Second)
	if o.Dial != nil {
		c.Net.Proxy.Enable, c.Net.Proxy.Dialer = true, dialer(o.Dial)
	}
	if o.SASL.User != "" {
		c.Net.SASL.Enable, c.Net.SASL.Handshake = true, true
		c.Net.SASL.User, c.Net.SASL.Password = o.SASL.User, o.SASL.Password.Reveal()
	}
	if o.TLS != (TLS{}) {
		cfg, err := o.TLS.config()
		if err != nil {
			return nil, err
		}
		c.Net.TLS.Enable, c.Net.TLS.Config = true, cfg
	}
	return c, nil
}

type dialer func(network, address string) (net.Conn, error)

// Dial implements the interface that sarama wants.
func (d dialer) Dial(network, address string) (net.Conn, error) { return d(network, address) }

// producer waits for every replica in sync, and stores nothing twice.
func (o Options) producer() (*sarama.Config, error) {
	c, err := o.base()
	if err != nil {
		return nil, err
	}
	const room = 10 << 10 // for what a record and its batch add
	c.Producer.Return.Successes = true
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Idempotent, c.Net.MaxOpenRequests = true, 1
	c.Producer.Retry.Max = 10 // a new leader is found; an idempotent producer stores nothing twice
	c.Producer.MaxMessageBytes = int(o.MaxBody) + room
	c.Producer.Partitioner = newPartitioner
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return c, nil
}

// consumer is the configuration of one member. A group whose members take long to
// let go of a partition waits for them: drain is how long.
func (o Options) consumer(drain time.Duration) (*sarama.Config, error) {
	c, err := o.base()
	if err != nil {
		return nil, err
	}
	const more = 10 * time.Second
	session := o.SessionTimeout.Std()
	c.Consumer.Return.Errors = true
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Offsets.AutoCommit.Enable = o.CommitInterval > 0
	if o.CommitInterval > 0 {
		c.Consumer.Offsets.AutoCommit.Interval = o.CommitInterval.Std()
	}
	c.Consumer.Fetch.Default = 64 << 10             // of each partition, which has one record out; a larger one comes all the same
	c.Consumer.MaxWaitTime = 100 * time.Millisecond // closing waits for it
	c.Consumer.Group.Session.Timeout = session
	c.Consumer.Group.Heartbeat.Interval = min(session/5, 3*time.Second)
	c.Consumer.Group.Rebalance.Timeout = max(drain, time.Minute)
	c.Consumer.Group.Rebalance.Retry.Backoff = 250 * time.Millisecond
	c.Net.ReadTimeout = c.Consumer.Group.Rebalance.Timeout + more // a join is answered when all have let go
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return c, nil
}

func (t TLS) config() (*tls.Config, error) {
	return tlsfiles.Config(t.CA, t.Cert, t.Key, t.ServerName)
}
