package natsstore

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/internal/natsconn"
)

// Options are the keys of a store's entry of kind nats. The zero value, and nil,
// are the defaults. What concerns the connection (url, credentials, tls, name,
// connect_timeout) is used by [Open] only.
type Options struct {
	URL      string       `yaml:"url" doc:"server to connect to, or several with commas between" default:"nats://localhost:4222" example:"nats://a:4222,nats://b:4222"`
	Name     string       `yaml:"name" doc:"name of the connection in the server's monitoring" default:"anywire" example:"researcher-1"`
	User     string       `yaml:"user" doc:"user name" example:"agents"`
	Password value.Secret `yaml:"password" doc:"password of user" example:"${NATS_PASSWORD}"`
	Token    value.Secret `yaml:"token" doc:"authentication token, instead of a user" example:"${NATS_TOKEN}"`
	Creds    string       `yaml:"creds" doc:"file with a user's JWT and key, as nsc writes it" example:"/run/secrets/agents.creds"`
	NKey     string       `yaml:"nkey" doc:"file with an nkey seed" example:"/run/secrets/agents.nk"`
	TLS      TLS          `yaml:"tls" doc:"certificates; a URL that begins with tls:// needs none of it where the system trusts the server" example:"{ ca: ca.pem }"`

	Domain   string `yaml:"domain" doc:"JetStream domain" example:"hub"`
	Bucket   string `yaml:"bucket" doc:"name of the bucket; letters, digits, - and _" computed:"anywire_records, behind the prefix" example:"newsroom_records"`
	Storage  string `yaml:"storage" doc:"where a bucket that we create keeps records: file or memory; memory does not survive the server" default:"file" enum:"file|memory" example:"memory"`
	Replicas int    `yaml:"replicas" doc:"copies of a bucket that we create, 1 to 5; more than 1 needs a cluster" default:"1" example:"3"`
	Require  bool   `yaml:"require" doc:"never create the bucket: it is an error if it is missing" default:"false" example:"true"`

	ConnectTimeout value.Duration `yaml:"connect_timeout" doc:"how long to try at start; afterwards connections are tried again for ever" default:"5s" example:"10s"`
	MaxRecord      value.Size     `yaml:"max_record" doc:"the largest record, which is the outputs of one message and the results of its steps; what is over the server's max_payload takes several keys" default:"16MiB" example:"64MiB"`

	// Prefix stands before the name of the bucket, TTL is how long it keeps a
	// record after its last change (default 24 h), and MaxRecords how many a bucket
	// that we create keeps (0: no bound): beyond, the oldest are forgotten. The app
	// sets them.
	Prefix     string        `yaml:"-"`
	TTL        time.Duration `yaml:"-"`
	MaxRecords int           `yaml:"-"`
	// Logger gets what an operator should know of the bucket; nil discards. Not in
	// YAML.
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
	DefaultBucket         = "anywire_records"
	DefaultTTL            = 24 * time.Hour
	DefaultConnectTimeout = 5 * time.Second
	DefaultMaxRecord      = 16 * value.MiB
)

// leastTTL is what servers take as the age of a stream.
const leastTTL = 100 * time.Millisecond

func (o Options) withDefaults() Options {
	def(&o.URL, DefaultURL)
	def(&o.Name, "anywire")
	def(&o.Bucket, bucketName(o.Prefix))
	def(&o.Storage, "file")
	def(&o.Replicas, 1)
	def(&o.TTL, DefaultTTL)
	def(&o.ConnectTimeout, value.Duration(DefaultConnectTimeout))
	def(&o.MaxRecord, DefaultMaxRecord)
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
	if strings.ContainsFunc(o.Bucket, func(r rune) bool { return !isPlain(r) }) {
		errs = append(errs, fmt.Errorf("bucket %q: use letters, digits, - and _", o.Bucket))
	}
	if len(o.Bucket) > mostBucket {
		errs = append(errs, fmt.Errorf("bucket %.40q… has %d characters: use at most %d", o.Bucket, len(o.Bucket), mostBucket))
	}
	if o.Storage != "file" && o.Storage != "memory" {
		errs = append(errs, fmt.Errorf("storage %q is unknown: use file or memory", o.Storage))
	}
	if o.Replicas < 1 || o.Replicas > 5 {
		errs = append(errs, fmt.Errorf("replicas %d: JetStream keeps 1 to 5 copies", o.Replicas))
	}
	if o.ConnectTimeout < 0 {
		errs = append(errs, errors.New("connect_timeout cannot be negative"))
	}
	if o.MaxRecord < 1024 {
		errs = append(errs, fmt.Errorf("max_record %v: use at least 1KiB", o.MaxRecord))
	}
	if o.TTL < leastTTL {
		errs = append(errs, fmt.Errorf("ttl %v: NATS keeps records for at least %v", o.TTL, leastTTL))
	}
	if o.MaxRecords < 0 {
		errs = append(errs, fmt.Errorf("max_records %d cannot be negative", o.MaxRecords))
	}
	return errors.Join(append(errs, o.connection().Validate())...)
}

func (o Options) storage() jetstream.StorageType {
	if o.Storage == "memory" {
		return jetstream.MemoryStorage
	}
	return jetstream.FileStorage
}

// connection says how the connection is made that the store owns.
func (o Options) connection() natsconn.Options {
	return natsconn.Options{
		URL: o.URL, Name: o.Name,
		User: o.User, Password: o.Password, Token: o.Token, Creds: o.Creds, NKey: o.NKey,
		CA: o.TLS.CA, Cert: o.TLS.Cert, Key: o.TLS.Key,
		Timeout: o.ConnectTimeout.Std(), More: o.Connect,
	}
}
