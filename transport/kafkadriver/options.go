package kafkadriver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/anywire/anywire/config/value"
)

// Options are the keys of a transport entry of kind kafka. The zero value, and
// nil, are the defaults. What concerns connections (brokers, client_id, sasl, tls,
// connect_timeout) is used by [Open] only.
type Options struct { //nolint:recvcheck // SetLogger and SetSystem change them, all else reads a copy
	Brokers  []string `yaml:"brokers" doc:"brokers to begin with, as host:port; the others are found through them" default:"[localhost:9092]" example:"[kafka-1:9092, kafka-2:9092]"`
	ClientID string   `yaml:"client_id" doc:"what the brokers' logs and quotas call us" default:"anywire" example:"researcher"`
	SASL     SASL     `yaml:"sasl" doc:"how to log in; none: not at all" example:"{ mechanism: SCRAM-SHA-512, user: agents, password: \"${KAFKA_PASSWORD}\" }"`
	TLS      TLS      `yaml:"tls" doc:"encrypted connections" example:"{ ca: ca.pem }"`

	Require     bool   `yaml:"require" doc:"never create topics: one that is missing is an error" default:"false" example:"true"`
	Replicas    int    `yaml:"replicas" doc:"copies of topics that we create; 0: the brokers' default" default:"0" example:"3"`
	Compression string `yaml:"compression" doc:"how batches are packed: none, snappy, lz4, zstd or gzip" default:"snappy" enum:"none|snappy|lz4|zstd|gzip" example:"zstd"`

	Linger         value.Duration `yaml:"linger" doc:"how long a message waits for company before it is sent, 0s to 2ms" default:"0s" example:"1ms"`
	ConnectTimeout value.Duration `yaml:"connect_timeout" doc:"how long to try at start; afterwards connections are tried again for ever" default:"5s" example:"10s"`
	PublishTimeout value.Duration `yaml:"publish_timeout" doc:"how long a publish waits for the brokers' confirmation before it counts as failed; at least 1s" default:"30s" example:"10s"`
	MaxPending     value.Size     `yaml:"max_pending" doc:"bytes that may be on their way to the brokers, unconfirmed, over all publishers; more wait; at least 2 x max_body" default:"64MiB" example:"256MiB"`
	MaxBody        value.Size     `yaml:"max_body" doc:"the largest message, headers included; topics whose max.message.bytes leaves no room for it take less" default:"1000000" example:"8MiB"`

	Protocol       string         `yaml:"protocol" doc:"how a group shares its partitions: consumer (KIP-848, Kafka 4.0 or newer, refused where a broker has it not) or classic, which takes a dead worker's partitions over sooner" default:"consumer" enum:"consumer|classic" example:"classic"`
	SessionTimeout value.Duration `yaml:"session_timeout" doc:"how long a silent worker keeps its partitions under protocol classic; 0s: the lease of the subscription and two heartbeats. Under protocol consumer the broker decides" default:"0s" example:"10s"`

	// System stands before the names of the topics and the group that delay
	// messages: the prefix of the transport and the name of the system; default
	// "anywire". Not in YAML: an app sets it.
	System string `yaml:"-"`
	// Logger gets what happens outside of any call; nil discards. Not in YAML.
	Logger *slog.Logger `yaml:"-"`
	// Dial makes every connection of the driver, TLS excluded, which is put on top.
	// Nil: a net.Dialer. Not in YAML.
	Dial func(ctx context.Context, network, address string) (net.Conn, error) `yaml:"-"`
}

// SASL says how to log in.
type SASL struct {
	Mechanism string       `yaml:"mechanism" doc:"PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER" enum:"PLAIN|SCRAM-SHA-256|SCRAM-SHA-512|OAUTHBEARER" example:"SCRAM-SHA-512"`
	User      string       `yaml:"user" doc:"user name, not for OAUTHBEARER" example:"agents"`
	Password  value.Secret `yaml:"password" doc:"password of user" example:"${KAFKA_PASSWORD}"`
	Token     value.Secret `yaml:"token" doc:"bearer token for OAUTHBEARER" example:"${KAFKA_TOKEN}"`
	TokenFile string       `yaml:"token_file" doc:"file with the bearer token, read for each login, so that it may be renewed" example:"/run/secrets/kafka-token"`
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
	DefaultSystem         = "anywire"
	DefaultConnectTimeout = 5 * time.Second
	DefaultPublishTimeout = 30 * time.Second
	DefaultMaxPending     = 64 * value.MiB
	DefaultMaxBody        = value.Size(1_000_000)
)

const (
	protocolConsumer = "consumer"
	protocolClassic  = "classic"

	mostLinger = 2 * time.Millisecond
	// leastTimeout is the client's own bound.
	leastTimeout = time.Second
	leastBody    = 1024
	mostBody     = 64 * value.MiB // what clients read at once is bounded, too
)

func (o Options) withDefaults() Options {
	if len(o.Brokers) == 0 {
		o.Brokers = []string{DefaultBroker}
	}
	def(&o.ClientID, "anywire")
	def(&o.System, DefaultSystem)
	def(&o.Compression, "snappy")
	def(&o.ConnectTimeout, value.Duration(DefaultConnectTimeout))
	def(&o.PublishTimeout, value.Duration(DefaultPublishTimeout))
	def(&o.MaxPending, DefaultMaxPending)
	def(&o.MaxBody, DefaultMaxBody)
	def(&o.Protocol, protocolConsumer)
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
func (o Options) Validate() error { return o.withDefaults().validate() }

// validate checks values after defaults.
func (o Options) validate() error {
	errs := o.validateValues()
	errs = append(errs, o.SASL.validate()...)
	if (o.TLS.Cert == "") != (o.TLS.Key == "") {
		errs = append(errs, errors.New("tls: cert and key go together"))
	}
	return errors.Join(errs...)
}

func (o Options) validateValues() []error {
	var errs []error
	add := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	for _, b := range o.Brokers {
		_, port, err := net.SplitHostPort(b)
		add(err != nil || port == "", "brokers: %q is no host:port", b)
	}
	add(!slices.Contains(codecs(), o.Compression), "compression %q is unknown: use %s", o.Compression, strings.Join(codecs(), ", "))
	add(o.Protocol != protocolConsumer && o.Protocol != protocolClassic, "protocol %q is unknown: use consumer or classic", o.Protocol)
	add(o.Replicas < 0 || o.Replicas > 1000, "replicas %d: use 0 for the brokers' default, or 1 and more", o.Replicas)
	add(o.Linger < 0 || o.Linger.Std() > mostLinger, "linger %v: use 0s to %v", o.Linger, mostLinger)
	add(o.ConnectTimeout < 0, "connect_timeout %v cannot be negative", o.ConnectTimeout)
	add(o.SessionTimeout < 0, "session_timeout %v cannot be negative", o.SessionTimeout)
	add(o.PublishTimeout.Std() < leastTimeout, "publish_timeout %v: use at least %v", o.PublishTimeout, leastTimeout)
	add(o.MaxPending < 2*o.MaxBody, "max_pending %v: use at least twice max_body, which is %v", o.MaxPending, o.MaxBody)
	add(o.MaxBody < leastBody || o.MaxBody > mostBody, "max_body %v: use 1KiB to 64MiB", o.MaxBody)
	if err := validName(o.System + ladderName(rungs()[0].name)); err != nil {
		errs = append(errs, fmt.Errorf("the system's name cannot stand in names of topics: %w", err))
	}
	return errs
}

// SetLogger sets Logger where it is nil.
func (o *Options) SetLogger(log *slog.Logger) {
	if o.Logger == nil {
		o.Logger = log
	}
}

// SetSystem sets System where it is empty.
func (o *Options) SetSystem(name string) {
	if o.System == "" {
		o.System = name
	}
}
