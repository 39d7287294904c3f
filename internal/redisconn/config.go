// Package redisconn makes clients of a Redis from what a transport's or store's
// entry says, and finds out at the start whether it is one that can be used.
package redisconn

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/internal/tlsfiles"
)

// Config is what an entry says about the connection. Its names are those of the
// entry's keys.
type Config struct {
	URL            string
	Name           string
	User           string
	Password       value.Secret
	TLS            TLS
	Cluster        bool
	Sentinel       Sentinel
	ConnectTimeout time.Duration
	Dial           func(ctx context.Context, network, address string) (net.Conn, error)
}

// TLS names the files of a TLS connection, and the name that the server's
// certificate must have.
type TLS struct{ CA, Cert, Key, ServerName string }

// Sentinel says who knows the master's address.
type Sentinel struct {
	Master    string
	Addresses []string
	User      string
	Password  value.Secret
}

// MostConnectTimeout is the longest time that a start may be told to try.
const MostConnectTimeout = 10 * time.Second

const (
	// NoRetry keeps go-redis, as its MaxRetries, from sending a command again whose
	// reply was lost.
	NoRetry = -1
	// AnswerWithin is how long a command that does not block may take.
	AnswerWithin = 10 * time.Second
	// MostConnections is no bound in practice: each call uses one. After as many
	// failures in a row go-redis would leave dialling to a goroutine that outlives
	// the client.
	MostConnections = 4096
	// mostIdle is how many connections stay after a burst.
	mostIdle = 16
	// bufferSize holds a pipeline of a few hundred messages.
	bufferSize = 64 << 10
)

// target is what a URL and the options say together about the server.
type target struct {
	network   string
	addresses []string
	user      string
	password  string
	db        int
	tls       *tls.Config
}

// target reads the URL, which may list several hosts.
func (c Config) target() (target, error) {
	first, addresses, err := splitURL(c.URL)
	if err != nil {
		return target{}, err
	}
	u, err := redis.ParseURL(first)
	if err != nil {
		return target{}, fmt.Errorf("url %q: %w", Redact(c.URL), urlError(err))
	}
	t := target{network: u.Network, addresses: addresses, user: u.Username, password: u.Password, db: u.DB}
	if len(t.addresses) == 0 {
		t.addresses = []string{u.Addr}
	}
	if c.User != "" || !c.Password.IsZero() {
		t.user, t.password = c.User, c.Password.Reveal()
	}
	if u.TLSConfig != nil || c.TLS != (TLS{}) {
		t.tls, err = c.TLS.config()
	}
	return t, err
}

// urlError drops the URL from what go-redis says: it may hold a password.
func urlError(err error) error {
	text := err.Error()
	if i := strings.LastIndex(text, ": "); i >= 0 && strings.Contains(text, "parse ") {
		return errors.New(text[i+2:])
	}
	return err
}

// splitURL gives the URL with its first host, and all hosts where there are
// several.
func splitURL(url string) (first string, addresses []string, err error) {
	scheme, rest, ok := strings.Cut(url, "://")
	if !ok || scheme != "redis" && scheme != "rediss" && scheme != "unix" {
		return "", nil, fmt.Errorf("url %q: use redis://host:port/db, rediss:// for TLS, or unix:///path", Redact(url))
	}
	if strings.Contains(rest, "?") {
		return "", nil, fmt.Errorf("url %q: parameters after ? are not read: use the other options", Redact(url))
	}
	at := strings.LastIndexByte(rest, '@') + 1
	login, rest := rest[:at], rest[at:]
	if scheme == "unix" || !strings.Contains(rest, ",") {
		return url, nil, nil
	}
	hosts, db, _ := strings.Cut(rest, "/")
	for host := range strings.SplitSeq(hosts, ",") {
		if _, _, err := net.SplitHostPort(host); err != nil {
			host = net.JoinHostPort(host, "6379")
		}
		addresses = append(addresses, host)
	}
	return scheme + "://" + login + addresses[0] + "/" + db, addresses, nil
}

// Redact leaves the password out of a URL that has one.
func Redact(url string) string {
	scheme, rest, ok := strings.Cut(url, "://")
	if !ok {
		scheme, rest = "", url
	} else {
		scheme += "://"
	}
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		rest = "***" + rest[at:]
	}
	return scheme + rest
}

// Validate reports every value that cannot be, without connecting.
func (c Config) Validate() error {
	var errs []error
	t, err := c.target()
	if err != nil {
		errs = append(errs, err)
	}
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		errs = append(errs, errors.New("tls: cert and key go together"))
	}
	if c.User != "" && c.Password.IsZero() {
		errs = append(errs, fmt.Errorf("user %q needs a password", c.User))
	}
	if err == nil && len(t.addresses) > 1 && !c.Cluster {
		errs = append(errs, fmt.Errorf(
			"url names %d hosts: set cluster: true for the nodes of a cluster, or sentinel for sentinels", len(t.addresses)))
	}
	if err == nil && c.Cluster && t.db != 0 {
		errs = append(errs, fmt.Errorf("database %d: a Redis Cluster has only 0", t.db))
	}
	if c.ConnectTimeout < 0 || c.ConnectTimeout > MostConnectTimeout {
		errs = append(errs, fmt.Errorf("connect_timeout %v: use more than 0 and at most %v",
			value.Duration(c.ConnectTimeout), MostConnectTimeout))
	}
	return errors.Join(append(errs, c.Sentinel.validate(c.Cluster))...)
}

func (s Sentinel) validate(cluster bool) error {
	var errs []error
	if s.given() && cluster {
		errs = append(errs, errors.New("sentinel and cluster are given: a Redis Cluster has no sentinels"))
	}
	if s.given() && s.Master == "" {
		errs = append(errs, errors.New("sentinel: master is missing: it is the name in the sentinels' configuration"))
	}
	if s.given() && len(s.Addresses) == 0 {
		errs = append(errs, errors.New("sentinel: addresses are missing: give host:port of each"))
	}
	for _, a := range s.Addresses {
		if _, port, err := net.SplitHostPort(a); err != nil || !isPort(port) {
			errs = append(errs, fmt.Errorf("sentinel: address %q: use host:port", a))
		}
	}
	return errors.Join(errs...)
}

func isPort(s string) bool {
	_, err := strconv.ParseUint(s, 10, 16)
	return err == nil
}

func (s Sentinel) given() bool {
	return s.Master != "" || len(s.Addresses) > 0 || s.User != "" || !s.Password.IsZero()
}

func (t TLS) config() (*tls.Config, error) {
	return tlsfiles.Config(t.CA, t.Cert, t.Key, t.ServerName)
}

// NewClient makes a client as the entry says; nothing is dialled yet.
func (c Config) NewClient() (redis.UniversalClient, error) {
	t, err := c.target()
	if err != nil {
		return nil, err
	}
	switch {
	case c.Cluster:
		return redis.NewClusterClient(c.clusterOptions(t)), nil
	case c.Sentinel.given():
		return redis.NewFailoverClient(c.failoverOptions(t)), nil
	}
	return redis.NewClient(c.singleOptions(t)), nil
}

func (c Config) dialTimeout() time.Duration { return min(c.ConnectTimeout, 5*time.Second) }

// NoNotifications keeps go-redis from asking for messages that only hosted servers
// send.
func NoNotifications() *maintnotifications.Config {
	return &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}

func (c Config) singleOptions(t target) *redis.Options {
	return &redis.Options{
		Network: t.network, Addr: t.addresses[0], DB: t.db, Username: t.user, Password: t.password,
		ClientName: c.Name, DisableIdentity: true, Protocol: 2, Dialer: c.Dial, TLSConfig: t.tls,
		MaxRetries: NoRetry, DialTimeout: c.dialTimeout(), DialerRetries: 1,
		ReadTimeout: AnswerWithin, WriteTimeout: AnswerWithin, ContextTimeoutEnabled: true,
		PipelineReadBufferSize: bufferSize, PipelineWriteBufferSize: bufferSize,
		PoolSize: MostConnections, PipelinePoolSize: MostConnections, MaxIdleConns: mostIdle,
		MaintNotificationsConfig: NoNotifications(),
	}
}

func (c Config) failoverOptions(t target) *redis.FailoverOptions {
	return &redis.FailoverOptions{
		MasterName: c.Sentinel.Master, SentinelAddrs: c.Sentinel.Addresses,
		SentinelUsername: c.Sentinel.User, SentinelPassword: c.Sentinel.Password.Reveal(),
		DB: t.db, Username: t.user, Password: t.password,
		ClientName: c.Name, DisableIdentity: true, Protocol: 2, Dialer: c.Dial, TLSConfig: t.tls,
		MaxRetries: NoRetry, DialTimeout: c.dialTimeout(), DialerRetries: 1,
		ReadTimeout: AnswerWithin, WriteTimeout: AnswerWithin, ContextTimeoutEnabled: true,
		PipelineReadBufferSize: bufferSize, PipelineWriteBufferSize: bufferSize,
		PoolSize: MostConnections, PipelinePoolSize: MostConnections, MaxIdleConns: mostIdle,
	}
}

func (c Config) clusterOptions(t target) *redis.ClusterOptions {
	return &redis.ClusterOptions{
		Addrs: t.addresses, Username: t.user, Password: t.password,
		ClientName: c.Name, DisableIdentity: true, Protocol: 2, Dialer: c.Dial, TLSConfig: t.tls,
		MaxRetries: NoRetry, DialTimeout: c.dialTimeout(), DialerRetries: 1,
		ReadTimeout: AnswerWithin, WriteTimeout: AnswerWithin, ContextTimeoutEnabled: true,
		PipelineReadBufferSize: bufferSize, PipelineWriteBufferSize: bufferSize,
		PoolSize: MostConnections, PipelinePoolSize: MostConnections, MaxIdleConns: mostIdle,
		MaintNotificationsConfig: NoNotifications(),
	}
}
