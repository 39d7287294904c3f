package redisdriver

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/anywire/anywire/internal/tlsfiles"
)

const (
	// noRetry keeps go-redis from sending a command again whose reply was lost.
	noRetry = -1
	// blockFor is the longest that a command of the second client may block.
	blockFor = 5 * time.Second
	// answerWithin is how long a command that does not block may take.
	answerWithin = 10 * time.Second
	// mostConnections is no bound in practice: each call uses one. After as many
	// failures in a row go-redis would leave dialling to a goroutine that outlives
	// the client.
	mostConnections = 4096
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
func (o Options) target() (target, error) {
	first, addresses, err := splitURL(o.URL)
	if err != nil {
		return target{}, err
	}
	u, err := redis.ParseURL(first)
	if err != nil {
		return target{}, fmt.Errorf("url %q: %w", redact(o.URL), urlError(err))
	}
	t := target{network: u.Network, addresses: addresses, user: u.Username, password: u.Password, db: u.DB}
	if len(t.addresses) == 0 {
		t.addresses = []string{u.Addr}
	}
	if o.User != "" || !o.Password.IsZero() {
		t.user, t.password = o.User, o.Password.Reveal()
	}
	if u.TLSConfig != nil || o.TLS != (TLS{}) {
		t.tls, err = o.TLS.config()
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
		return "", nil, fmt.Errorf("url %q: use redis://host:port/db, rediss:// for TLS, or unix:///path", redact(url))
	}
	if strings.Contains(rest, "?") {
		return "", nil, fmt.Errorf("url %q: parameters after ? are not read: use the other options", redact(url))
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

// redact leaves the password out of a URL that has one.
func redact(url string) string {
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

func (o Options) validateConnection() error {
	var errs []error
	t, err := o.target()
	if err != nil {
		errs = append(errs, err)
	}
	if (o.TLS.Cert == "") != (o.TLS.Key == "") {
		errs = append(errs, errors.New("tls: cert and key go together"))
	}
	if o.User != "" && o.Password.IsZero() {
		errs = append(errs, fmt.Errorf("user %q needs a password", o.User))
	}
	if err == nil && len(t.addresses) > 1 && !o.Cluster {
		errs = append(errs, fmt.Errorf(
			"url names %d hosts: set cluster: true for the nodes of a cluster, or sentinel for sentinels", len(t.addresses)))
	}
	if err == nil && o.Cluster && t.db != 0 {
		errs = append(errs, fmt.Errorf("database %d: a Redis Cluster has only 0", t.db))
	}
	return errors.Join(append(errs, o.Sentinel.validate(o.Cluster))...)
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

// newClient makes a client as the options say; nothing is dialled yet.
func (o Options) newClient() (redis.UniversalClient, error) {
	t, err := o.target()
	if err != nil {
		return nil, err
	}
	switch {
	case o.Cluster:
		return redis.NewClusterClient(o.clusterOptions(t)), nil
	case o.Sentinel.given():
		return redis.NewFailoverClient(o.failoverOptions(t)), nil
	}
	return redis.NewClient(o.singleOptions(t)), nil
}

func (o Options) dialTimeout() time.Duration { return min(o.ConnectTimeout.Std(), 5*time.Second) }

func noNotifications() *maintnotifications.Config {
	return &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}

func (o Options) singleOptions(t target) *redis.Options {
	return &redis.Options{
		Network: t.network, Addr: t.addresses[0], DB: t.db, Username: t.user, Password: t.password,
		ClientName: o.Name, DisableIdentity: true, Protocol: 2, Dialer: o.Dial, TLSConfig: t.tls,
		MaxRetries: noRetry, DialTimeout: o.dialTimeout(), DialerRetries: 1,
		ReadTimeout: answerWithin, WriteTimeout: answerWithin, ContextTimeoutEnabled: true,
		PipelineReadBufferSize: bufferSize, PipelineWriteBufferSize: bufferSize,
		PoolSize: mostConnections, PipelinePoolSize: mostConnections, MaxIdleConns: mostIdle,
		MaintNotificationsConfig: noNotifications(),
	}
}

func (o Options) failoverOptions(t target) *redis.FailoverOptions {
	return &redis.FailoverOptions{
		MasterName: o.Sentinel.Master, SentinelAddrs: o.Sentinel.Addresses,
		SentinelUsername: o.Sentinel.User, SentinelPassword: o.Sentinel.Password.Reveal(),
		DB: t.db, Username: t.user, Password: t.password,
		ClientName: o.Name, DisableIdentity: true, Protocol: 2, Dialer: o.Dial, TLSConfig: t.tls,
		MaxRetries: noRetry, DialTimeout: o.dialTimeout(), DialerRetries: 1,
		ReadTimeout: answerWithin, WriteTimeout: answerWithin, ContextTimeoutEnabled: true,
		PipelineReadBufferSize: bufferSize, PipelineWriteBufferSize: bufferSize,
		PoolSize: mostConnections, PipelinePoolSize: mostConnections, MaxIdleConns: mostIdle,
	}
}

func (o Options) clusterOptions(t target) *redis.ClusterOptions {
	return &redis.ClusterOptions{
		Addrs: t.addresses, Username: t.user, Password: t.password,
		ClientName: o.Name, DisableIdentity: true, Protocol: 2, Dialer: o.Dial, TLSConfig: t.tls,
		MaxRetries: noRetry, DialTimeout: o.dialTimeout(), DialerRetries: 1,
		ReadTimeout: answerWithin, WriteTimeout: answerWithin, ContextTimeoutEnabled: true,
		PipelineReadBufferSize: bufferSize, PipelineWriteBufferSize: bufferSize,
		PoolSize: mostConnections, PipelinePoolSize: mostConnections, MaxIdleConns: mostIdle,
		MaintNotificationsConfig: noNotifications(),
	}
}

// cloneable refuses clients whose options cannot be read.
func cloneable(client redis.UniversalClient) error {
	switch c := client.(type) {
	case *redis.Client:
		if c != nil {
			return nil
		}
	case *redis.ClusterClient:
		if c != nil {
			return nil
		}
	}
	return fmt.Errorf("client is %T: use a *redis.Client, also one for sentinels, or a *redis.ClusterClient", client)
}

// cloneClient makes a client to the same server with connections of its own.
// Its commands may block for blockFor.
func cloneClient(client redis.UniversalClient) (redis.UniversalClient, error) {
	const timeout = blockFor + answerWithin
	switch c := client.(type) {
	case *redis.Client:
		o := *c.Options()
		o.Protocol, o.MaxRetries, o.PoolSize, o.MinIdleConns = 2, noRetry, mostConnections, 0
		o.MaxActiveConns, o.MaxIdleConns, o.MaxConcurrentDials, o.PipelinePoolSize = 0, 0, 0, mostConnections
		o.ReadTimeout, o.ContextTimeoutEnabled = timeout, true
		o.ClientSideCache, o.ClientSideCacheConfig, o.MaintNotificationsConfig = nil, nil, noNotifications()
		return redis.NewClient(&o), nil
	case *redis.ClusterClient:
		o := *c.Options()
		o.Protocol, o.MaxRetries, o.PoolSize, o.MinIdleConns = 2, noRetry, mostConnections, 0
		o.MaxActiveConns, o.MaxIdleConns, o.MaxConcurrentDials, o.PipelinePoolSize = 0, 0, 0, mostConnections
		o.ReadTimeout, o.ContextTimeoutEnabled = timeout, true
		o.MaintNotificationsConfig = noNotifications()
		return redis.NewClusterClient(&o), nil
	}
	return nil, cloneable(client)
}
