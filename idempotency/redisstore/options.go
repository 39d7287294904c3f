package redisstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/internal/redisconn"
)

// Options are the keys of a store's entry of kind redis. The zero value, and nil,
// are the defaults. All but max_record are used by [Open] only.
type Options struct {
	URL      string       `yaml:"url" doc:"server to connect to, redis:// or, with TLS, rediss://; with commas between the first nodes of a cluster" default:"redis://localhost:6379/0" example:"rediss://redis.internal:6380/2"`
	Name     string       `yaml:"name" doc:"name of the connections in CLIENT LIST" default:"anywire-store" example:"researcher-1"`
	User     string       `yaml:"user" doc:"ACL user, in place of the URL's" example:"agents"`
	Password value.Secret `yaml:"password" doc:"password of user, or of the server where there is no user" example:"${REDIS_PASSWORD}"`
	TLS      TLS          `yaml:"tls" doc:"certificates; a URL that begins with rediss:// needs none of it where the system trusts the server" example:"{ ca: ca.pem }"`
	Cluster  bool         `yaml:"cluster" doc:"the URL names nodes of a Redis Cluster" default:"false" example:"true"`
	Sentinel Sentinel     `yaml:"sentinel" doc:"ask these for the master's address, in place of the URL's host" example:"{ master: mymaster, addresses: [\"a:26379\", \"b:26379\"] }"`

	ConnectTimeout value.Duration `yaml:"connect_timeout" doc:"how long to try at start, 10s at most; afterwards connections are tried again for ever" default:"5s" example:"10s"`
	MaxRecord      value.Size     `yaml:"max_record" doc:"the largest record, with the outputs or the results of steps of one message; the server's proto-max-bulk-len must be no smaller" default:"64MiB" example:"16MiB"`

	// Prefix stands before the names of all keys. Without braces, which decide the
	// slot of a key in a Cluster. Not in YAML.
	Prefix string `yaml:"-"`
	// Logger gets what Open finds; nil discards. Not in YAML.
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
	DefaultMaxRecord      = 64 * value.MiB
)

const (
	leastRecord = 1 * value.KiB
	mostRecord  = 512 * value.MiB // proto-max-bulk-len as Redis ships
)

func (o Options) withDefaults() Options {
	if o.URL == "" {
		o.URL = DefaultURL
	}
	if o.Name == "" {
		o.Name = "anywire-store"
	}
	if o.ConnectTimeout == 0 {
		o.ConnectTimeout = value.Duration(DefaultConnectTimeout)
	}
	if o.MaxRecord == 0 {
		o.MaxRecord = DefaultMaxRecord
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Validate reports every value that cannot be, without connecting.
func (o Options) Validate() error { return o.withDefaults().validate() }

// validate checks values after defaults.
func (o Options) validate() error {
	return errors.Join(o.validateRecords(), o.connection().Validate())
}

// validateRecords checks what [New] uses too.
func (o Options) validateRecords() error {
	var errs []error
	if o.MaxRecord < leastRecord || o.MaxRecord > mostRecord {
		errs = append(errs, fmt.Errorf("max_record %v: use %v to %v", o.MaxRecord, leastRecord, mostRecord))
	}
	if strings.ContainsAny(o.Prefix, "{}") {
		errs = append(errs, fmt.Errorf("prefix %q holds a brace: on Redis braces are hash tags, which decide the slot of a key", o.Prefix))
	}
	return errors.Join(errs...)
}

// connection is what the options say about it.
func (o Options) connection() redisconn.Config {
	return redisconn.Config{
		URL: o.URL, Name: o.Name, User: o.User, Password: o.Password,
		TLS: redisconn.TLS(o.TLS), Cluster: o.Cluster, Sentinel: redisconn.Sentinel(o.Sentinel),
		ConnectTimeout: o.ConnectTimeout.Std(), Dial: o.Dial,
	}
}
