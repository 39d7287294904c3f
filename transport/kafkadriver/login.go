package kafkadriver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/anywire/anywire/internal/tlsfiles"
)

const (
	mechanismPlain    = "PLAIN"
	mechanismScram256 = "SCRAM-SHA-256"
	mechanismScram512 = "SCRAM-SHA-512"
	mechanismBearer   = "OAUTHBEARER"
)

func mechanisms() []string {
	return []string{mechanismPlain, mechanismScram256, mechanismScram512, mechanismBearer}
}

func (s SASL) validate() []error {
	if s == (SASL{}) {
		return nil
	}
	var errs []error
	add := func(bad bool, text string) {
		if bad {
			errs = append(errs, errors.New("sasl: "+text))
		}
	}
	known := strings.Join(mechanisms(), ", ")
	add(s.Mechanism == "", "a user, password or token needs a mechanism: "+known)
	add(s.Mechanism != "" && !slices.Contains(mechanisms(), s.Mechanism), fmt.Sprintf("mechanism %q is unknown: use %s", s.Mechanism, known))
	add(!s.Token.IsZero() && s.TokenFile != "", "token and token_file are given: one is enough")
	if s.Mechanism == mechanismBearer {
		add(s.Token.IsZero() && s.TokenFile == "", "OAUTHBEARER needs a token or a token_file")
		add(s.User != "" || !s.Password.IsZero(), "OAUTHBEARER takes a token, no user and password")
		return errs
	}
	add(s.Mechanism != "" && (s.User == "" || s.Password.IsZero()), s.Mechanism+" needs user and password")
	add(s.Mechanism != "" && (!s.Token.IsZero() || s.TokenFile != ""), "a token is for OAUTHBEARER only")
	return errs
}

// mechanism is how clients log in; nil: not at all.
func (s SASL) mechanism() (sasl.Mechanism, error) {
	switch s.Mechanism {
	case mechanismPlain:
		return plain.Auth{User: s.User, Pass: s.Password.Reveal()}.AsMechanism(), nil
	case mechanismScram256:
		return scram.Auth{User: s.User, Pass: s.Password.Reveal()}.AsSha256Mechanism(), nil
	case mechanismScram512:
		return scram.Auth{User: s.User, Pass: s.Password.Reveal()}.AsSha512Mechanism(), nil
	case mechanismBearer:
		if _, err := s.token(); err != nil {
			return nil, err
		}
		return oauth.Oauth(func(context.Context) (oauth.Auth, error) {
			token, err := s.token()
			return oauth.Auth{Token: token}, err
		}), nil
	}
	return nil, nil //nolint:nilnil // no login is a way to log in
}

// token is read anew for each login, so that a file may be renewed.
func (s SASL) token() (string, error) {
	if s.TokenFile == "" {
		return s.Token.Reveal(), nil
	}
	text, err := os.ReadFile(s.TokenFile)
	if err != nil {
		return "", fmt.Errorf("sasl.token_file: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" {
		return "", fmt.Errorf("sasl.token_file: %s is empty", s.TokenFile)
	}
	return token, nil
}

func (t TLS) on() bool { return t != (TLS{}) }

func (t TLS) config() (*tls.Config, error) {
	return tlsfiles.Config(t.CA, t.Cert, t.Key, t.ServerName)
}

const (
	// handshake is how errors of TLS begin.
	handshake = "TLS handshake"
	// handshakeTimeout is shorter than a connection may take, so that the error
	// tells the two from each other.
	handshakeTimeout = 2 * time.Second
)

// overTLS puts TLS on connections; the name that is checked is the one that was
// dialled, unless cfg has one.
func overTLS(dial dialFunc, cfg *tls.Config) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		plainly, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		own := cfg
		if own.ServerName == "" {
			host, _, err := net.SplitHostPort(address)
			if err != nil {
				host = address
			}
			own = cfg.Clone()
			own.ServerName = host
		}
		conn := tls.Client(plainly, own)
		ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
		defer cancel()
		if err := conn.HandshakeContext(ctx); err != nil {
			_ = plainly.Close()
			if ctx.Err() != nil { // which the client would take for a host that is away
				return nil, fmt.Errorf("%s: no answer", handshake)
			}
			return nil, fmt.Errorf("%s: %w", handshake, err)
		}
		return conn, nil
	}
}
