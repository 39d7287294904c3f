// Package natsconn makes the connections to NATS that anywire owns: those of
// transports and of stores.
package natsconn

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/internal/tlsfiles"
)

// Options say where to connect, and as whom.
type Options struct {
	URL, Name string

	User            string
	Password, Token value.Secret
	Creds, NKey     string // files

	CA, Cert, Key string // files of a TLS connection

	Timeout time.Duration // of one attempt, at most 5 s
	More    []nats.Option // appended
}

// Validate reports what cannot be, without connecting: half a certificate, and
// two ways to log in, of which one would win in silence.
func (o Options) Validate() error {
	var errs []error
	if (o.Cert == "") != (o.Key == "") {
		errs = append(errs, errors.New("tls: cert and key go together"))
	}
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
	switch {
	case len(ways) > 1:
		errs = append(errs, fmt.Errorf("%s are given: one way to log in is enough", strings.Join(ways, " and ")))
	case !o.Password.IsZero() && o.User == "":
		errs = append(errs, errors.New("a password needs a user"))
	}
	return errors.Join(append(errs, o.validateURL())...)
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

// Connect tries until ctx ends, as a server may be starting; what will not
// change by waiting is returned at once. Afterwards the connection is tried again
// for ever.
func Connect(ctx context.Context, o Options) (*nats.Conn, error) {
	opts, err := o.connection()
	if err != nil {
		return nil, err
	}
	for {
		nc, err := nats.Connect(o.URL, opts...)
		if err == nil {
			return nc, nil
		}
		if isFinal(err) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func isFinal(err error) bool {
	return errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) ||
		strings.Contains(err.Error(), "certificate") || strings.Contains(err.Error(), "parse")
}

// Redact leaves the password out of a URL that has one, or of several with commas
// between.
func Redact(urls string) string {
	parts := strings.Split(urls, ",")
	for i, u := range parts {
		scheme, rest, ok := strings.Cut(u, "://")
		if !ok {
			scheme, rest = "", u
		} else {
			scheme += "://"
		}
		if at := strings.LastIndexByte(rest, '@'); at >= 0 {
			rest = "***" + rest[at:]
		}
		parts[i] = scheme + rest
	}
	return strings.Join(parts, ",")
}

func (o Options) connection() ([]nats.Option, error) {
	opts := []nats.Option{
		nats.Name(o.Name),
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(), // rights that are revoked may come back
		nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectJitter(100*time.Millisecond, time.Second),
		nats.PingInterval(20 * time.Second), // a dead peer is found within a minute
		nats.Timeout(min(o.Timeout, 5*time.Second)),
		nats.ReconnectBufSize(-1), // nothing is sent later than its caller waits
	}
	login, err := o.login()
	if err != nil {
		return nil, err
	}
	secure, err := o.secure()
	if err != nil {
		return nil, err
	}
	opts = append(append(opts, login...), secure...)
	return append(opts, o.More...), nil
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

func (o Options) secure() ([]nats.Option, error) {
	if o.CA == "" && o.Cert == "" && o.Key == "" {
		return nil, nil
	}
	cfg, err := tlsfiles.Config(o.CA, o.Cert, o.Key, "")
	if err != nil {
		return nil, err
	}
	return []nats.Option{nats.Secure(cfg)}, nil
}
