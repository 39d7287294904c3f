package watermillredis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/anywire/anywire/config/value"
)

// Options are the keys of a transport entry of kind watermill-redisstream. The
// zero value, and nil, are the defaults.
type Options struct { //nolint:recvcheck // SetLogger changes them, all else reads a copy
	URL      string       `yaml:"url" doc:"server to connect to, redis:// or, with TLS, rediss://" default:"redis://localhost:6379/0" example:"rediss://redis.internal:6380/2"`
	Name     string       `yaml:"name" doc:"name of the connections in CLIENT LIST" default:"anywire" example:"researcher-1"`
	User     string       `yaml:"user" doc:"ACL user, in place of the URL's" example:"agents"`
	Password value.Secret `yaml:"password" doc:"password of user, or of the server where there is no user" example:"${REDIS_PASSWORD}"`
	TLS      TLS          `yaml:"tls" doc:"certificates; a URL that begins with rediss:// needs none of it where the system trusts the server" example:"{ ca: ca.pem }"`

	Consumers     int            `yaml:"consumers" doc:"consumers of each subscription in this process: the adapter has one message in flight for each" default:"16" example:"64"`
	MaxIdle       value.Duration `yaml:"max_idle" doc:"how long an entry may stay with a consumer before another one takes it (the adapter's MaxIdleTime): the longest that a message can be handled; as other members of the group have it" default:"1m" example:"10m"`
	ClaimInterval value.Duration `yaml:"claim_interval" doc:"how often the adapter looks for such entries" default:"5s" example:"1s"`
	BlockTime     value.Duration `yaml:"block_time" doc:"how long one read waits for an entry; closing takes as long" default:"100ms" example:"500ms"`
	MaxLen        int64          `yaml:"max_len" doc:"entries that a stream keeps, about, read or not: older ones are lost to groups that have not read them; 0: all" default:"0" example:"1000000"`

	ConnectTimeout value.Duration `yaml:"connect_timeout" doc:"how long to try at start; afterwards connections are tried again for ever" default:"5s" example:"10s"`
	MaxBody        value.Size     `yaml:"max_body" doc:"the largest message, attributes included; the server's proto-max-bulk-len must be no smaller" default:"16MiB" example:"1MiB"`

	// Logger gets what the adapter says; nil discards. Not in YAML.
	Logger *slog.Logger `yaml:"-"`
	// Dial makes the connections in place of a net.Dialer. Not in YAML.
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

// Defaults of [Options].
const (
	DefaultURL            = "redis://localhost:6379/0"
	DefaultConsumers      = 16
	DefaultMaxIdle        = time.Minute
	DefaultClaimInterval  = 5 * time.Second
	DefaultBlockTime      = 100 * time.Millisecond
	DefaultConnectTimeout = 5 * time.Second
	DefaultMaxBody        = 16 * value.MiB
)

const mostConsumers = 1024

func (o Options) withDefaults() Options {
	def(&o.URL, DefaultURL)
	def(&o.Name, "anywire")
	def(&o.Consumers, DefaultConsumers)
	def(&o.MaxIdle, value.Duration(DefaultMaxIdle))
	def(&o.ClaimInterval, value.Duration(DefaultClaimInterval))
	def(&o.BlockTime, value.Duration(DefaultBlockTime))
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
	if o.Consumers < 1 || o.Consumers > mostConsumers {
		errs = append(errs, fmt.Errorf("consumers %d: use 1 to %d", o.Consumers, mostConsumers))
	}
	for _, d := range []struct {
		key   string
		value value.Duration
	}{
		{"max_idle", o.MaxIdle},
		{"claim_interval", o.ClaimInterval},
		{"block_time", o.BlockTime},
		{"connect_timeout", o.ConnectTimeout},
	} {
		if d.value.Std() < time.Millisecond {
			errs = append(errs, fmt.Errorf("%s %v: use at least 1ms", d.key, d.value))
		}
	}
	if o.BlockTime.Std() > longestBlock {
		errs = append(errs, fmt.Errorf("block_time %v: use %v at most, since closing waits for it", o.BlockTime, longestBlock))
	}
	if o.MaxLen < 0 {
		errs = append(errs, fmt.Errorf("max_len %d: use 0 to keep all, or more", o.MaxLen))
	}
	if o.MaxBody < 1024 {
		errs = append(errs, fmt.Errorf("max_body %v: use at least 1KiB", o.MaxBody))
	}
	if (o.TLS.Cert == "") != (o.TLS.Key == "") {
		errs = append(errs, errors.New("tls: cert and key go together"))
	}
	if o.User != "" && o.Password.IsZero() {
		errs = append(errs, fmt.Errorf("user %q needs a password", o.User))
	}
	_, err := o.client()
	return errors.Join(append(errs, err)...)
}
