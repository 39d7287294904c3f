package watermillredis

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/anywire/anywire/internal/tlsfiles"
)

const (
	noRetry      = -1 // of a command whose reply was lost: it may have been done
	answerWithin = 10 * time.Second
	longestBlock = 5 * time.Second
	connections  = 4096 // at most: one waits for each consumer
)

// client are the options of a connection; files are read here.
func (o Options) client() (*redis.Options, error) {
	c, err := redis.ParseURL(o.URL)
	if err != nil {
		return nil, fmt.Errorf("url %q: %w", redact(o.URL), withoutURL(err))
	}
	if o.User != "" || !o.Password.IsZero() {
		c.Username, c.Password = o.User, o.Password.Reveal()
	}
	if c.TLSConfig != nil || o.TLS != (TLS{}) {
		host, _, _ := net.SplitHostPort(c.Addr)
		if c.TLSConfig, err = o.TLS.config(host); err != nil {
			return nil, err
		}
	}
	c.ClientName, c.DisableIdentity, c.Protocol, c.Dialer = o.Name, true, 2, o.Dial
	c.MaxRetries, c.DialerRetries, c.DialTimeout = noRetry, 1, min(o.ConnectTimeout.Std(), 5*time.Second)
	c.ReadTimeout, c.WriteTimeout, c.ContextTimeoutEnabled = answerWithin, answerWithin, true
	c.PoolSize, c.ConnMaxIdleTime = connections, time.Minute
	c.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return c, nil
}

// withoutURL drops the URL from what the parser says: it may hold a password.
func withoutURL(err error) error {
	text := err.Error()
	if i := strings.LastIndex(text, ": "); i >= 0 && strings.Contains(text, "parse ") {
		return errors.New(text[i+2:])
	}
	return err
}

// redact leaves the login out of a URL that has one.
func redact(url string) string {
	scheme, rest, ok := strings.Cut(url, "://")
	if !ok {
		return url
	}
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		rest = "***" + rest[at:]
	}
	return scheme + "://" + rest
}

func (t TLS) config(host string) (*tls.Config, error) {
	return tlsfiles.Config(t.CA, t.Cert, t.Key, cmp.Or(t.ServerName, host))
}
