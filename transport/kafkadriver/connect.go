package kafkadriver

import (
	"crypto/tls"
	"errors"

	"github.com/twmb/franz-go/pkg/kgo"
)

// connection are the options of clients that the driver makes from Options.
func (o Options) connection() ([]kgo.Opt, error) {
	opts := []kgo.Opt{kgo.SeedBrokers(o.Brokers...), kgo.ClientID(o.ClientID)}
	if o.Dial != nil {
		opts = append(opts, kgo.Dialer(o.Dial))
	}
	return opts, nil
}

// producerOptions are those of the client that publishes.
func (d *Driver) producerOptions() []kgo.Opt {
	return []kgo.Opt{
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerLinger(d.o.Linger.Std()),
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)),
	}
}

func codecs() []string { return []string{"none", "snappy", "lz4", "zstd", "gzip"} }

func (t TLS) on() bool { return t != (TLS{}) }

func (t TLS) config() (*tls.Config, error) { return &tls.Config{MinVersion: tls.VersionTLS12}, nil }

func (s SASL) validate(_ bool) []error {
	if s == (SASL{}) {
		return nil
	}
	if s.Mechanism == "" {
		return []error{errors.New("sasl: mechanism is missing")}
	}
	return nil
}
