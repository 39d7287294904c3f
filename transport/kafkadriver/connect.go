package kafkadriver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// dialTimeout bounds one attempt to reach one broker.
	dialTimeout = 5 * time.Second
	// freshMetadata is how soon the client asks again where partitions are.
	freshMetadata = 100 * time.Millisecond
	// retryRequests is how long the client repeats a request of its own that fails
	// in passing, unless the caller's context ends before.
	retryRequests = 15 * time.Second
)

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// connection are the options of clients that the driver makes from Options.
func (o Options) connection() ([]kgo.Opt, error) {
	opts := []kgo.Opt{
		kgo.SeedBrokers(o.Brokers...),
		kgo.ClientID(o.ClientID),
		kgo.SoftwareNameAndVersion("anywire", "1"),
		kgo.WithLogger(logger{o.Logger}),
		kgo.MetadataMinAge(freshMetadata),
		kgo.RetryTimeout(retryRequests),
		kgo.DisableClientMetrics(), // what is sent of our own accord, nobody expects
	}
	dial := o.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: dialTimeout}).DialContext
	}
	if o.TLS.on() {
		cfg, err := o.TLS.config()
		if err != nil {
			return nil, err
		}
		dial = overTLS(dial, cfg)
	}
	opts = append(opts, kgo.Dialer(dial))
	mechanism, err := o.SASL.mechanism()
	if err != nil {
		return nil, err
	}
	if mechanism != nil {
		opts = append(opts, kgo.SASL(mechanism))
	}
	return opts, nil
}

// await tries until a broker answers or ctx ends, as brokers may be starting; what
// will not change by waiting is returned at once.
func (d *Driver) await(ctx context.Context) error {
	var last error
	for {
		attempt, cancel := context.WithTimeout(ctx, dialTimeout)
		err := d.client.Ping(attempt)
		cancel()
		if err == nil {
			return nil
		}
		if ctx.Err() == nil || last == nil { // an attempt that was cut short says less
			last = err
		}
		hint, final := diagnose(last, d.o)
		if final {
			return fmt.Errorf("%w%s", wrap(last), hint)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w%s", context.Cause(ctx), last, hint)
		case <-time.After(freshMetadata):
		}
	}
}

// diagnose says what to do about a failure to connect, and whether trying again
// is of no use.
func diagnose(err error, o Options) (hint string, final bool) {
	text := err.Error()
	switch hungUp := errors.Is(err, io.EOF); {
	case isLogin(err):
		return ": check sasl.mechanism, sasl.user and sasl.password", true
	case strings.Contains(text, "certificate"):
		return ": check tls.ca and tls.server_name, and the broker's certificate", true
	case strings.Contains(text, handshake):
		return ": does the broker speak TLS on this port", false
	case strings.Contains(text, "plaintext connection speaking to a tls"):
		return ": the broker speaks TLS on this port: set tls", true
	case hungUp && o.SASL.Mechanism != "":
		return ": the broker hung up: check sasl, and whether this port wants tls", false
	case hungUp:
		return ": the broker hung up: does this port want sasl or tls", false
	}
	return "", false
}

func isLogin(err error) bool {
	for _, e := range []error{kerr.SaslAuthenticationFailed, kerr.UnsupportedSaslMechanism, kerr.IllegalSaslState} {
		if errors.Is(err, e) {
			return true
		}
	}
	// The server's proof in SCRAM and refusals of older brokers are plain texts.
	return strings.Contains(err.Error(), "SASL") || strings.Contains(err.Error(), "sasl")
}

// logger hands on what the client library reports outside of any call.
type logger struct{ log *slog.Logger }

var _ kgo.Logger = logger{}

// Level says what is worth composing: the client tells every passing trouble as a
// warning.
func (l logger) Level() kgo.LogLevel {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		return kgo.LogLevelInfo
	}
	return kgo.LogLevelError
}

// Log writes one line.
func (l logger) Log(level kgo.LogLevel, msg string, keyvals ...any) {
	at := slog.LevelDebug
	if level == kgo.LogLevelError {
		at = slog.LevelWarn
	}
	l.log.Log(context.Background(), at, "Kafka client", "said", msg, slog.Group("about", keyvals...))
}
