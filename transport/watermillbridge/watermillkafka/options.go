package watermillkafka

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/anywire/anywire/config/value"
)

// Options are the keys of a transport entry of kind watermill-kafka. The zero
// value, and nil, are the defaults.
type Options struct { //nolint:recvcheck // SetLogger changes them, all else reads a copy
	Brokers  []string `yaml:"brokers" doc:"brokers to begin with, as host:port; the others are found through them" default:"[localhost:9092]" example:"[kafka-1:9092, kafka-2:9092]"`
	ClientID string   `yaml:"client_id" doc:"what the brokers' logs and quotas call us" default:"anywire" example:"researcher"`
	SASL     SASL     `yaml:"sasl" doc:"how to log in; none: not at all" example:"{ user: agents, password: \"${KAFKA_PASSWORD}\" }"`
	TLS      TLS      `yaml:"tls" doc:"encrypted connections" example:"{ ca: ca.pem }"`

	Require  bool `yaml:"require" doc:"never create topics: one that is missing is an error" default:"false" example:"true"`
	Replicas int  `yaml:"replicas" doc:"copies of topics that we create; 0: the brokers' default" default:"0" example:"3"`

	InFlight       int            `yaml:"in_flight" doc:"messages of one subscription that are handled at once in this process: the adapter has one in flight for each partition" default:"16" example:"64"`
	CommitInterval value.Duration `yaml:"commit_interval" doc:"how often positions are committed: what was acknowledged since then is delivered again after a crash; 0s: with each message" default:"0s" example:"1s"`
	SessionTimeout value.Duration `yaml:"session_timeout" doc:"how long a silent worker keeps its partitions; as the brokers allow, 6s or more" default:"10s" example:"30s"`

	ConnectTimeout value.Duration `yaml:"connect_timeout" doc:"how long to try at start; afterwards connections are tried again for ever" default:"5s" example:"10s"`
	MaxBody        value.Size     `yaml:"max_body" doc:"the largest message, headers included; topics whose max.message.bytes leaves no room for it take less" default:"1000000" example:"8MiB"`

	// Logger gets what the adapter says; nil discards. Not in YAML.
	Logger *slog.Logger `yaml:"-"`
	// Dial makes the connections in place of a net.Dialer. Not in YAML.
	Dial func(network, address string) (net.Conn, error) `yaml:"-"`
}

// SASL says how to log in, by mechanism PLAIN.
type SASL struct {
	User     string       `yaml:"user" doc:"user name" example:"agents"`
	Password value.Secret `yaml:"password" doc:"password of user" example:"${KAFKA_PASSWORD}"`
}

// TLS names the files of a TLS connection.
type TLS struct {
	Enabled    bool   `yaml:"enabled" doc:"use TLS; implied by any other key of tls" default:"false" example:"true"`
	CA         string `yaml:"ca" doc:"file with the certificates to trust, PEM; default: the system's" example:"ca.pem"`
	Cert       string `yaml:"cert" doc:"file with our certificate, PEM; needs key" example:"client.pem"`
	Key        string `yaml:"key" doc:"file with our certificate's key, PEM; needs cert" example:"client-key.pem"`
	ServerName string `yaml:"server_name" doc:"name that the brokers' certificates must have; default: the host that is dialled" example:"kafka.internal"`
}

// Defaults of [Options].
const (
	DefaultBroker         = "localhost:9092"
	DefaultInFlight       = 16
	DefaultSessionTimeout = 10 * time.Second
	DefaultConnectTimeout = 5 * time.Second
	DefaultMaxBody        = value.Size(1_000_000)
)

const (
	mostInFlight = 1024
	mostReplicas = 1000
)

func (o Options) withDefaults() Options {
	if len(o.Brokers) == 0 {
		o.Brokers = []string{DefaultBroker}
	}
	def(&o.ClientID, "anywire")
	def(&o.InFlight, DefaultInFlight)
	def(&o.SessionTimeout, value.Duration(DefaultSessionTimeout))
	def(&o.ConnectTimeout, value.Duration(DefaultConnectTimeout))
	def(&o.MaxBody, DefaultMaxBody)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

func def[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

// Validate reports every value that cannot be, without connecting.
func (o Options) Validate() error {
	o = o.withDefaults()
	var errs []error
	for _, broker := range o.Brokers {
		if _, _, err := net.SplitHostPort(broker); err != nil {
			errs = append(errs, fmt.Errorf("broker %q: use host:port", broker))
		}
	}
	if o.InFlight < 1 || o.InFlight > mostInFlight {
		errs = append(errs, fmt.Errorf("in_flight %d: use 1 to %d", o.InFlight, mostInFlight))
	}
	if o.Replicas < 0 || o.Replicas > mostReplicas {
		errs = append(errs, fmt.Errorf("replicas %d: use 0 to %d", o.Replicas, mostReplicas))
	}
	if o.CommitInterval < 0 {
		errs = append(errs, fmt.Errorf("commit_interval %v: use 0s to commit each message, or more", o.CommitInterval))
	}
	if o.SessionTimeout.Std() < time.Second || o.ConnectTimeout.Std() < time.Millisecond {
		errs = append(errs, fmt.Errorf("session_timeout %v, connect_timeout %v: use at least 1s and 1ms", o.SessionTimeout, o.ConnectTimeout))
	}
	if o.MaxBody < 1024 {
		errs = append(errs, fmt.Errorf("max_body %v: use at least 1KiB", o.MaxBody))
	}
	if (o.TLS.Cert == "") != (o.TLS.Key == "") {
		errs = append(errs, errors.New("tls: cert and key go together"))
	}
	if (o.SASL.User == "") != o.SASL.Password.IsZero() {
		errs = append(errs, errors.New("sasl: user and password go together"))
	}
	return errors.Join(errs...)
}
