package redisdriver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/anywire/anywire/config/value"
)

// Options are the keys of a transport entry of kind redis. The zero value, and
// nil, are the defaults. What concerns the connection (url, user, password, tls,
// cluster, sentinel, name, connect_timeout) is used by [Open] only.
type Options struct { //nolint:recvcheck // SetLogger changes them, all else reads a copy
	URL      string       `yaml:"url" doc:"server to connect to, redis:// or, with TLS, rediss://; with commas between the first nodes of a cluster" default:"redis://localhost:6379/0" example:"rediss://redis.internal:6380/2"`
	Name     string       `yaml:"name" doc:"name of the connections in CLIENT LIST" default:"anywire" example:"researcher-1"`
	User     string       `yaml:"user" doc:"ACL user, in place of the URL's" example:"agents"`
	Password value.Secret `yaml:"password" doc:"password of user, or of the server where there is no user" example:"${REDIS_PASSWORD}"`
	TLS      TLS          `yaml:"tls" doc:"certificates; a URL that begins with rediss:// needs none of it where the system trusts the server" example:"{ ca: ca.pem }"`
	Cluster  bool         `yaml:"cluster" doc:"the URL names nodes of a Redis Cluster" default:"false" example:"true"`
	Sentinel Sentinel     `yaml:"sentinel" doc:"ask these for the master's address, in place of the URL's host" example:"{ master: mymaster, addresses: [\"a:26379\", \"b:26379\"] }"`

	Require     bool           `yaml:"require" doc:"never create topics: a topic that is missing is an error" default:"false" example:"true"`
	Attributes  string         `yaml:"attributes" doc:"how attributes are written: fields, one each, which any client can read, or packed, all as one JSON object, which is faster; both are read" default:"fields" enum:"fields|packed" example:"packed"`
	Consumer    string         `yaml:"consumer" doc:"name of this process within its groups, for deployments that never run two processes of one name at a time: started again after a crash, one handles at once what it held, instead of when its lease ends; by default each process has a new name" example:"${HOSTNAME}"`
	GroupExpiry value.Duration `yaml:"group_expiry" doc:"how long a group that nobody reads keeps messages from being trimmed" default:"14d" example:"30d"`

	ConnectTimeout value.Duration `yaml:"connect_timeout" doc:"how long to try at start, 10s at most; afterwards connections are tried again for ever" default:"5s" example:"10s"`
	PublishTimeout value.Duration `yaml:"publish_timeout" doc:"how long a publish waits for the server's confirmation, or for a connection, before it counts as failed" default:"30s" example:"10s"`
	MaxPending     int            `yaml:"max_pending" doc:"messages that may wait for the server's confirmation, over all publishers; more wait for room" default:"4096" example:"16384"`
	MaxBody        value.Size     `yaml:"max_body" doc:"the largest message, attributes included; the server's proto-max-bulk-len must be no smaller" default:"16MiB" example:"1MiB"`

	// Logger gets what happens outside of any call; nil discards. Not in YAML.
	Logger *slog.Logger `yaml:"-"`
	// Dial makes the connections of Open in place of a net.Dialer. Not in YAML.
	Dial func(ctx context.Context, network, address string) (net.Conn, error) `yaml:"-"`
}

// TLS names the files of a TLS connection, and the name that the server's
// certificate must have.
type TLS struct {
	CA         string `yaml:"ca" doc:"file with the certificates to trust, PEM; default: the system's" example:"ca.pem"`
	Cert       string `yaml:"cert" doc:"file with our certificate, PEM; needs key" example:"client.pem"`
	Key        string `yaml:"key" doc:"file with our certificate's key, PEM; needs cert" example:"client-key.pem"`
	ServerName string `yaml:"server_name" doc:"name in the server's certificate, where it is not the host that we connect to" example:"redis.internal"`
}

// Sentinel says who knows the master's address.
type Sentinel struct {
	Master    string       `yaml:"master" doc:"name of the master, as in sentinel monitor" example:"mymaster"`
	Addresses []string     `yaml:"addresses" doc:"sentinels, host:port each" example:"[\"a:26379\", \"b:26379\"]"`
	User      string       `yaml:"user" doc:"ACL user at the sentinels" example:"watcher"`
	Password  value.Secret `yaml:"password" doc:"password at the sentinels" example:"${SENTINEL_PASSWORD}"`
}

// Defaults of [Options].
const (
	DefaultURL            = "redis://localhost:6379/0"
	DefaultConnectTimeout = 5 * time.Second
	DefaultPublishTimeout = 30 * time.Second
	DefaultGroupExpiry    = 14 * 24 * time.Hour
	DefaultMaxPending     = 4096
	DefaultMaxBody        = 16 * value.MiB
)

// The values of Options.Attributes.
const (
	attributesFields = "fields"
	attributesPacked = "packed"
)

const (
	mostPending = 1 << 20
	leastBody   = 1 * value.KiB
	mostBody    = 512 * value.MiB // proto-max-bulk-len as Redis ships
)

func (o Options) withDefaults() Options {
	def(&o.URL, DefaultURL)
	def(&o.Name, "anywire")
	def(&o.Attributes, attributesFields)
	def(&o.GroupExpiry, value.Duration(DefaultGroupExpiry))
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
	if o.Attributes != attributesFields && o.Attributes != attributesPacked {
		errs = append(errs, fmt.Errorf("attributes %q is unknown: use %s or %s", o.Attributes, attributesFields, attributesPacked))
	}
	if o.MaxPending < 1 || o.MaxPending > mostPending {
		errs = append(errs, fmt.Errorf("max_pending %d: use 1 to %d", o.MaxPending, mostPending))
	}
	if o.MaxBody < leastBody || o.MaxBody > mostBody {
		errs = append(errs, fmt.Errorf("max_body %v: use %v to %v", o.MaxBody, leastBody, mostBody))
	}
	if o.PublishTimeout < 0 {
		errs = append(errs, fmt.Errorf("publish_timeout %v: use more than 0", o.PublishTimeout))
	}
	if o.GroupExpiry < 0 {
		errs = append(errs, fmt.Errorf("group_expiry %v: use more than 0", o.GroupExpiry))
	}
	if o.Consumer != "" {
		errs = append(errs, checkName("consumer", o.Consumer))
	}
	return errors.Join(append(errs, o.connection().Validate())...)
}
