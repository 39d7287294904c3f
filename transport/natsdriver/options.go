package natsdriver

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/internal/tlsfiles"
)

// Options are the keys of a transport entry of kind nats. The zero value, and
// nil, are the defaults. What concerns the connection (url, credentials, tls,
// name, connect_timeout) is used by [Open] only.
type Options struct { //nolint:recvcheck // SetLogger changes them, all else reads a copy
	URL      string       `yaml:"url" doc:"server to connect to, or several with commas between" default:"nats://localhost:4222" example:"nats://a:4222,nats://b:4222"`
	Name     string       `yaml:"name" doc:"name of the connection in the server's monitoring" default:"anywire" example:"researcher-1"`
	User     string       `yaml:"user" doc:"user name" example:"agents"`
	Password value.Secret `yaml:"password" doc:"password of user" example:"${NATS_PASSWORD}"`
	Token    value.Secret `yaml:"token" doc:"authentication token, instead of a user" example:"${NATS_TOKEN}"`
	Creds    string       `yaml:"creds" doc:"file with a user's JWT and key, as nsc writes it" example:"/run/secrets/agents.creds"`
	NKey     string       `yaml:"nkey" doc:"file with an nkey seed" example:"/run/secrets/agents.nk"`
	TLS      TLS          `yaml:"tls" doc:"certificates; a URL that begins with tls:// needs none of it where the system trusts the server" example:"{ ca: ca.pem }"`

	Domain   string `yaml:"domain" doc:"JetStream domain" example:"hub"`
	Storage  string `yaml:"storage" doc:"where streams that we create keep messages: file or memory; memory does not survive the server" default:"file" enum:"file|memory" example:"memory"`
	Replicas int    `yaml:"replicas" doc:"copies of each stream that we create, 1 to 5; more than 1 needs a cluster" default:"1" example:"3"`
	Require  bool   `yaml:"require" doc:"never create streams: a topic that is missing is an error" default:"false" example:"true"`

	ConnectTimeout value.Duration `yaml:"connect_timeout" doc:"how long to try at start; afterwards connections are tried again for ever" default:"5s" example:"10s"`
	PublishTimeout value.Duration `yaml:"publish_timeout" doc:"how long a publish waits for the server's confirmation, or for a connection, before it counts as failed" default:"30s" example:"10s"`
	MaxPending     int            `yaml:"max_pending" doc:"messages that may be on their way to the server, unconfirmed, over all publishers; 1 to 65536; more wait" default:"4096" example:"16384"`
	MaxBody        value.Size     `yaml:"max_body" doc:"the largest message, headers included; the server's max_payload must be no smaller" default:"1MiB" example:"8MiB"`

	Monitoring string `yaml:"monitoring" doc:"address of the server's monitoring, where anywire doctor reads what a client is not told, such as sync_interval; none: it is not asked" computed:"the server's host, port 8222" example:"http://localhost:8222"`

	// Logger gets what the client library reports outside of any call; nil
	// discards. Not in YAML.
	Logger *slog.Logger `yaml:"-"`
	// Connect is appended to the options of the connection that Open makes. Not
	// in YAML.
	Connect []nats.Option `yaml:"-"`
}

// TLS names the files of a TLS connection.
type TLS struct {
	CA   string `yaml:"ca" doc:"file with the certificates to trust, PEM; default: the system's" example:"ca.pem"`
	Cert string `yaml:"cert" doc:"file with our certificate, PEM; needs key" example:"client.pem"`
	Key  string `yaml:"key" doc:"file with our certificate's key, PEM; needs cert" example:"client-key.pem"`
}

// Defaults of [Options].
const (
	DefaultURL            = "nats://localhost:4222"
	DefaultConnectTimeout = 5 * time.Second
	DefaultPublishTimeout = 30 * time.Second
	DefaultMaxPending     = 4096
	DefaultMaxBody        = 1 * value.MiB
)

const mostPending = 1 << 16

func (o Options) withDefaults() Options {
	def(&o.URL, DefaultURL)
	def(&o.Name, "anywire")
	def(&o.Storage, "file")
	def(&o.Replicas, 1)
	def(&o.ConnectTimeout, value.Duration(DefaultConnectTimeout))
	def(&o.PublishTimeout, value.Duration(DefaultPublishTimeout))
	def(&o.MaxPending, DefaultMaxPending)
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
func (o Options) Validate() error { return o.withDefaults().validate() }

// validate checks values after defaults.
func (o Options) validate() error {
	var errs []error
	if o.Storage != "file" && o.Storage != "memory" {
		errs = append(errs, fmt.Errorf("storage %q is unknown: use file or memory", o.Storage))
	}
	if o.Replicas < 1 || o.Replicas > 5 {
		errs = append(errs, fmt.Errorf("replicas %d: JetStream keeps 1 to 5 copies", o.Replicas))
	}
	if o.MaxPending < 1 || o.MaxPending > mostPending {
		errs = append(errs, fmt.Errorf("max_pending %d: use 1 to %d", o.MaxPending, mostPending))
	}
	if o.MaxBody < 1024 {
		errs = append(errs, fmt.Errorf("max_body %v: use at least 1KiB", o.MaxBody))
	}
	if o.ConnectTimeout < 0 || o.PublishTimeout < 0 {
		errs = append(errs, errors.New("connect_timeout and publish_timeout cannot be negative"))
	}
	if (o.TLS.Cert == "") != (o.TLS.Key == "") {
		errs = append(errs, errors.New("tls: cert and key go together"))
	}
	return errors.Join(append(errs, o.validateURL(), o.validateLogin())...)
}

// validateURL refuses what the client would take for the address of a NATS server
// and then never reach. Without a scheme an address is host:port.
func (o Options) validateURL() error {
	for address := range strings.SplitSeq(o.URL, ",") {
		scheme, _, given := strings.Cut(strings.TrimSpace(address), "://")
		switch {
		case !given, scheme == "nats", scheme == "tls", scheme == "ws", scheme == "wss":
		default:
			return fmt.Errorf("url begins with %q: use nats://host:port, tls://, ws:// or wss://", scheme+"://")
		}
	}
	return nil
}

// validateLogin refuses two ways to log in, of which one would win in silence.
func (o Options) validateLogin() error {
	var ways []string
	for _, w := range []struct {
		name  string
		given bool
	}{
		{"user", o.User != ""}, {"token", !o.Token.IsZero()}, {"creds", o.Creds != ""}, {"nkey", o.NKey != ""},
	} {
		if w.given {
			ways = append(ways, w.name)
		}
	}
	if len(ways) > 1 {
		return fmt.Errorf("%s are given: one way to log in is enough", strings.Join(ways, " and "))
	}
	if !o.Password.IsZero() && o.User == "" {
		return errors.New("a password needs a user")
	}
	return nil
}

func (o Options) storage() jetstream.StorageType {
	if o.Storage == "memory" {
		return jetstream.MemoryStorage
	}
	return jetstream.FileStorage
}

// connection are the options of a connection that the driver owns.
func (o Options) connection() ([]nats.Option, error) {
	opts := []nats.Option{
		nats.Name(o.Name),
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(), // rights that are revoked may come back
		nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectJitter(100*time.Millisecond, time.Second),
		nats.PingInterval(20 * time.Second), // a dead peer is found within a minute
		nats.Timeout(min(o.ConnectTimeout.Std(), 5*time.Second)),
		nats.ReconnectBufSize(-1), // nothing is sent later than its caller waits
	}
	login, err := o.login()
	if err != nil {
		return nil, err
	}
	secure, err := o.TLS.option()
	if err != nil {
		return nil, err
	}
	opts = append(append(opts, login...), secure...)
	return append(opts, o.Connect...), nil
}

func (o Options) login() ([]nats.Option, error) {
	switch {
	case o.User != "":
		return []nats.Option{nats.UserInfo(o.User, o.Password.Reveal())}, nil
	case !o.Token.IsZero():
		return []nats.Option{nats.Token(o.Token.Reveal())}, nil
	case o.Creds != "":
		if err := readable("creds", o.Creds); err != nil {
			return nil, err
		}
		return []nats.Option{nats.UserCredentials(o.Creds)}, nil
	case o.NKey != "":
		key, err := nats.NkeyOptionFromSeed(o.NKey)
		if err != nil {
			return nil, fmt.Errorf("nkey: %w", err)
		}
		return []nats.Option{key}, nil
	}
	return nil, nil
}

func readable(key, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return f.Close()
}

func (t TLS) option() ([]nats.Option, error) {
	if t == (TLS{}) {
		return nil, nil
	}
	cfg, err := tlsfiles.Config(t.CA, t.Cert, t.Key, "")
	if err != nil {
		return nil, err
	}
	return []nats.Option{nats.Secure(cfg)}, nil
}
