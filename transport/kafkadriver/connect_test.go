package kafkadriver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/anywire/anywire/config/value"
	"github.com/anywire/anywire/transport/driver"
)

func fakeBrokers(tb testing.TB, opts ...kfake.Opt) []string {
	tb.Helper()
	return fake(tb, opts...).ListenAddrs()
}

// works opens a driver, and publishes and browses once.
func works(t *testing.T, brokers []string, change func(*Options)) {
	t.Helper()
	d, _ := open(t, brokers, change)
	topic := topicOf(t, d, 1)
	if err := d.Publish(t.Context(), topic, []*driver.Message{{Body: []byte("x")}}); err != nil {
		t.Fatal(err)
	}
	if got := textsOf(seen(t, d, topic)); len(got) != 1 || got[0] != "x" {
		t.Errorf("saw %q", got)
	}
}

func TestLogins(t *testing.T) {
	t.Parallel()
	brokers := fakeBrokers(t, kfake.EnableSASL(),
		kfake.Superuser("PLAIN", "p", "secret"), kfake.Superuser("SCRAM-SHA-256", "s256", "secret"), kfake.Superuser("SCRAM-SHA-512", "s512", "secret"))
	for mechanism, user := range map[string]string{mechanismPlain: "p", mechanismScram256: "s256", mechanismScram512: "s512"} {
		t.Run(mechanism, func(t *testing.T) {
			t.Parallel()
			login := SASL{Mechanism: mechanism, User: user, Password: value.NewSecret("secret")}
			works(t, brokers, func(o *Options) { o.SASL = login })

			login.Password = value.NewSecret("wrong")
			_, err := Open(t.Context(), Options{Brokers: brokers, SASL: login, ConnectTimeout: value.Duration(time.Second)})
			if err == nil || !strings.Contains(err.Error(), "check sasl") || strings.Contains(err.Error(), "wrong") {
				t.Errorf("a wrong password: %v", err)
			}
		})
	}
}

// What will not change by waiting is told at once.
func TestDiagnosis(t *testing.T) {
	t.Parallel()
	login := Options{SASL: SASL{Mechanism: mechanismPlain}}
	for _, c := range []struct {
		err   error
		o     Options
		hint  string
		final bool
	}{
		{kerr.SaslAuthenticationFailed, login, "sasl.password", true},
		{kerr.UnsupportedSaslMechanism, login, "sasl.mechanism", true},
		{&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, Options{}, "tls.ca", true},
		{io.EOF, login, "check sasl", false},
		{io.EOF, Options{}, "want sasl or tls", false},
		{syscall.ECONNREFUSED, Options{}, "", false},
	} {
		if hint, final := diagnose(c.err, c.o); !strings.Contains(hint, c.hint) || final != c.final || (hint == "") != (c.hint == "") {
			t.Errorf("%v: %q, %v; want %q, %v", c.err, hint, final, c.hint, c.final)
		}
	}
}

func TestTokensAreReadFromTheirFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	login := SASL{Mechanism: mechanismBearer, TokenFile: file}
	if _, err := login.mechanism(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	for _, token := range []string{"one", "two"} {
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		m, err := login.mechanism()
		if err != nil {
			t.Fatal(err)
		}
		_, first, err := m.Authenticate(t.Context(), "host")
		if err != nil || !strings.Contains(string(first), "Bearer "+token+"\x01") {
			t.Errorf("it says %q, %v", first, err)
		}
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	good := fakeBrokers(t, kfake.TLS(ca.server(t, time.Hour)))
	works(t, good, func(o *Options) { o.TLS.CA = ca.file })
	client := ca.server(t, time.Hour)
	cert, key := writePair(t, client.Certificates[0])
	works(t, good, func(o *Options) { o.TLS = TLS{CA: ca.file, Cert: cert, Key: key} })

	expired := fakeBrokers(t, kfake.TLS(ca.server(t, -time.Hour)))
	for name, c := range map[string]struct {
		o    Options
		want string
	}{
		"wrong CA":           {Options{Brokers: good, TLS: TLS{CA: newAuthority(t).file}}, "tls.ca"},
		"expired":            {Options{Brokers: expired, TLS: TLS{CA: ca.file}}, "expired"},
		"another name":       {Options{Brokers: good, TLS: TLS{CA: ca.file, ServerName: "elsewhere"}}, "tls.server_name"},
		"TLS to plain text":  {Options{Brokers: fakeBrokers(t), TLS: TLS{CA: ca.file}}, "does the broker speak TLS"},
		"CA that is no file": {Options{Brokers: good, TLS: TLS{CA: "/no/such/file"}}, "tls.ca"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.o.ConnectTimeout = value.Duration(3 * time.Second)
			if _, err := Open(t.Context(), c.o); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

func TestNobodyAnswers(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	_, err = Open(t.Context(), Options{Brokers: []string{addr}, ConnectTimeout: value.Duration(500 * time.Millisecond)})
	if err == nil || !strings.Contains(err.Error(), addr) || !strings.Contains(err.Error(), "connect_timeout 500ms") {
		t.Errorf("error %v", err)
	}
}

func TestDriverOfAGivenClient(t *testing.T) {
	t.Parallel()
	brokers := fakeBrokers(t)
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	d := New(client, nil)
	topic := topicOf(t, d, 1)
	if err := d.Publish(t.Context(), topic, []*driver.Message{{Key: "k"}}); err != nil {
		t.Fatal(err)
	}
	if d.Native() != any(client) {
		t.Error("Native is another client")
	}
	if err := d.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := client.Ping(t.Context()); err != nil {
		t.Errorf("the client was closed with the driver: %v", err)
	}

	grouped, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumerGroup("g"), kgo.ConsumeTopics(topic))
	if err != nil {
		t.Fatal(err)
	}
	defer grouped.Close()
	if err := New(grouped, nil).Ping(t.Context()); err == nil || !strings.Contains(err.Error(), "group") {
		t.Errorf("a client of a group: %v", err)
	}
}

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(tb testing.TB) *authority {
	tb.Helper()
	a := &authority{key: newKey(tb), file: filepath.Join(tb.TempDir(), "ca.pem")}
	a.cert = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, a.cert, a.cert, &a.key.PublicKey, a.key)
	if err != nil {
		tb.Fatal(err)
	}
	writePEM(tb, a.file, "CERTIFICATE", der)
	return a
}

// server is a configuration whose certificate ends after that time.
func (a *authority) server(tb testing.TB, valid time.Duration) *tls.Config {
	tb.Helper()
	key := newKey(tb)
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(valid),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, a.cert, &key.PublicKey, a.key)
	if err != nil {
		tb.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12}
}

func newKey(tb testing.TB) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

func writePair(tb testing.TB, c tls.Certificate) (cert, key string) {
	tb.Helper()
	dir := tb.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writePEM(tb, cert, "CERTIFICATE", c.Certificate[0])
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		tb.Fatal(err)
	}
	writePEM(tb, key, "PRIVATE KEY", der)
	return cert, key
}

func writePEM(tb testing.TB, file, kind string, der []byte) {
	tb.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		tb.Fatal(err)
	}
}
